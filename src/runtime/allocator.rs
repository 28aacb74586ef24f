//! How the C allocator treats the buffers of a network.

/// Keeps freed memory in the process instead of handing it back after every operator.
///
/// glibc maps large blocks anew each time and unmaps them when freed, so every activation costs a
/// page fault per 4 KiB: a TorchScript EfficientNet at batch 32 spent two thirds of its time in the
/// kernel (21.6 images/s without this, 64.3 with it). To be called before anything is allocated.
pub fn keep_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: plain settings of the allocator; no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
    }
}
