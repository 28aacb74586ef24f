//! What a record says about the machine, the build and the moment.

use super::record::MachinePart;
use crate::runtime::{Runtime, cpu};
use libloading::Library;
use std::ffi::{CStr, c_char, c_int, c_uint};
use std::time::SystemTime;
use tch::Device;

/// The commit this binary was built from; `+` where the tree had changes.
pub const GIT_REVISION: &str = env!("RADIO_EVAL_GIT_REVISION");

/// The libtorch this binary was built against, and by its rpath runs with.
pub const LIBTORCH_VERSION: &str = env!("RADIO_EVAL_LIBTORCH_VERSION");

/// What decides how fast a run is besides its device.
pub fn machine(runtime: &Runtime) -> MachinePart {
    MachinePart {
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        cpu_capabilities: cpu::capabilities()
            .iter()
            .map(ToString::to_string)
            .collect(),
        slow_precision: cpu::slowness(runtime.device, runtime.precision),
        others_cpu_percent: None,
        gpu: None,
    }
}

/// The device's own name: the CPU's model, or the GPU's.
pub fn device_name(device: Device) -> String {
    match device {
        Device::Cuda(index) => cuda_name(index)
            .map_or_else(|| format!("cuda:{index}"), |name| format!("{name} (cuda)")),
        Device::Cpu => match cpu_model() {
            Some(model) => format!("{model} (cpu)"),
            None => format!("{} (cpu)", std::env::consts::ARCH),
        },
        other => format!("{other:?}").to_lowercase(),
    }
}

/// `model name` of `/proc/cpuinfo`.
fn cpu_model() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|l| l.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

/// Asks the driver (`cuDeviceGetName`), which numbers devices as libtorch does; tch has no call
/// for it, and linking libcuda would stop the binary from starting without a driver.
fn cuda_name(index: usize) -> Option<String> {
    type Init = unsafe extern "C" fn(c_uint) -> c_int;
    type Get = unsafe extern "C" fn(*mut c_int, c_int) -> c_int;
    type GetName = unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int;
    let index = c_int::try_from(index).ok()?;
    // SAFETY: the driver's library has no side effects when it is loaded, and libtorch loads it
    // anyway. The signatures are those of the CUDA driver API (cuda.h); CUresult and CUdevice are
    // ints, 0 is success; the name is NUL-terminated within the length given.
    unsafe {
        let driver = Library::new("libcuda.so.1").ok()?;
        let init = driver.get::<Init>(c"cuInit").ok()?;
        let get = driver.get::<Get>(c"cuDeviceGet").ok()?;
        let get_name = driver.get::<GetName>(c"cuDeviceGetName").ok()?;
        let mut device: c_int = 0;
        let mut name: [c_char; 256] = [0; 256];
        let named = init(0) == 0
            && get(&mut device, index) == 0
            && get_name(name.as_mut_ptr(), name.len() as c_int - 1, device) == 0;
        named.then(|| CStr::from_ptr(name.as_ptr()).to_string_lossy().into_owned())
    }
}

/// Now, in UTC, as RFC 3339 with seconds: `2026-11-23T20:15:00Z`.
pub fn timestamp() -> String {
    rfc3339(SystemTime::now())
}

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn dates() {
        let rfc3339 = |seconds| rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_826_222), "2000-02-29T12:10:22Z");
        assert_eq!(rfc3339(1_795_464_900), "2026-11-23T20:15:00Z");
    }
}
