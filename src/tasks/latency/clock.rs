//! Times one piece of work on its device.

use crate::Result;
use crate::runtime::shim::{DeviceEvent, synchronize};
use std::time::Instant;
use tch::Device;

/// Milliseconds that `work` takes: wall time on the CPU; on CUDA the time between two events on
/// the stream, both passed before this returns.
pub fn time(device: Device, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    match device {
        Device::Cuda(index) => {
            synchronize(index)?;
            let start = DeviceEvent::record(index)?;
            work()?;
            let end = DeviceEvent::record(index)?;
            start.elapsed_ms(&end)
        }
        _ => {
            let start = Instant::now();
            work()?;
            Ok(start.elapsed().as_secs_f64() * 1e3)
        }
    }
}
