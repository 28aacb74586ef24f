//! Downloads into the cache: resumed, measured, checked, and seen only when whole.

use super::cache::{HubCache, RepoKind};
use super::checksum;
use super::client::{Hub, RemoteFile};
use super::failure::{Failure, Patience};
use crate::runtime::{disk, interrupt};
use crate::{Error, Result, files};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Room that must be left on the disk.
const SPARE: u64 = 64 << 20;

/// Told about a download as it goes on.
pub trait Progress {
    fn start(&mut self, file: &RemoteFile, done: u64);
    /// `done` bytes of the current file are here; less than before when it starts again.
    fn at(&mut self, done: u64);
}

/// What to fetch of one repository.
pub struct Plan<'a> {
    hub: &'a Hub,
    cache: &'a HubCache,
    kind: RepoKind,
    repo: String,
    commit: String,
    pub files: Vec<RemoteFile>,
}

impl<'a> Plan<'a> {
    /// Asks the hub for the files that `choose` picks from those of branch `main`.
    pub fn new(
        hub: &'a Hub,
        cache: &'a HubCache,
        kind: RepoKind,
        repo: &str,
        choose: impl FnOnce(&[String]) -> Result<Vec<String>>,
    ) -> Result<Self> {
        let revision = hub.revision(kind, repo)?;
        let names = choose(&revision.files)?;
        let files = names
            .iter()
            .map(|name| hub.file(kind, repo, &revision.commit, name))
            .collect::<Result<_>>()?;
        Ok(Plan {
            hub,
            cache,
            kind,
            repo: repo.to_string(),
            commit: revision.commit,
            files,
        })
    }

    /// Fetches what is not in the cache yet; returns the folder with all files. `main` points to
    /// it only then.
    pub fn fetch(&self, progress: &mut dyn Progress) -> Result<PathBuf> {
        let folder = self.cache.repo(self.kind, &self.repo);
        let snapshot = folder.join("snapshots").join(&self.commit);
        let blobs = folder.join("blobs");
        create(&blobs)?;
        self.check_space(&blobs)?;
        for file in &self.files {
            let blob = blobs.join(&file.etag);
            if !is_whole(&blob, file.size) {
                self.fetch_file(file, &blob, progress)?;
            }
            link(&blob, &snapshot, &file.name)?;
        }
        create(&folder.join("refs"))?;
        files::write_atomically(&folder.join("refs/main"), self.commit.as_bytes())?;
        Ok(snapshot)
    }

    fn check_space(&self, blobs: &Path) -> Result<()> {
        let missing = |file: &RemoteFile| {
            let here = |path: PathBuf| path.metadata().map_or(0, |m| m.len());
            let blob = here(blobs.join(&file.etag));
            let part = here(partial(&blobs.join(&file.etag)));
            file.size.saturating_sub(blob.max(part))
        };
        let needed: u64 = self.files.iter().map(missing).sum();
        let free = disk::free_bytes(blobs)?;
        if needed > 0 && needed.saturating_add(SPARE) > free {
            return Err(Error::file(
                blobs,
                format!(
                    "{} needs {} MB more, the disk has {} MB; free some, or set HF_HOME to a larger disk",
                    self.repo,
                    needed.div_ceil(1_000_000),
                    free / 1_000_000
                ),
            ));
        }
        Ok(())
    }

    /// Downloads to `<etag>.incomplete`, going on where an earlier run stopped; renames when size
    /// and checksum are right.
    fn fetch_file(
        &self,
        remote: &RemoteFile,
        blob: &Path,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let path = partial(blob);
        let fail = |e: std::io::Error| Error::file(&path, e);
        let mut options = File::options();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(fail)?;
        // Two processes may want the same file: the second waits, then finds it whole.
        file.lock().map_err(fail)?;
        if is_whole(blob, remote.size) {
            return Ok(());
        }
        let what = format!("{}/{}", self.repo, remote.name);
        let mut started_over = false;
        loop {
            self.transfer(remote, &what, &mut file, progress)?;
            file.sync_all().map_err(fail)?;
            if checksum::matches(&path, &remote.etag)? {
                std::fs::rename(&path, blob).map_err(fail)?;
                return files::sync_folder(blob.parent().unwrap_or(blob)).map_err(fail);
            }
            file.set_len(0).map_err(fail)?;
            if started_over {
                return Err(Error::model(format!(
                    "{what}: what came does not have the checksum {}, twice; the server or a proxy on the way changes it",
                    remote.etag
                )));
            }
            // A partial file of an earlier run may have been damaged.
            tracing::warn!("{what}: wrong checksum; fetching it again from its start");
            started_over = true;
        }
    }

    /// Brings `file` to its full size.
    fn transfer(
        &self,
        remote: &RemoteFile,
        what: &str,
        file: &mut File,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let fail = |e: std::io::Error| Error::model(format!("{what}: cannot be written: {e}"));
        let mut done = file.metadata().map_err(fail)?.len();
        if done > remote.size {
            file.set_len(0).map_err(fail)?;
            done = 0;
        }
        progress.start(remote, done);
        let mut patience = Patience::default();
        while done < remote.size {
            interrupt::check()?;
            let before = done;
            match self.request(remote, what, file, &mut done, progress) {
                Ok(()) => {}
                Err(failure) => {
                    if done > before {
                        patience.renew();
                    }
                    patience.after(what, failure)?;
                }
            }
        }
        Ok(())
    }

    /// One request's worth of the file, from byte `done` on.
    fn request(
        &self,
        remote: &RemoteFile,
        what: &str,
        file: &mut File,
        done: &mut u64,
        progress: &mut dyn Progress,
    ) -> Result<(), Failure> {
        let io = |e: std::io::Error| Failure::last(format!("{what}: cannot be written: {e}"));
        let response = self.hub.open(remote, *done, what)?;
        let from = match response.status() {
            206 => range_start(response.header("content-range")),
            // The server knows no ranges, or sends the whole for another reason.
            _ => Some(0),
        };
        match from {
            Some(from) if from <= *done => *done = from,
            _ => {
                return Err(Failure::passing(
                    "the server sends another part than asked for",
                ));
            }
        }
        file.seek(SeekFrom::Start(*done)).map_err(io)?;
        file.set_len(*done).map_err(io)?;
        let mut body = response.into_reader();
        let mut buffer = vec![0; 1 << 20];
        loop {
            interrupt::check()?;
            let n = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) => return Err(Failure::passing(format!("the connection was cut ({e})"))),
            };
            if *done + n as u64 > remote.size {
                file.set_len(0).map_err(io)?;
                return Err(Failure::last(format!(
                    "{what}: the server sends more than the {} bytes it announced",
                    remote.size
                )));
            }
            file.write_all(&buffer[..n]).map_err(io)?;
            *done += n as u64;
            progress.at(*done);
        }
        match *done == remote.size {
            true => Ok(()),
            false => Err(Failure::passing(format!(
                "the connection ended after {done} of {} bytes",
                remote.size
            ))),
        }
    }
}

fn is_whole(blob: &Path, size: u64) -> bool {
    blob.metadata().is_ok_and(|m| m.len() == size)
}

fn partial(blob: &Path) -> PathBuf {
    suffixed(blob, ".incomplete")
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// `bytes 100-199/200` -> 100
fn range_start(header: Option<&str>) -> Option<u64> {
    header?
        .strip_prefix("bytes ")?
        .split('-')
        .next()?
        .parse()
        .ok()
}

fn create(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|e| Error::file(folder, e))
}

/// `snapshot/name` as a link to the blob, relative as `huggingface_hub` makes it.
fn link(blob: &Path, snapshot: &Path, name: &str) -> Result<()> {
    let path = snapshot.join(name);
    let fail = |e: std::io::Error| Error::file(&path, e);
    create(path.parent().unwrap_or(snapshot))?;
    let up = "../".repeat(2 + name.matches('/').count());
    let etag = blob.file_name().unwrap_or_default();
    let target = Path::new(&up).join("blobs").join(etag);
    if std::fs::read_link(&path).is_ok_and(|there| there == target) {
        return Ok(());
    }
    // Made beside and renamed, so that a reader never finds the name missing.
    let fresh = suffixed(&path, &format!(".{}.tmp", std::process::id()));
    std::os::unix::fs::symlink(&target, &fresh).map_err(fail)?;
    std::fs::rename(&fresh, &path).map_err(fail)
}
