//! A tree of named files: a folder, or a tar file indexed once and read at random.

use super::content::Stamp;
use crate::runtime::interrupt;
use crate::{Error, Result};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// Files below a folder or inside a tar file, by name, in ascending order of their names whatever
/// the order on disk. Names use `/` and are relative to the root. Shared by worker threads.
pub struct FileTree {
    root: PathBuf,
    /// `None` for a folder.
    archive: Option<File>,
    names: Vec<String>,
    /// Parallel to `names`; empty for a folder.
    spans: Vec<Span>,
}

/// Where a member of a tar file lies, in bytes.
#[derive(Clone, Copy)]
struct Span {
    offset: u64,
    len: u64,
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

    /// Opens the parts `below` of a folder (`""` is all of it); hidden files are left out and
    /// links are followed.
    pub fn open_folder(root: &Path, below: &[&str]) -> Result<Self> {
        let mut names = Vec::new();
        for part in below {
            for entry in WalkDir::new(root.join(part))
                .follow_links(true)
                .min_depth(1)
                .into_iter()
                .filter_entry(|e| !e.file_name().as_encoded_bytes().starts_with(b"."))
            {
                interrupt::check()?;
                let entry = entry.map_err(|e| {
                    Error::file(e.path().unwrap_or(root), format!("cannot be listed: {e}"))
                })?;
                if !entry.file_type().is_file() {
                    continue;
                }
                let relative = entry.path().strip_prefix(root).unwrap_or(entry.path());
                let name = relative.to_str().ok_or_else(|| {
                    Error::file(entry.path(), "the file's name is not UTF-8; rename it")
                })?;
                names.push(name.to_string());
            }
        }
        names.sort_unstable();
        names.dedup();
        Ok(FileTree {
            root: root.to_path_buf(),
            archive: None,
            names,
            spans: Vec::new(),
        })
    }

    /// Indexes a tar file; `.tar` members are opened too (the official ImageNet train archive is
    /// a tar of one tar per class), their files named `<member without .tar>/<name>`.
    pub fn open_tar(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::file(path, e))?;
        let len = file.metadata().map_err(|e| Error::file(path, e))?.len();
        let mut magic = [0; 2];
        if file.read_at(&mut magic, 0).is_ok_and(|n| n == 2) && magic == [0x1f, 0x8b] {
            return Err(Error::file(
                path,
                "is compressed with gzip; images inside are read at random, so unpack it to a plain .tar first (gunzip)",
            ));
        }
        let mut members = Vec::new();
        index_tar(path, &file, Span { offset: 0, len }, "", &mut members)?;
        // A name that comes again replaces the earlier file, as when tar unpacks.
        members.reverse();
        members.sort_by(|a, b| a.0.cmp(&b.0));
        members.dedup_by(|later, first| later.0 == first.0);
        let (names, spans) = members.into_iter().unzip();
        Ok(FileTree {
            root: path.to_path_buf(),
            archive: Some(file),
            names,
            spans,
        })
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

    /// Size in bytes; 0 for a file that has vanished since the folder was listed.
    pub fn size(&self, index: usize) -> u64 {
        match self.archive {
            Some(_) => self.spans[index].len,
            None => std::fs::metadata(self.path(index)).map_or(0, |m| m.len()),
        }
    }

    /// A sign of the file's bytes; `None` where the file system could not give one.
    pub fn stamp(&self, index: usize) -> Option<Stamp> {
        match &self.archive {
            Some(archive) => {
                let Span { offset, len } = self.spans[index];
                Stamp::new(&self.root, &archive.metadata().ok()?, &[offset, len])
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
        let Some(archive) = &self.archive else {
            let path = self.path(index);
            return std::fs::read(&path).map_err(|e| Error::file(&path, e));
        };
        let span = self.spans[index];
        let mut bytes = vec![0; span.len as usize];
        archive
            .read_exact_at(&mut bytes, span.offset)
            .map_err(|e| Error::file(self.path(index), e))?;
        Ok(bytes)
    }

    /// A small text file, if it is there.
    pub fn text(&self, name: &str) -> Result<Option<String>> {
        let Some(index) = self.find(name) else {
            return Ok(None);
        };
        let bytes = self.read(index)?;
        String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| Error::file(self.path(index), "is not UTF-8 text"))
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

fn index_tar(
    path: &Path,
    file: &File,
    span: Span,
    prefix: &str,
    members: &mut Vec<(String, Span)>,
) -> Result<()> {
    let damaged = |reason: &dyn std::fmt::Display| {
        Error::file(path, format!("is not a readable tar file ({reason})"))
    };
    let mut archive = tar::Archive::new(Section {
        file,
        span,
        position: 0,
    });
    for entry in archive.entries_with_seek().map_err(|e| damaged(&e))? {
        interrupt::check()?;
        let entry = entry.map_err(|e| damaged(&e))?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = entry.path().map_err(|e| damaged(&e))?;
        let name = name
            .to_str()
            .ok_or_else(|| damaged(&"a member's name is not UTF-8"))?;
        let name = name.trim_start_matches("./");
        if name.split('/').any(|part| part.starts_with('.')) {
            continue;
        }
        let name = format!("{prefix}{name}");
        let (start, len) = (entry.raw_file_position(), entry.size());
        if start.checked_add(len).is_none_or(|end| end > span.len) {
            return Err(damaged(&format!(
                "`{name}` reaches past the end: the file is truncated; fetch it again"
            )));
        }
        let member = Span {
            offset: span.offset + start,
            len,
        };
        match name.strip_suffix(".tar") {
            Some(stem) if prefix.is_empty() => {
                index_tar(path, file, member, &format!("{stem}/"), members)?;
            }
            _ => members.push((name, member)),
        }
    }
    Ok(())
}

/// A part of a file, for indexing a tar inside a tar.
struct Section<'a> {
    file: &'a File,
    span: Span,
    position: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = self.span.len.saturating_sub(self.position);
        let want = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = self
            .file
            .read_at(&mut buffer[..want], self.span.offset + self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for Section<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let target = match to {
            SeekFrom::Start(n) => Some(n),
            SeekFrom::End(n) => self.span.len.checked_add_signed(n),
            SeekFrom::Current(n) => self.position.checked_add_signed(n),
        };
        self.position = target.ok_or(std::io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
