//! Several processes fill a store, each a part of its own; they are read as one.

use super::header::{Header, Unusable};
use super::lock::try_lock;
use super::reader::{Reader, StorePart, check_lengths};
use super::store_error;
use crate::Result;
use serde_json::Value;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Which of how many processes this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    pub rank: usize,
    pub world: usize,
}

impl Share {
    /// The only process.
    pub const ALL: Share = Share { rank: 0, world: 1 };

    /// The images of this process, of `total`: consecutive ones, cut between batches of
    /// `batch_size`, so that every batch (and with it every value) is the one that a single
    /// process has.
    pub fn range(self, total: usize, batch_size: usize) -> Range<usize> {
        let batch_size = batch_size.max(1);
        let batches = total.div_ceil(batch_size);
        let cut = |rank: usize| (batches * rank / self.world * batch_size).min(total);
        cut(self.rank)..cut(self.rank + 1)
    }
}

/// Folder of one process's part.
pub fn part_folder(store: &Path, share: Share) -> PathBuf {
    store.join(format!("part-{}-of-{}", share.rank, share.world))
}

/// Folders of the parts of a store, and the images of each, in the order of ranks, if some number
/// of processes has completed it: `total` images of `key`.
pub fn complete_parts(
    store: &Path,
    key: &Value,
    total: usize,
) -> Result<Option<Vec<(PathBuf, usize)>>> {
    for world in worlds(store)? {
        let parts: Option<Vec<(PathBuf, usize)>> = (0..world)
            .map(|rank| {
                let folder = part_folder(store, Share { rank, world });
                let header = Header::read(&folder).ok()?;
                let usable = header.is_complete() && header.key == *key;
                usable.then_some((folder, header.total))
            })
            .collect();
        let Some(parts) = parts else { continue };
        if parts.iter().map(|(_, images)| images).sum::<usize>() == total {
            return Ok(Some(parts));
        }
    }
    Ok(None)
}

/// The store in folder `store`, if it is complete.
pub fn complete(store: &Path, key: &Value, total: usize) -> Result<Option<Reader>> {
    let Some(parts) = complete_parts(store, key, total)? else {
        return Ok(None);
    };
    let parts: Option<Vec<StorePart>> = parts
        .iter()
        .map(|(folder, _)| StorePart::complete(folder, key).transpose())
        .collect::<Option<Result<_>>>()
        .transpose()?;
    Ok(parts.map(Reader::new))
}

/// The stores in `shelf`, a folder that is made where there is none, in order of name.
pub fn folders(shelf: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::create_dir_all(shelf)
        .and_then(|()| std::fs::read_dir(shelf))
        .map_err(|e| store_error(shelf, e))?;
    let mut folders: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    Ok(folders)
}

/// Folders of the parts of a store, whatever their state.
pub fn parts(store: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(store).into_iter().flatten();
    let mut parts: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir())
        .collect();
    parts.sort();
    parts
}

/// The header of the part in `folder`; `None` where there is none of this version, an error where
/// the part is damaged.
pub fn examine(folder: &Path) -> Result<Option<Header>, String> {
    match Header::read(folder) {
        Ok(header) => check_lengths(folder, &header).map(|()| Some(header)),
        Err(Unusable::Damaged(reason)) => Err(reason),
        Err(Unusable::Absent | Unusable::Other) => Ok(None),
    }
}

/// Removes a store; `false` where another process is using a part of it.
pub fn remove(store: &Path) -> Result<bool> {
    let parts = parts(store);
    let mut locks = Vec::with_capacity(parts.len());
    for part in &parts {
        match try_lock(part)? {
            Some(lock) => locks.push(lock),
            None => return Ok(false),
        }
    }
    for part in &parts {
        // The header first, so that a crash leaves none that counts rows which are gone.
        let header = Header::path(part);
        match std::fs::remove_file(&header) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(store_error(&header, e));
            }
            _ => {}
        }
    }
    std::fs::remove_dir_all(store).map_err(|e| store_error(store, e))?;
    Ok(true)
}

/// What the store in folder `store` is of, by the first of its parts that says so.
pub fn key(store: &Path) -> Option<Value> {
    let parts = std::fs::read_dir(store).ok()?;
    parts
        .filter_map(|entry| Header::read(&entry.ok()?.path()).ok())
        .map(|header| header.key)
        .next()
}

/// The numbers of processes that have written here, in ascending order.
fn worlds(store: &Path) -> Result<Vec<usize>> {
    let entries = match std::fs::read_dir(store) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(store_error(store, e)),
    };
    let mut worlds: Vec<usize> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            let (_, world) = name.to_str()?.strip_prefix("part-")?.split_once("-of-")?;
            world.parse().ok()
        })
        .collect();
    worlds.sort_unstable();
    worlds.dedup();
    Ok(worlds)
}
