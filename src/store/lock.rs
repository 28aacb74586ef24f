//! One process at a time in a part.

use super::store_error;
use crate::Result;
use crate::runtime::interrupt;
use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Whether others may hold the lock too.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Access {
    Write,
    Read,
}

/// The lock of a part's `folder`, waited for while the user does not interrupt; it is held until
/// the file is dropped. Its time of change says when the part was last used.
pub(super) fn lock(folder: &Path, access: Access) -> Result<File> {
    let path = folder.join("lock");
    let mut announced = false;
    loop {
        let file = std::fs::create_dir_all(folder)
            .and_then(|()| File::options().create(true).append(true).open(&path))
            .map_err(|e| store_error(&path, e))?;
        let attempt = match access {
            Access::Write => file.try_lock(),
            Access::Read => file.try_lock_shared(),
        };
        match attempt {
            // Whoever removes a store does so under its lock; then this is nobody's lock any more.
            Ok(()) if !is_at(&file, &path) => {}
            Ok(()) => {
                // Only the age that `radio-eval cache` shows depends on it.
                let _ = file.set_modified(SystemTime::now());
                return Ok(file);
            }
            Err(TryLockError::WouldBlock) => {
                if !announced {
                    tracing::info!("another process extracts the same features; waiting for it");
                    announced = true;
                }
                interrupt::check()?;
                std::thread::sleep(Duration::from_millis(200));
            }
            Err(TryLockError::Error(e)) => return Err(store_error(&path, e)),
        }
    }
}

/// The lock for writing, if nobody holds one.
pub(super) fn try_lock(folder: &Path) -> Result<Option<File>> {
    let path = folder.join("lock");
    let file = File::options().create(true).append(true).open(&path);
    let file = file.map_err(|e| store_error(&path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(e)) => Err(store_error(&path, e)),
    }
}

/// Whether `path` still names this file.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), path.metadata()) {
        (Ok(held), Ok(named)) => (held.dev(), held.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}
