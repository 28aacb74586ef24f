//! One process at a time in a part.

use super::store_error;
use crate::Result;
use crate::runtime::interrupt;
use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

/// Whether others may hold the lock too.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Access {
    Write,
    Read,
}

/// The lock of a part's `folder`, waited for while the user does not interrupt; it is held until
/// the file is dropped.
pub(super) fn lock(folder: &Path, access: Access) -> Result<File> {
    let path = folder.join("lock");
    let file = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(|e| store_error(&path, e))?;
    let mut announced = false;
    loop {
        let attempt = match access {
            Access::Write => file.try_lock(),
            Access::Read => file.try_lock_shared(),
        };
        match attempt {
            Ok(()) => return Ok(file),
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
