//! Peak memory of a forward pass.

use crate::Result;
use crate::runtime::shim::{device_memory_peak, reset_device_memory_peak};
use tch::Device;

/// Runs `work` and returns the bytes it needed at its peak beyond what was held before, the same on
/// every device: weights and input do not count. `None` where the system does not tell.
pub fn peak_of(device: Device, work: impl FnOnce() -> Result<()>) -> Result<Option<i64>> {
    if let Device::Cuda(index) = device {
        // After a reset the peak is what is held now.
        reset_device_memory_peak(index)?;
        let before = device_memory_peak(index)?;
        work()?;
        return Ok(Some(device_memory_peak(index)? - before));
    }
    // Hand freed memory back first, or the pass would reuse it unseen.
    // SAFETY: no pointers; any thread may call it.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
    // 5 resets the peak (proc(5), Linux >= 4.0).
    let reset = std::fs::write("/proc/self/clear_refs", "5").is_ok();
    let before = status("VmRSS:");
    work()?;
    Ok(match (reset, before, status("VmHWM:")) {
        (true, Some(before), Some(peak)) => Some((peak - before).max(0)),
        _ => None,
    })
}

/// A line of /proc/self/status, in bytes.
fn status(field: &str) -> Option<i64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix(field))?;
    let kib: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
