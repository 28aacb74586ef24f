//! How much room a disk has.

use std::path::Path;

/// Bytes that an ordinary user may still write in the file system of `folder`, or of the nearest
/// folder above it that is there; `None` where the system does not tell.
pub fn free_bytes(folder: &Path) -> Option<u64> {
    let there = folder.ancestors().find(|a| a.exists())?;
    let there = if there.as_os_str().is_empty() {
        Path::new(".")
    } else {
        there
    };
    let stats = rustix::fs::statvfs(there).ok()?;
    Some(stats.f_bavail.saturating_mul(stats.f_frsize))
}
