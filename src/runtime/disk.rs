//! How much room a disk has.

use crate::{Error, Result};
use std::path::Path;

/// Bytes that this user may still write in the file system of `folder`, or of the nearest folder
/// above it that is there.
pub fn free_bytes(folder: &Path) -> Result<u64> {
    let there = folder
        .ancestors()
        .find(|ancestor| ancestor.exists() || ancestor.as_os_str().is_empty())
        .filter(|ancestor| !ancestor.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let stats = rustix::fs::statvfs(there).map_err(|e| Error::file(there, e))?;
    Ok(stats.f_bavail.saturating_mul(stats.f_frsize))
}
