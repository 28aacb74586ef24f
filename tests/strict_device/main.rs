//! Everything that computes, on a device that refuses what CUDA refuses (`tests/strict-device`): a
//! constant left on the CPU, or a mask of another type than the queries', fails here instead of on
//! a user's GPU. A process of its own, as the device is registered for a whole process.

mod heads;
mod loops;
mod networks;
mod refusals;

use std::path::{Path, PathBuf};
use tch::Tensor;

/// A committed fixture.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// The largest difference, over the largest value.
fn apart(device: &Tensor, host: &Tensor) -> f64 {
    assert_eq!(device.device(), strict_device::device());
    assert_eq!(device.kind(), host.kind());
    assert_eq!(device.size(), host.size());
    let [device, host] =
        [device, host].map(|t| t.to_device(tch::Device::Cpu).to_kind(tch::Kind::Double));
    let largest = host.abs().max().double_value(&[]).max(1e-6);
    (device - host).abs().max().double_value(&[]) / largest
}
