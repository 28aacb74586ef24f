//! What a record says about the machine, the build and the moment.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::time::{SystemTime, UNIX_EPOCH};
use tch::Device;

/// The commit this binary was built from; `+` where the tree had changes.
pub const GIT_REVISION: &str = env!("RADIO_EVAL_GIT_REVISION");

/// The libtorch this binary was built against, and by its rpath runs with.
pub const LIBTORCH_VERSION: &str = env!("RADIO_EVAL_LIBTORCH_VERSION");

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
    let index = c_int::try_from(index).ok()?;
    // SAFETY: the signatures are those of the CUDA driver API (cuda.h); CUresult and CUdevice are
    // ints, 0 is success; the name is NUL-terminated within the length given. The library stays
    // loaded, as libtorch needs it anyway.
    unsafe {
        let library = libc::dlopen(c"libcuda.so.1".as_ptr(), libc::RTLD_LAZY);
        if library.is_null() {
            return None;
        }
        let symbol = |name: &CStr| {
            let address = libc::dlsym(library, name.as_ptr());
            (!address.is_null()).then_some(address)
        };
        let init: extern "C" fn(c_uint) -> c_int =
            std::mem::transmute::<*mut c_void, _>(symbol(c"cuInit")?);
        let get: extern "C" fn(*mut c_int, c_int) -> c_int =
            std::mem::transmute::<*mut c_void, _>(symbol(c"cuDeviceGet")?);
        let get_name: extern "C" fn(*mut c_char, c_int, c_int) -> c_int =
            std::mem::transmute::<*mut c_void, _>(symbol(c"cuDeviceGetName")?);
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
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    rfc3339(seconds)
}

/// Seconds since 1970 as a date of the proleptic Gregorian calendar (Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms", `civil_from_days`; valid from 1970 on).
fn rfc3339(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        second / 3_600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn dates() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_826_222), "2000-02-29T12:10:22Z");
        assert_eq!(rfc3339(1_795_464_900), "2026-11-23T20:15:00Z");
    }
}
