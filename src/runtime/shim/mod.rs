//! What tch lacks, through a small C++ shim (`shim.h`): operator observation, packed weights,
//! detection's operators, libtorch's threads, device events, allocator statistics, graphs.
//!
//! The device half is written against libtorch's device-generic interfaces. It compiles and links
//! everywhere; it was not run on a GPU when written (none was at hand).

mod autocast;
mod detection;
mod graph;
mod observe;
mod packed;
mod program;
mod threads;

pub use autocast::Autocast;
pub use detection::{RoiAlign, nms_on_cpu, roi_align_on_cpu};
pub use graph::DeviceGraph;
pub use observe::{OperatorRow, observe};
pub use packed::{PackedConv, PackedLinear, Pointwise, worthwhile};
pub use program::{Program, prepare_program};
pub use threads::on_every_thread;

use crate::{Error, Result};
use std::ffi::{CStr, c_char, c_int, c_void};

type BytesCallback = unsafe extern "C" fn(*mut c_void, *const c_char, usize);
type RowCallback = unsafe extern "C" fn(*mut c_void, *const c_char, i64, f64, f64);

unsafe extern "C" {
    fn re_last_error() -> *const c_char;
    fn re_observe_start() -> c_int;
    fn re_observe_stop(row: RowCallback, user: *mut c_void) -> c_int;
    fn re_event_new(device: i64, event: *mut *mut c_void) -> c_int;
    fn re_event_record(event: *mut c_void, device: i64) -> c_int;
    fn re_event_elapsed_ms(start: *mut c_void, end: *mut c_void, ms: *mut f64) -> c_int;
    fn re_event_free(event: *mut c_void);
    fn re_memory_peak(device: i64, bytes: *mut i64) -> c_int;
    fn re_memory_reset_peak(device: i64) -> c_int;
    fn re_synchronize(device: i64) -> c_int;
    fn re_set_arithmetic(allow_tf32: c_int) -> c_int;
    fn re_autocast_enter(
        cuda: c_int,
        dtype: c_int,
        was_enabled: *mut c_int,
        was_dtype: *mut c_int,
    ) -> c_int;
    fn re_autocast_exit(cuda: c_int, was_enabled: c_int, was_dtype: c_int) -> c_int;
    fn re_linear_pack(weight: *const c_void, packed: *mut *mut c_void) -> c_int;
    fn re_linear_packed(
        x: *const c_void,
        packed: *const c_void,
        bias: *const c_void,
        attr: *const c_char,
        algorithm: *const c_char,
        y: *mut *mut c_void,
    ) -> c_int;
    fn re_conv_pack(
        weight: *const c_void,
        stride: i64,
        padding: i64,
        groups: i64,
        input_size: *const i64,
        packed: *mut *mut c_void,
    ) -> c_int;
    fn re_conv_packed(
        x: *const c_void,
        packed: *const c_void,
        bias: *const c_void,
        stride: i64,
        padding: i64,
        groups: i64,
        attr: *const c_char,
        algorithm: *const c_char,
        y: *mut *mut c_void,
    ) -> c_int;
    fn re_roi_align(
        map: *const c_void,
        rois: *const c_void,
        height: i64,
        width: i64,
        scale: f64,
        ratio: i64,
        aligned: c_int,
        out: *mut *mut c_void,
    ) -> c_int;
    fn re_nms(
        boxes: *const c_void,
        scores: *const c_void,
        labels: *const c_void,
        threshold: f64,
        keep: *mut *mut c_void,
    ) -> c_int;
    fn re_on_every_thread(work: unsafe extern "C" fn(*mut c_void), user: *mut c_void) -> c_int;
    fn re_program_prepare(
        path: *const c_char,
        like: *const c_void,
        sink: BytesCallback,
        user: *mut c_void,
        parameters: *mut i64,
    ) -> c_int;
    fn re_graph_begin(device: i64, graph: *mut *mut c_void) -> c_int;
    fn re_graph_end(graph: *mut c_void) -> c_int;
    fn re_graph_replay(graph: *mut c_void) -> c_int;
    fn re_graph_free(graph: *mut c_void);
}

fn check(status: c_int) -> Result<()> {
    if status == 0 {
        return Ok(());
    }
    // SAFETY: the shim keeps the message alive until the next failing call of this thread.
    let text = unsafe { CStr::from_ptr(re_last_error()) }.to_string_lossy();
    let line = text.lines().next().unwrap_or_default();
    Err(Error::Torch(line.to_string()))
}

/// A point on a CUDA device's current stream.
pub struct DeviceEvent {
    raw: *mut c_void,
    device: i64,
}

impl DeviceEvent {
    /// Records the point now.
    pub fn record(device: usize) -> Result<Self> {
        let device = device as i64;
        let mut raw = std::ptr::null_mut();
        // SAFETY: `raw` receives an event that `drop` frees.
        check(unsafe { re_event_new(device, &mut raw) })?;
        let event = DeviceEvent { raw, device };
        // SAFETY: the event is alive.
        check(unsafe { re_event_record(event.raw, event.device) })?;
        Ok(event)
    }

    /// Milliseconds from `self` to `end`; waits until the device has passed `end`.
    pub fn elapsed_ms(&self, end: &DeviceEvent) -> Result<f64> {
        let mut ms = 0.0;
        // SAFETY: both events are alive.
        check(unsafe { re_event_elapsed_ms(self.raw, end.raw, &mut ms) })?;
        Ok(ms)
    }
}

impl Drop for DeviceEvent {
    fn drop(&mut self) {
        // SAFETY: made by `re_event_new`, freed once.
        unsafe { re_event_free(self.raw) }
    }
}

/// Peak bytes that the caching allocator of CUDA device `index` has handed out since the last
/// [`reset_device_memory_peak`].
pub fn device_memory_peak(index: usize) -> Result<i64> {
    let mut bytes = 0;
    // SAFETY: plain out-parameter.
    check(unsafe { re_memory_peak(index as i64, &mut bytes) })?;
    Ok(bytes)
}

pub fn reset_device_memory_peak(index: usize) -> Result<()> {
    // SAFETY: no pointers.
    check(unsafe { re_memory_reset_peak(index as i64) })
}

/// Waits until CUDA device `index` has finished everything queued.
pub fn synchronize(index: usize) -> Result<()> {
    // SAFETY: no pointers.
    check(unsafe { re_synchronize(index as i64) })
}

/// How libtorch computes on CUDA from now on: fp32 matrix products and convolutions in TF32 (10
/// bits of mantissa) or not; cuDNN by deterministic algorithms, chosen without trials; parts of a
/// 16-bit matrix product may be added up in 16 bits, as by libtorch's default.
///
/// # Errors
/// Where the environment overrides it.
pub fn set_arithmetic(tf32: bool) -> Result<()> {
    // SAFETY: no pointers.
    check(unsafe { re_set_arithmetic(c_int::from(tf32)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_is_settled_on_every_build() {
        set_arithmetic(true).unwrap();
        set_arithmetic(false).unwrap();
    }

    #[test]
    fn a_capture_that_cannot_begin_is_an_error() {
        if tch::Cuda::device_count() > 0 {
            return;
        }
        let error = DeviceGraph::capture(1, || Ok(())).err().unwrap();
        assert!(!error.to_string().is_empty());
    }
}
