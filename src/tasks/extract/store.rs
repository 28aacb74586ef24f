//! A folder of features on disk: `features.f32`, raw rows, and `header.json`, which says what
//! they are and how many of them count.
//!
//! Rows are appended, synced, and only then counted in the header, which is replaced as a whole.
//! After a crash at any moment the header describes rows that are there; what lies beyond them is
//! cut off.

use super::rows::Rows;
use crate::files::write_atomically;
use crate::runtime::interrupt;
use crate::{Error, Result};
use memmap2::Mmap;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A sample that could not be read and has no row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    pub index: usize,
    pub key: String,
    pub reason: String,
}

impl From<&crate::data::loader::Skipped> for Skipped {
    fn from(skipped: &crate::data::loader::Skipped) -> Self {
        Skipped {
            index: skipped.index,
            key: skipped.key.clone(),
            reason: skipped.reason.clone(),
        }
    }
}

/// What `header.json` says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Header {
    /// Everything that decides the values.
    pub key: Value,
    /// Width of a row; 0 until the first is there.
    pub dim: usize,
    /// Samples done: rows and skipped ones.
    pub done: usize,
    /// Samples in all.
    pub total: usize,
    pub skipped: Vec<Skipped>,
}

impl Header {
    fn rows(&self) -> usize {
        self.done - self.skipped.len()
    }

    fn bytes(&self) -> u64 {
        (self.rows() * self.dim * size_of::<f32>()) as u64
    }
}

/// A store being filled by this process alone.
pub struct Store {
    folder: PathBuf,
    file: File,
    pub header: Header,
    /// Held until the store is dropped.
    _lock: File,
}

impl Store {
    /// Opens the store in `folder` for `total` samples, or makes it. Waits while another process
    /// fills it. What is there of another key or is damaged is thrown away.
    pub fn open(folder: &Path, key: Value, total: usize) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|e| cache_error(folder, e))?;
        let lock = lock(&folder.join("lock"))?;
        let path = features_path(folder);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| cache_error(&path, e))?;
        let length = file.metadata().map_err(|e| cache_error(&path, e))?.len();
        let found = std::fs::read(header_path(folder))
            .ok()
            .and_then(|text| serde_json::from_slice::<Header>(&text).ok())
            .filter(|h| h.key == key && h.total == total && h.done <= total)
            .filter(|h| h.skipped.len() <= h.done && h.bytes() <= length);
        let header = found.unwrap_or(Header {
            key,
            dim: 0,
            done: 0,
            total,
            skipped: Vec::new(),
        });
        let mut store = Store {
            folder: folder.to_path_buf(),
            file,
            header,
            _lock: lock,
        };
        store.rewind()?;
        Ok(store)
    }

    pub fn is_complete(&self) -> bool {
        self.header.done == self.header.total
    }

    /// Cuts off what the header does not count.
    fn rewind(&mut self) -> Result<()> {
        let end = self.header.bytes();
        self.file
            .set_len(end)
            .and_then(|()| self.file.seek(SeekFrom::Start(end)))
            .map_err(|e| cache_error(&features_path(&self.folder), e))?;
        Ok(())
    }

    /// Appends the rows of the next samples, and tells which of those had none.
    ///
    /// `values`: [rows, dim]; `skipped`: samples without a row.
    pub fn append(&mut self, values: &[f32], dim: usize, skipped: Vec<Skipped>) -> Result<()> {
        if !values.is_empty() {
            if self.header.rows() > 0 && self.header.dim != dim {
                return Err(Error::model(format!(
                    "the features changed their width from {} to {dim}",
                    self.header.dim
                )));
            }
            self.header.dim = dim;
            self.header.done += values.len() / dim;
        }
        self.header.done += skipped.len();
        self.header.skipped.extend(skipped);
        // Little-endian on disk, as every machine that libtorch runs on has it in memory.
        // SAFETY: any f32 is four valid bytes, and u8 has no alignment.
        let bytes = unsafe {
            std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values))
        };
        self.file
            .write_all(bytes)
            .map_err(|e| cache_error(&features_path(&self.folder), e))
    }

    /// Makes what was appended survive a crash.
    pub fn commit(&mut self) -> Result<()> {
        let path = header_path(&self.folder);
        self.file
            .sync_data()
            .map_err(|e| cache_error(&features_path(&self.folder), e))?;
        let text = serde_json::to_vec_pretty(&self.header).map_err(|e| Error::file(&path, e))?;
        write_atomically(&path, &text)
    }

    /// Maps the finished rows into memory.
    pub fn map(self) -> Result<Mapped> {
        let path = features_path(&self.folder);
        if self.header.rows() == 0 {
            return Err(Error::model(
                "no image could be read; there are no features",
            ));
        }
        // SAFETY: the file is complete, and whoever opens the store checks the length under the
        // lock before truncating; a file changed by hand can only give wrong numbers.
        let map = unsafe { Mmap::map(&self.file) }.map_err(|e| cache_error(&path, e))?;
        Ok(Mapped {
            map,
            header: self.header,
        })
    }
}

/// Finished features, read from disk as they are needed.
pub struct Mapped {
    map: Mmap,
    pub header: Header,
}

impl Mapped {
    pub fn rows(&self) -> Result<Rows<'_>> {
        let len = self.header.rows() * self.header.dim;
        // SAFETY: `Store::open` checked the length; a mapping is aligned to pages, and any bytes
        // are valid floats.
        let values = unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast::<f32>(), len) };
        Rows::new(values, self.header.dim)
    }
}

fn features_path(folder: &Path) -> PathBuf {
    folder.join("features.f32")
}

fn header_path(folder: &Path) -> PathBuf {
    folder.join("header.json")
}

fn cache_error(path: &Path, error: std::io::Error) -> Error {
    Error::file(
        path,
        format!(
            "{error}; features are kept under $RADIO_EVAL_HOME/cache, which must be writable and have room"
        ),
    )
}

/// An exclusive lock, waited for while the user does not interrupt.
fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).map_err(|e| cache_error(path, e))?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                if !told {
                    tracing::info!("another process extracts the same features; waiting for it");
                    told = true;
                }
                interrupt::check()?;
                std::thread::sleep(Duration::from_millis(200));
            }
            Err(TryLockError::Error(e)) => return Err(cache_error(path, e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tch::Device;

    #[test]
    fn rows_that_were_not_committed_are_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path(), json!("a"), 3).unwrap();
        store.append(&[1.0, 2.0], 2, Vec::new()).unwrap();
        store.commit().unwrap();
        store.append(&[9.0, 9.0], 2, Vec::new()).unwrap();
        drop(store);

        let mut store = Store::open(folder.path(), json!("a"), 3).unwrap();
        assert_eq!((store.header.done, store.is_complete()), (1, false));
        let bad = Skipped {
            index: 1,
            key: "bad.jpg".into(),
            reason: "damaged".into(),
        };
        store.append(&[3.0, 4.0], 2, vec![bad]).unwrap();
        store.commit().unwrap();
        drop(store);

        let store = Store::open(folder.path(), json!("a"), 3).unwrap();
        assert!(store.is_complete());
        let mapped = store.map().unwrap();
        let rows = mapped.rows().unwrap();
        assert_eq!((rows.len(), rows.dim()), (2, 2));
        let unit: Vec<f32> = rows
            .normalised(1..2, Device::Cpu)
            .unwrap()
            .reshape([-1])
            .try_into()
            .unwrap();
        assert_eq!(unit, [0.6, 0.8]);
    }

    #[test]
    fn another_key_starts_afresh() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path(), json!("a"), 1).unwrap();
        store.append(&[1.0], 1, Vec::new()).unwrap();
        store.commit().unwrap();
        drop(store);
        assert!(
            !Store::open(folder.path(), json!("b"), 1)
                .unwrap()
                .is_complete()
        );
    }
}
