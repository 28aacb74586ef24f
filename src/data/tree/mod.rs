//! A tree of named files: a folder, or tar files indexed once and read at random.

mod archive;
mod folder;
mod left_out;
mod links;
mod sparse;

pub use left_out::LeftOut;

use super::content::Stamp;
use crate::{Error, Result};
use archive::{Member, Span};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Files below a folder or inside tar files, by name, in ascending order of their names whatever
/// the order on disk. Names use `/` and are relative to the root. Shared by worker threads.
pub struct FileTree {
    root: PathBuf,
    /// Empty for a folder.
    archives: Vec<File>,
    names: Vec<String>,
    /// Parallel to `names`; empty for a folder.
    spans: Vec<Span>,
    left_out: LeftOut,
}

impl FileTree {
    /// Opens a folder or a tar file, wholly.
    pub fn open(path: &Path) -> Result<Self> {
        if path.is_dir() {
            Self::open_folder(path, &[""])
        } else {
            Self::open_tar(path)
        }
    }

    /// Opens the parts `below` of a folder (`""` is all of it). Hidden files and `lost+found` are
    /// no part of it; links are followed, and those that lead nowhere are left out.
    pub fn open_folder(root: &Path, below: &[&str]) -> Result<Self> {
        let mut left_out = LeftOut::default();
        let mut names = Vec::new();
        for part in below {
            folder::list(root, part, &mut names, &mut left_out)?;
        }
        names.sort_unstable();
        names.dedup();
        Ok(FileTree {
            root: root.to_path_buf(),
            archives: Vec::new(),
            names,
            spans: Vec::new(),
            left_out,
        })
    }

    /// Indexes a tar file; `.tar` members are opened too (the official ImageNet train archive is
    /// a tar of one tar per class), their files named `<member without .tar>/<name>`. Links inside
    /// are followed; names that lead out of the archive are left out.
    pub fn open_tar(path: &Path) -> Result<Self> {
        let mut left_out = LeftOut::default();
        let (file, members) = archive::index(path, 0, &mut left_out)?;
        Ok(Self::of_members(path, vec![file], members, left_out))
    }

    /// Indexes several tar files below `root`; the files of each are named
    /// `<its name without .tar>/<name>`.
    pub fn open_tars(root: &Path, paths: &[PathBuf]) -> Result<Self> {
        let mut left_out = LeftOut::default();
        let (mut archives, mut members) = (Vec::new(), Vec::new());
        for path in paths {
            let (file, found) = archive::index(path, archives.len() as u32, &mut left_out)?;
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            members.extend(
                found
                    .into_iter()
                    .map(|(name, span)| (format!("{stem}/{name}"), span)),
            );
            archives.push(file);
        }
        Ok(Self::of_members(root, archives, members, left_out))
    }

    fn of_members(
        root: &Path,
        archives: Vec<File>,
        mut members: Vec<Member>,
        left_out: LeftOut,
    ) -> Self {
        members.sort_by(|a, b| a.0.cmp(&b.0));
        let (names, spans) = members.into_iter().unzip();
        FileTree {
            root: root.to_path_buf(),
            archives,
            names,
            spans,
            left_out,
        }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn len(&self) -> usize {
        self.names.len()
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub fn name(&self, index: usize) -> &str {
        &self.names[index]
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    pub fn find(&self, name: &str) -> Option<usize> {
        self.names.binary_search_by(|n| n.as_str().cmp(name)).ok()
    }

    /// Names that begin with `prefix`, ascending.
    pub fn names_below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        let start = self.names.partition_point(|name| name.as_str() < prefix);
        let names = self.names[start..].iter().map(String::as_str);
        names.take_while(move |name| name.starts_with(prefix))
    }

    /// What is there but is no file of the tree, and why.
    pub fn left_out(&self) -> &LeftOut {
        &self.left_out
    }

    /// Size in bytes; 0 for a file that has vanished since the folder was listed.
    pub fn size(&self, index: usize) -> u64 {
        match self.spans.get(index) {
            Some(span) => span.len,
            None => std::fs::metadata(self.path(index)).map_or(0, |m| m.len()),
        }
    }

    /// A sign of the file's bytes; `None` where the file system could not give one.
    pub fn stamp(&self, index: usize) -> Option<Stamp> {
        match self.spans.get(index) {
            Some(span) => {
                let archive = self.archives[span.archive as usize].metadata().ok()?;
                Stamp::new(&self.root, &archive, &[span.offset, span.len])
            }
            None => {
                let path = self.path(index);
                Stamp::new(&path, &std::fs::metadata(&path).ok()?, &[])
            }
        }
    }

    /// The file's path; for a member of a tar file `ARCHIVE/MEMBER`, for messages.
    pub fn path(&self, index: usize) -> PathBuf {
        self.root.join(&self.names[index])
    }

    pub fn read(&self, index: usize) -> Result<Vec<u8>> {
        let Some(span) = self.spans.get(index) else {
            let path = self.path(index);
            return std::fs::read(&path).map_err(|e| Error::file(&path, e));
        };
        let archive = &self.archives[span.archive as usize];
        let fail = |e| Error::file(self.path(index), e);
        if let Some(extents) = &span.extents {
            return sparse::read(archive, span.offset, span.len, extents).map_err(fail);
        }
        let mut bytes = vec![0; span.len as usize];
        archive
            .read_exact_at(&mut bytes, span.offset)
            .map_err(fail)?;
        Ok(bytes)
    }

    /// The first `most` bytes of a file, or all of a shorter one.
    pub fn read_start(&self, index: usize, most: usize) -> Result<Vec<u8>> {
        let fail = |e| Error::file(self.path(index), e);
        let Some(span) = self.spans.get(index) else {
            let file = File::open(self.path(index)).map_err(fail)?;
            let mut bytes = Vec::with_capacity(most);
            file.take(most as u64)
                .read_to_end(&mut bytes)
                .map_err(fail)?;
            return Ok(bytes);
        };
        if span.extents.is_some() {
            let mut bytes = self.read(index)?;
            bytes.truncate(most);
            return Ok(bytes);
        }
        let mut bytes = vec![0; span.len.min(most as u64) as usize];
        self.archives[span.archive as usize]
            .read_exact_at(&mut bytes, span.offset)
            .map_err(fail)?;
        Ok(bytes)
    }

    /// A small text file without its byte order mark, if it is there.
    pub fn text(&self, name: &str) -> Result<Option<String>> {
        let Some(index) = self.find(name) else {
            return Ok(None);
        };
        crate::files::text::decode(self.read(index)?, &self.path(index)).map(Some)
    }

    /// Whether any file lies in the folder `prefix` (without the closing `/`).
    pub fn has_folder(&self, prefix: &str) -> bool {
        let start = self
            .names
            .partition_point(|n| n.as_str() < format!("{prefix}/").as_str());
        self.names
            .get(start)
            .is_some_and(|n| n.starts_with(prefix) && n[prefix.len()..].starts_with('/'))
    }
}
