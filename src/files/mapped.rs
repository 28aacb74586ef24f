//! Files read through memory maps.

use super::lost_page::{self, Watch};
use memmap2::{Mmap, MmapOptions, UncheckedAdvice};
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};

/// A read-only map of a whole file.
///
/// A file that another process cuts short while it is mapped, or a disk that fails, ends the
/// process with an error that names the file (`lost_page`), not with a bare SIGBUS.
pub struct MappedFile {
    path: PathBuf,
    /// Before the map, and so dropped before its addresses can be another's.
    _watch: Option<Watch>,
    map: Mmap,
}

impl MappedFile {
    /// Maps `file`, which lies at `path` (for messages). An empty file gives no bytes.
    pub fn map(path: &Path, file: &File) -> io::Result<Self> {
        Self::with(path, file, &MmapOptions::new())
    }

    /// Maps the first `length` bytes of `file`, which is at least that long.
    pub fn map_front(path: &Path, file: &File, length: usize) -> io::Result<Self> {
        Self::with(path, file, MmapOptions::new().len(length))
    }

    fn with(path: &Path, file: &File, options: &MmapOptions) -> io::Result<Self> {
        // SAFETY: nobody writes through this map. The tool and `huggingface_hub` replace files by
        // renaming, which leaves a mapped one as it was. Against a process that overwrites a file
        // in place no map can promise that bytes stay as they are; its reader gets wrong values or
        // an error, as with plain reads. One that cuts the file short makes reads fail by SIGBUS,
        // which `lost_page` turns into an error.
        let map = unsafe { options.map(file) }?;
        let watch = lost_page::watch(path, &map)?;
        Ok(MappedFile {
            path: path.to_path_buf(),
            _watch: watch,
            map,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets the kernel drop the pages that lie wholly within the range; they are read again from
    /// the file when they are touched.
    pub fn forget(&self, offset: usize, len: usize) {
        const PAGE: usize = 4096;
        let start = offset.next_multiple_of(PAGE);
        let end = offset.saturating_add(len).min(self.map.len()) / PAGE * PAGE;
        if end > start {
            // SAFETY: the mapping is file-backed and read-only; dropped pages are read again.
            let _ = unsafe {
                self.map
                    .unchecked_advise_range(UncheckedAdvice::DontNeed, start, end - start)
            };
        }
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Names the file that the child maps; without it the child's test does nothing.
    const CHILD: &str = "RADIO_EVAL_TEST_LOST_PAGE";

    #[test]
    fn a_file_cut_short_ends_in_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        std::fs::write(&path, vec![1; 20_000]).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "files::mapped::tests::child", "--nocapture"])
            .env(CHILD, &path)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&child.stderr);
        assert_eq!(child.status.code(), Some(1), "{stderr}");
        let expected = format!("error: {}: was cut short", path.display());
        assert!(stderr.contains(&expected), "{stderr}");
    }

    #[test]
    fn child() {
        let Some(path) = std::env::var_os(CHILD) else {
            return;
        };
        let path = Path::new(&path);
        // Another map before and one that is gone: the right name is found.
        let exe = std::env::current_exe().unwrap();
        let _other = MappedFile::map(&exe, &File::open(&exe).unwrap()).unwrap();
        drop(MappedFile::map(&exe, &File::open(&exe).unwrap()).unwrap());
        let mapped = MappedFile::map(path, &File::open(path).unwrap()).unwrap();
        File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_len(0)
            .unwrap();
        let sum: u64 = mapped.iter().map(|&byte| u64::from(byte)).sum();
        println!("read {sum} from a file that is gone");
    }

    #[test]
    fn bytes_come_back_after_they_were_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, vec![7; 20_000]).unwrap();
        let mapped = MappedFile::map(&path, &File::open(&path).unwrap()).unwrap();
        assert_eq!(
            MappedFile::map_front(&path, &File::open(&path).unwrap(), 5).unwrap()[..],
            [7; 5]
        );
        mapped.forget(100, usize::MAX);
        assert!(mapped.iter().all(|&byte| byte == 7) && mapped.len() == 20_000);
    }
}
