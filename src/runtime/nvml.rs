//! What NVIDIA's management library says of a GPU while it is measured: other processes, clocks.
//!
//! The library (libnvidia-ml, part of the driver) is looked for at run time; without it nothing is
//! said. Written from nvml.h and cuda.h; no GPU was at hand.

use libloading::Library;
use serde::{Deserialize, Serialize};
use std::ffi::{c_char, c_int, c_uint, c_ulonglong, c_void};

/// A moment of a GPU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GpuState {
    /// Processes that hold memory for computing, this one included.
    pub processes: u32,
    pub sm_clock_mhz: u32,
    pub sm_clock_max_mhz: u32,
    /// Why the clock is not at its maximum; empty where it is, or where it is merely idle.
    pub slowed_by: Vec<String>,
}

/// Reasons that make a timing slower than the card is (`nvmlClocksThrottleReason*` of nvml.h).
const REASONS: [(c_ulonglong, &str); 7] = [
    (0x02, "clocks set by a user"),
    (0x04, "power limit"),
    (0x08, "hardware slowdown"),
    (0x10, "another GPU of its group"),
    (0x20, "temperature (driver)"),
    (0x40, "temperature (hardware)"),
    (0x80, "power brake"),
];

const SUCCESS: c_int = 0;
/// `nvmlDeviceGetComputeRunningProcesses` counts only, when it is given no room.
const INSUFFICIENT_SIZE: c_int = 7;
const CLOCK_SM: c_int = 1;

type Handle = *mut c_void;

/// The state of libtorch's CUDA device `index`; `None` where the library or the driver is missing or
/// does not answer.
pub fn state(index: usize) -> Option<GpuState> {
    type Init = unsafe extern "C" fn() -> c_int;
    type ByBus = unsafe extern "C" fn(*const c_char, *mut Handle) -> c_int;
    type Clock = unsafe extern "C" fn(Handle, c_int, *mut c_uint) -> c_int;
    type Processes = unsafe extern "C" fn(Handle, *mut c_uint, *mut c_void) -> c_int;
    type Reasons = unsafe extern "C" fn(Handle, *mut c_ulonglong) -> c_int;
    let bus = pci_bus_id(index)?;
    // SAFETY: loading the driver's library has no effect but its own initialisation. The signatures
    // are those of nvml.h; every out-parameter lives on this stack; a process list of length 0 may
    // be null. nvmlShutdown undoes nvmlInit, which counts its callers.
    unsafe {
        let library = Library::new("libnvidia-ml.so.1").ok()?;
        let init = library.get::<Init>(c"nvmlInit_v2").ok()?;
        let shutdown = library.get::<Init>(c"nvmlShutdown").ok()?;
        let by_bus = library
            .get::<ByBus>(c"nvmlDeviceGetHandleByPciBusId_v2")
            .ok()?;
        let clock = library.get::<Clock>(c"nvmlDeviceGetClockInfo").ok()?;
        let clock_max = library.get::<Clock>(c"nvmlDeviceGetMaxClockInfo").ok()?;
        let processes = library
            .get::<Processes>(c"nvmlDeviceGetComputeRunningProcesses_v3")
            .ok()?;
        let reasons = library
            .get::<Reasons>(c"nvmlDeviceGetCurrentClocksThrottleReasons")
            .ok()?;
        if init() != SUCCESS {
            return None;
        }
        let answer = || {
            let mut handle: Handle = std::ptr::null_mut();
            if by_bus(bus.as_ptr(), &mut handle) != SUCCESS {
                return None;
            }
            let (mut now, mut most, mut count, mut why) = (0, 0, 0, 0);
            let counted = processes(handle, &mut count, std::ptr::null_mut());
            let answered = clock(handle, CLOCK_SM, &mut now) == SUCCESS
                && clock_max(handle, CLOCK_SM, &mut most) == SUCCESS
                && (counted == SUCCESS || counted == INSUFFICIENT_SIZE);
            // Not every card gives reasons.
            if reasons(handle, &mut why) != SUCCESS {
                why = 0;
            }
            answered.then(|| GpuState {
                processes: count,
                sm_clock_mhz: now,
                sm_clock_max_mhz: most,
                slowed_by: slowed_by(why),
            })
        };
        let state = answer();
        shutdown();
        state
    }
}

fn slowed_by(reasons: c_ulonglong) -> Vec<String> {
    let set = REASONS.iter().filter(|(bit, _)| reasons & bit != 0);
    set.map(|(_, name)| name.to_string()).collect()
}

/// NVML numbers all cards, libtorch the visible ones: the bus tells which is which. NUL-terminated.
fn pci_bus_id(index: usize) -> Option<[c_char; 32]> {
    type Init = unsafe extern "C" fn(c_uint) -> c_int;
    type Get = unsafe extern "C" fn(*mut c_int, c_int) -> c_int;
    type BusId = unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int;
    let index = c_int::try_from(index).ok()?;
    // SAFETY: as above, with the signatures of cuda.h; CUresult and CUdevice are ints.
    unsafe {
        let driver = Library::new("libcuda.so.1").ok()?;
        let init = driver.get::<Init>(c"cuInit").ok()?;
        let get = driver.get::<Get>(c"cuDeviceGet").ok()?;
        let bus_id = driver.get::<BusId>(c"cuDeviceGetPCIBusId").ok()?;
        let (mut device, mut bus): (c_int, [c_char; 32]) = (0, [0; 32]);
        let told = init(0) == SUCCESS
            && get(&mut device, index) == SUCCESS
            && bus_id(bus.as_mut_ptr(), bus.len() as c_int - 1, device) == SUCCESS;
        told.then_some(bus)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_by_their_bits() {
        assert_eq!(slowed_by(0x24), ["power limit", "temperature (driver)"]);
        // 0x1 is an idle GPU, 0x100 the clock of the display.
        assert!(slowed_by(0x101).is_empty());
    }

    #[test]
    fn a_card_that_is_not_there_says_nothing() {
        assert_eq!(state(9_999), None);
    }
}
