//! CUDA graphs: a forward pass captured once and replayed without launch overhead.

use super::{check, re_graph_begin, re_graph_end, re_graph_free, re_graph_replay};
use crate::Result;
use crate::runtime::guard;
use std::ffi::c_void;

/// A captured piece of work. Inputs and outputs are the tensors used during the capture: to run
/// on new data, copy it into the captured input.
pub struct DeviceGraph {
    raw: *mut c_void,
}

impl DeviceGraph {
    /// Captures `work` on CUDA device `device`. `work` must have run before (warm-up), must not
    /// synchronise, and must not read values back. Device and stream of this thread are as before
    /// afterwards, whatever happens in between.
    pub fn capture<T>(device: usize, work: impl FnOnce() -> Result<T>) -> Result<(Self, T)> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: `raw` receives a graph that `drop` frees.
        check(unsafe { re_graph_begin(device as i64, &mut raw) })?;
        let graph = DeviceGraph { raw };
        // A panic must not leave the capture open.
        let value = guard(work);
        // SAFETY: the graph is alive and capturing; ending restores device and stream even on failure.
        let ended = check(unsafe { re_graph_end(graph.raw) });
        let value = value?;
        ended?;
        Ok((graph, value))
    }

    /// Runs the captured work again (asynchronously).
    pub fn replay(&self) -> Result<()> {
        // SAFETY: the graph is alive.
        check(unsafe { re_graph_replay(self.raw) })
    }
}

impl Drop for DeviceGraph {
    fn drop(&mut self) {
        // SAFETY: made by `re_graph_begin`, freed once.
        unsafe { re_graph_free(self.raw) }
    }
}
