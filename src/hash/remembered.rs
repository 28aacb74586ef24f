//! SHA-256 of large files, remembered in `$RADIO_EVAL_HOME/cache/sha256`: hashing 2.6 GB at each
//! start would cost seconds.

use super::{sha256, sha256_of_reader};
use crate::files::write_atomically;
use crate::{Error, Result, runtime};
use serde::{Deserialize, Serialize};
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A file system's clock ticks this coarsely: a file changed less than that ago may change again
/// without its time telling.
const COARSEST_TICK: Duration = Duration::from_millis(50);

/// By what a file is known to be the one seen before, without reading it: a change of any field
/// makes it another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileIdentity {
    /// Without links: a link of the Hugging Face cache and its blob are one file.
    pub path: PathBuf,
    pub size: u64,
    /// Last change of the contents: seconds since 1970 and nanoseconds.
    pub modified_s: i64,
    pub modified_ns: i64,
    pub inode: u64,
}

impl FileIdentity {
    /// The identity of the file at `path` as it is now.
    pub fn of_path(path: &Path) -> Result<Self> {
        let fail = |e: std::io::Error| Error::file(path, e);
        let path = path.canonicalize().map_err(fail)?;
        let meta = path.metadata().map_err(fail)?;
        Ok(Self::new(path, &meta))
    }

    fn new(path: PathBuf, meta: &Metadata) -> Self {
        FileIdentity {
            path,
            size: meta.len(),
            modified_s: meta.mtime(),
            modified_ns: meta.mtime_nsec(),
            inode: meta.ino(),
        }
    }
}

/// One file of the memory.
#[derive(Serialize, Deserialize)]
struct Remembered {
    file: FileIdentity,
    sha256: String,
}

/// The SHA-256 of one file; of several, the SHA-256 of what `sha256sum` prints for them, names
/// without folders.
pub fn of_files(files: &[PathBuf]) -> Result<String> {
    if let [file] = files {
        return of_file(file);
    }
    let mut lines = String::new();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        lines += &format!("{}  {name}\n", of_file(file)?);
    }
    Ok(sha256(lines))
}

/// The SHA-256 of a file: read, unless it was read before and is still the same by
/// [`FileIdentity`].
///
/// # Errors
/// [`Error::File`] where it cannot be read, [`Error::Interrupted`] soon after Ctrl-C.
pub fn of_file(path: &Path) -> Result<String> {
    of_file_in(path, &runtime::home().join("cache/sha256"))
}

fn of_file_in(path: &Path, memory: &Path) -> Result<String> {
    let identity = FileIdentity::of_path(path)?;
    let entry = memory.join(format!(
        "{}.json",
        sha256(identity.path.as_os_str().as_encoded_bytes())
    ));
    let known = std::fs::read(&entry)
        .ok()
        .and_then(|text| serde_json::from_slice::<Remembered>(&text).ok())
        .filter(|known| known.file == identity);
    if let Some(known) = known {
        return Ok(known.sha256);
    }
    let started = SystemTime::now();
    tracing::debug!("hashing {}", path.display());
    let mut file = File::open(&identity.path).map_err(|e| Error::file(path, e))?;
    let hash = sha256_of_reader(path, &mut file)?;
    let remembered = Remembered {
        file: identity,
        sha256: hash,
    };
    if is_settled(&remembered.file, &file, started) {
        // A home that cannot be written costs time at the next start, nothing else.
        let text = serde_json::to_vec(&remembered).map_err(|e| Error::file(&entry, e))?;
        if let Err(error) = write_atomically(&entry, &text) {
            tracing::debug!("the hash is not remembered: {error}");
        }
    }
    Ok(remembered.sha256)
}

/// Whether the bytes read were those of `identity`, and a later change would be noticed.
fn is_settled(identity: &FileIdentity, file: &File, started: SystemTime) -> bool {
    let Ok(meta) = file.metadata() else {
        return false;
    };
    let unchanged = FileIdentity::new(identity.path.clone(), &meta) == *identity;
    let age = meta.modified().map(|m| started.duration_since(m));
    unchanged && matches!(age, Ok(Ok(age)) if age > COARSEST_TICK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, Write};

    /// A weight file that was written a while ago, and a memory.
    fn settled(text: &str) -> (tempfile::TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        std::fs::write(&path, text).unwrap();
        date(&path, 1_000);
        let memory = folder.path().join("memory");
        (folder, path, memory)
    }

    fn date(path: &Path, seconds: u64) {
        let file = File::options().write(true).open(path).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        file.set_modified(time).unwrap();
    }

    /// Overwrites in place and puts the time back: only a reader of the bytes would notice.
    fn overwrite(path: &Path, text: &str) {
        let mut file = File::options().write(true).open(path).unwrap();
        file.rewind().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        drop(file);
        date(path, 1_000);
    }

    #[test]
    fn a_second_start_does_not_read_the_file() {
        let (_folder, path, memory) = settled("abc");
        let first = of_file_in(&path, &memory).unwrap();
        assert_eq!(first, sha256("abc"));
        overwrite(&path, "xyz");
        assert_eq!(of_file_in(&path, &memory).unwrap(), first, "it was read");
    }

    #[test]
    fn any_sign_of_a_change_makes_it_read_again() {
        let (folder, path, memory) = settled("abc");
        of_file_in(&path, &memory).unwrap();
        overwrite(&path, "xyz");
        date(&path, 1_001);
        assert_eq!(of_file_in(&path, &memory).unwrap(), sha256("xyz"), "time");

        // Another file of the same size and time in its place.
        let other = folder.path().join("other");
        std::fs::write(&other, "uvw").unwrap();
        date(&other, 1_001);
        std::fs::rename(&other, &path).unwrap();
        assert_eq!(of_file_in(&path, &memory).unwrap(), sha256("uvw"), "inode");
    }

    #[test]
    fn a_file_changed_this_very_moment_is_not_remembered() {
        let (_folder, path, memory) = settled("abc");
        std::fs::write(&path, "new").unwrap();
        of_file_in(&path, &memory).unwrap();
        assert!(!memory.exists());
    }
}
