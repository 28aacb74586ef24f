//! How the tool writes every file that somebody may read later: whole or not at all. How it maps
//! large ones into memory: [`MappedFile`].
//!
//! The bytes go to a temporary file in the same folder, which is synced to the disk, renamed to
//! its name, and made to stay by syncing the folder. A reader, another process and a crash see
//! the old file or the new one, never a half of either. The mode is that of any new file (0666
//! without the umask): results are for others to read.

mod lost_page;
mod mapped;

pub mod text;

pub use mapped::MappedFile;

use crate::{Error, Result};
use std::fs::{File, Permissions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use tempfile::{NamedTempFile, PersistError};

/// Before the umask takes its part.
const MODE: u32 = 0o666;
/// The name of an unfinished file, should a crash leave one: hidden, and of no kind that is read.
const PREFIX: &str = ".radio-eval-";
const SUFFIX: &str = ".part";

/// A file being written; dropped without [`commit`](AtomicFile::commit) it leaves nothing.
///
/// Writing gives plain `io::Error`s; [`AtomicFile::error`] puts the file's name before them.
pub struct AtomicFile {
    path: PathBuf,
    folder: PathBuf,
    file: BufWriter<NamedTempFile>,
}

impl AtomicFile {
    /// Begins the file that will be `path`; makes its folder where there is none.
    ///
    /// # Errors
    /// [`Error::File`] where the folder cannot be made or written to.
    pub fn create(path: &Path) -> Result<Self> {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        std::fs::create_dir_all(folder).map_err(|e| Error::file(folder, e))?;
        let file = tempfile::Builder::new()
            .prefix(PREFIX)
            .suffix(SUFFIX)
            .permissions(Permissions::from_mode(MODE))
            .tempfile_in(folder)
            .map_err(|e| Error::file(folder, e))?;
        Ok(AtomicFile {
            path: path.to_path_buf(),
            folder: folder.to_path_buf(),
            file: BufWriter::new(file),
        })
    }

    /// An error about this file.
    pub fn error(&self, reason: impl ToString) -> Error {
        Error::file(&self.path, reason)
    }

    /// Makes everything written so far the contents of the file, for good.
    ///
    /// # Errors
    /// [`Error::File`] where the disk is full or the name cannot be taken; what was there before
    /// is still there.
    pub fn commit(self) -> Result<()> {
        self.finish(|file, path| file.persist(path).map(drop))
    }

    /// As [`commit`](AtomicFile::commit), but only where there is no file of that name yet: of
    /// several processes at once one gets the name. `false` where another has it.
    pub fn commit_new(self) -> Result<bool> {
        let mut taken = false;
        self.finish(|file, path| match file.persist_noclobber(path) {
            Err(e) if e.error.kind() == ErrorKind::AlreadyExists => {
                taken = true;
                Ok(())
            }
            outcome => outcome.map(drop),
        })?;
        Ok(!taken)
    }

    /// To the disk, then to its name by `persist`.
    fn finish(
        self,
        persist: impl FnOnce(NamedTempFile, &Path) -> Result<(), PersistError>,
    ) -> Result<()> {
        let path = self.path;
        let fail = |e: io::Error| Error::file(&path, e);
        let file = self.file.into_inner().map_err(|e| fail(e.into_error()))?;
        file.as_file().sync_all().map_err(fail)?;
        persist(file, &path).map_err(|e| fail(e.error))?;
        sync_folder(&self.folder).map_err(|e| Error::file(&self.folder, e))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes a whole file at once.
///
/// # Errors
/// As [`AtomicFile::create`] and [`AtomicFile::commit`].
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes).map_err(|e| file.error(e))?;
    file.commit()
}

/// Writes a whole new file at once; `false`, and nothing written, where one of that name is there.
///
/// # Errors
/// As [`AtomicFile::create`] and [`AtomicFile::commit`].
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<bool> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes).map_err(|e| file.error(e))?;
    file.commit_new()
}

/// Where the file `name` (with `/` between its parts) lies in `folder`, for names that come from
/// outside: members of archives above all.
///
/// # Errors
/// A name that is absolute or has `..` in it, or whose folder is a link out of `folder`.
pub fn inside(folder: &Path, name: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    let names_a_file = Path::new(name)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if !names_a_file || name.is_empty() {
        return Err(Error::file(
            folder,
            format!(
                "a file named `{name}` would lie outside of this folder; rename it in the data set"
            ),
        ));
    }
    // The last part is replaced, not followed, when the file is written.
    for above in path
        .ancestors()
        .skip(1)
        .take_while(|above| *above != folder)
    {
        let is_link = above.symlink_metadata().is_ok_and(|m| m.is_symlink());
        let leaves = || match (above.canonicalize(), folder.canonicalize()) {
            (Ok(target), Ok(folder)) => !target.starts_with(folder),
            _ => true,
        };
        if is_link && leaves() {
            return Err(Error::file(
                above,
                format!("is a link out of {}; take it away", folder.display()),
            ));
        }
    }
    Ok(path)
}

/// Makes the names in a folder survive a crash. Some network file systems cannot sync a folder;
/// they keep its names by their own means.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        Err(e) if matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_new_file_has_the_mode_of_any_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let (plain, ours) = (folder.path().join("plain"), folder.path().join("a/b/ours"));
        std::fs::write(&plain, b"x").unwrap();
        write_atomically(&ours, b"x").unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }

    #[test]
    fn a_new_file_takes_no_name_that_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        assert!(write_new(&path, b"first").unwrap());
        assert!(!write_new(&path, b"second").unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        assert_eq!(names(folder.path()), ["record"]);
    }

    #[test]
    fn what_is_not_committed_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        write_atomically(&path, b"old").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(&[0; 100_000]).unwrap();
        drop(file);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["state"]);
    }

    #[test]
    fn names_from_outside_stay_inside() {
        let folder = tempfile::tempdir().unwrap();
        let (root, out) = (folder.path(), folder.path().join("out"));
        std::fs::create_dir_all(out.join("real")).unwrap();
        std::os::unix::fs::symlink(root, out.join("away")).unwrap();
        std::os::unix::fs::symlink(out.join("real"), out.join("near")).unwrap();
        for good in ["a.png", "a/b/c.png", "near/c.png", "..a/b..png"] {
            assert_eq!(inside(&out, good).unwrap(), out.join(good));
        }
        for bad in ["/etc/a.png", "../a.png", "a/../../b.png", "away/a.png", ""] {
            let error = inside(&out, bad).unwrap_err().to_string();
            assert!(error.starts_with(&out.display().to_string()), "{error}");
        }
    }

    #[test]
    fn an_error_names_the_file_and_cleans_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        std::fs::create_dir(&path).unwrap();
        let error = write_atomically(&path, b"x").unwrap_err().to_string();
        assert!(error.starts_with(&path.display().to_string()), "{error}");
        assert_eq!(names(folder.path()), ["taken"]);
    }
}
