//! What an image's bytes are (a SHA-256), and a cheap sign that they may have changed since.

use super::annotation::Annotation;
use super::source::Source;
use crate::Result;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// SHA-256 of an image's encoded bytes (with its mask's, where a data set has masks).
pub type ContentHash = [u8; 32];

/// A file system's clock ticks every few milliseconds: a file changed this recently may change
/// again without a sign.
const RECENT: Duration = Duration::from_secs(1);

/// A hash over what the file system says about a file: path, device, inode, size, and the times of
/// the last change of its bytes and of its entry, with nanoseconds. Of a member of an archive, over
/// the archive's and the member's place in it. Two equal stamps mean equal bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(pub [u8; 32]);

impl Stamp {
    /// The stamp of what lies at `place` (offset and length, a row; empty for the whole file) in
    /// the file at `path`; `None` for one that was changed a moment ago.
    pub fn new(path: &Path, file: &Metadata, place: &[u64]) -> Option<Self> {
        let changed = [
            (file.mtime(), file.mtime_nsec()),
            (file.ctime(), file.ctime_nsec()),
        ];
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        let recently = i64::try_from((now.checked_sub(RECENT)?).as_secs()).ok()?;
        if changed.iter().any(|&(seconds, _)| seconds >= recently) {
            return None;
        }
        let mut hash = Sha256::new();
        hash.update(path.as_os_str().as_encoded_bytes());
        for number in [file.dev(), file.ino(), file.size()] {
            hash.update(number.to_le_bytes());
        }
        for (seconds, nanoseconds) in changed {
            hash.update(seconds.to_le_bytes());
            hash.update(nanoseconds.to_le_bytes());
        }
        for number in place {
            hash.update(number.to_le_bytes());
        }
        Some(Stamp(hash.finalize().into()))
    }

    /// One stamp of several files; `None` where one of them has none.
    pub fn of_all(stamps: impl IntoIterator<Item = Option<Stamp>>) -> Option<Self> {
        let mut hash = Sha256::new();
        for stamp in stamps {
            hash.update(stamp?.0);
        }
        Some(Stamp(hash.finalize().into()))
    }
}

/// What was read of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// Taken before reading; `None` where the file system could not vouch for the bytes.
    pub stamp: Option<Stamp>,
    /// `None` where the image could not be read.
    pub hash: Option<ContentHash>,
}

/// A source that hashes every image while it is read anyway.
pub struct Hashed {
    source: Arc<dyn Source>,
    /// Of images that were read and not yet asked for.
    read: Mutex<HashMap<usize, Content>>,
}

impl Hashed {
    pub fn new(source: Arc<dyn Source>) -> Self {
        Hashed {
            source,
            read: Mutex::default(),
        }
    }

    /// What was read of image `index`, once.
    pub fn take(&self, index: usize) -> Content {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.remove(&index).unwrap_or(Content {
            stamp: None,
            hash: None,
        })
    }
}

impl Source for Hashed {
    fn describe(&self) -> String {
        self.source.describe()
    }

    fn len(&self) -> usize {
        self.source.len()
    }

    fn key(&self, index: usize) -> &str {
        self.source.key(index)
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.source.label(index)
    }

    fn annotation(&self, index: usize) -> Result<Annotation> {
        self.source.annotation(index)
    }

    fn read(&self, index: usize) -> Result<Vec<u8>> {
        let stamp = self.source.stamp(index);
        let bytes = self.source.read(index);
        let hash = bytes
            .as_ref()
            .ok()
            .map(|bytes| Sha256::digest(bytes).into());
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.insert(index, Content { stamp, hash });
        drop(read);
        bytes
    }

    fn size(&self, index: usize) -> u64 {
        self.source.size(index)
    }

    fn stamp(&self, index: usize) -> Option<Stamp> {
        self.source.stamp(index)
    }

    fn content_hash(&self, index: usize) -> Result<ContentHash> {
        self.source.content_hash(index)
    }
}

#[cfg(test)]
mod tests {
    use super::Stamp;
    use std::fs::{File, FileTimes};
    use std::time::{Duration, SystemTime};

    #[test]
    fn a_file_that_was_just_changed_has_no_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "1").unwrap();
        let old = SystemTime::now() - Duration::from_secs(3600);
        let file = File::options().append(true).open(&path).unwrap();
        file.set_times(FileTimes::new().set_modified(old)).unwrap();
        // The entry changed now, whatever the time of the bytes says.
        assert!(Stamp::new(&path, &file.metadata().unwrap(), &[]).is_none());
        let bin = std::env::current_exe().unwrap();
        let bin_meta = bin.metadata().unwrap();
        let whole = Stamp::new(&bin, &bin_meta, &[]);
        if whole.is_some() {
            assert_eq!(whole, Stamp::new(&bin, &bin_meta, &[]));
            assert_ne!(whole, Stamp::new(&bin, &bin_meta, &[1]));
        }
    }
}
