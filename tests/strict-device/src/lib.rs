//! A fake accelerator for tests. It lives on host memory and computes with the CPU's kernels, but
//! refuses what CUDA refuses: a CPU tensor among its own, an attention mask that is neither of
//! bools nor of the query's type, integer matrix products. A constant that a network leaves on the
//! CPU, or copies from the host in every pass, fails or is counted here instead of on a user's GPU.
//!
//! It takes the place of `Device::Mps`, for which libtorch on Linux has no kernels.

use tch::Device;

unsafe extern "C" {
    fn strict_device_register() -> std::ffi::c_int;
    fn strict_device_uploads() -> i64;
}

/// The device, its kernels registered.
pub fn device() -> Device {
    // SAFETY: no arguments; repeated calls do nothing.
    let devices = unsafe { strict_device_register() };
    assert_eq!(devices, 1, "the strict device is registered");
    Device::Mps
}

/// Copies from host to device that this thread has made so far, of tensors with more than one
/// number: what makes CUDA wait, and breaks a captured graph.
pub fn uploads() -> i64 {
    // SAFETY: no arguments.
    unsafe { strict_device_uploads() }
}
