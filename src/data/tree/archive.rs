//! Indexing a tar file: where each member's bytes lie.

use super::LeftOut;
use super::links::{Link, resolve};
use super::sparse::{self, Extent};
use crate::runtime::interrupt;
use crate::{Error, Result};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use tar::EntryType;

/// Where a member lies: which tar file, and which of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    pub archive: u32,
    pub offset: u64,
    /// Size of the file, holes and all.
    pub len: u64,
    /// The parts that are stored from `offset` on, where the rest are holes.
    pub extents: Option<Arc<Vec<Extent>>>,
}

/// A member's name and place.
pub type Member = (String, Span);

/// First bytes of compressed files, and what opens them.
const COMPRESSED: [(&[u8], &str, &str); 5] = [
    (&[0x1f, 0x8b], "gzip", "gunzip"),
    (&[0xfd, b'7', b'z', b'X', b'Z'], "xz", "unxz"),
    (b"BZh", "bzip2", "bunzip2"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "zstd", "unzstd"),
    (b"PK\x03\x04", "zip", "unzip"),
];

/// Opens the `archive`-th tar file of a tree and lists its files, each name once.
pub fn index(path: &Path, archive: u32, left_out: &mut LeftOut) -> Result<(File, Vec<Member>)> {
    let file = File::open(path).map_err(|e| Error::file(path, e))?;
    let len = file.metadata().map_err(|e| Error::file(path, e))?.len();
    let mut magic = [0; 6];
    let read = file.read_at(&mut magic, 0).unwrap_or(0);
    let compressed = COMPRESSED
        .iter()
        .find(|(start, _, _)| magic[..read].starts_with(start));
    if let Some((_, name, command)) = compressed {
        return Err(Error::file(
            path,
            format!(
                "is compressed with {name}; images inside are read at random, so unpack it first ({command})"
            ),
        ));
    }
    let whole = Span {
        archive,
        offset: 0,
        len,
        extents: None,
    };
    let mut listing = Listing {
        path,
        file: &file,
        members: Vec::new(),
        links: Vec::new(),
        left_out,
    };
    listing.list(&whole, "")?;
    let Listing { members, links, .. } = listing;
    let members = last_of_each(members);
    let members = resolve(members, links, left_out);
    Ok((file, members))
}

/// A name that comes again replaces the earlier file, as when tar unpacks. Ascending.
fn last_of_each(mut members: Vec<Member>) -> Vec<Member> {
    members.reverse();
    members.sort_by(|a, b| a.0.cmp(&b.0));
    members.dedup_by(|later, first| later.0 == first.0);
    members
}

struct Listing<'a> {
    path: &'a Path,
    file: &'a File,
    members: Vec<Member>,
    links: Vec<Link>,
    left_out: &'a mut LeftOut,
}

impl Listing<'_> {
    fn damaged(&self, reason: impl std::fmt::Display) -> Error {
        Error::file(self.path, format!("is not a readable tar file ({reason})"))
    }

    fn list(&mut self, span: &Span, prefix: &str) -> Result<()> {
        let mut archive = tar::Archive::new(Section {
            file: self.file,
            span: span.clone(),
            position: 0,
        });
        for entry in archive.entries_with_seek().map_err(|e| self.damaged(e))? {
            interrupt::check()?;
            let mut entry = entry.map_err(|e| self.damaged(e))?;
            let kind = entry.header().entry_type();
            let is_link = kind.is_symlink() || kind.is_hard_link();
            let is_file = kind.is_file() || kind.is_gnu_sparse() || kind == EntryType::Continuous;
            let mut holes = match is_file {
                true => sparse::find(&mut entry, self.file, span).map_err(|e| self.damaged(e))?,
                false => None,
            };
            let stored = match holes.as_mut().and_then(|sparse| sparse.name.take()) {
                Some(name) => PathBuf::from(name),
                None => entry.path().map_err(|e| self.damaged(e))?.into_owned(),
            };
            let shown = stored.to_string_lossy().into_owned();
            if holes.as_ref().is_some_and(sparse::is_too_large) {
                self.left_out
                    .push("sparse members of more than 64 MiB", &shown);
                continue;
            }
            if !is_file && !is_link {
                continue;
            }
            if stored.to_str().is_none() {
                return Err(self.damaged("a member's name is not UTF-8"));
            }
            let Some(inside) = inside(&stored) else {
                self.left_out
                    .push("members whose names lead out of the archive", &shown);
                continue;
            };
            if inside.is_empty() || inside.split('/').any(is_hidden) {
                continue;
            }
            let name = format!("{prefix}{inside}");
            if is_link {
                let target = entry.link_name().map_err(|e| self.damaged(e))?;
                let target = target.unwrap_or_default().to_string_lossy().into_owned();
                self.links.push(Link {
                    name,
                    target,
                    prefix: prefix.to_string(),
                    symbolic: kind.is_symlink(),
                });
                continue;
            }
            let (start, len) = match &holes {
                Some(sparse) => (sparse.start, sparse.size),
                None => (entry.raw_file_position(), entry.size()),
            };
            if holes.is_none() && start.checked_add(len).is_none_or(|end| end > span.len) {
                return Err(self.damaged(format!(
                    "`{name}` reaches past the end: the file is truncated; fetch it again"
                )));
            }
            let member = Span {
                archive: span.archive,
                offset: span.offset + start,
                len,
                extents: holes.map(|sparse| sparse.extents),
            };
            let ending = name.len().saturating_sub(4);
            match name.is_char_boundary(ending) && name[ending..].eq_ignore_ascii_case(".tar") {
                true if prefix.is_empty() && member.extents.is_some() => self
                    .left_out
                    .push("sparse tar files (pack them without tar's --sparse)", &name),
                true if prefix.is_empty() => {
                    self.list(&member, &format!("{}/", &name[..ending]))?
                }
                _ => self.members.push((name, member)),
            }
        }
        Ok(())
    }
}

/// A name relative to the archive's top, without `./` and a leading `/`; `None` where `..` leads
/// anywhere.
fn inside(stored: &Path) -> Option<String> {
    let mut parts = Vec::new();
    for component in stored.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::ParentDir => return None,
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    Some(parts.join("/"))
}

fn is_hidden(part: &str) -> bool {
    part.starts_with('.') || part == "__MACOSX"
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
