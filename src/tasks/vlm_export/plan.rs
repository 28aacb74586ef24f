//! What goes where, settled before the first picture is decoded: views, token counts, shards and
//! batches. Every rank, and every run that goes on after a stop, makes the same plan, so that a
//! shard's bytes do not depend on who writes it and when.

use super::batches::no_thread;
use super::framing::{Framing, ViewSize, Views};
use crate::data::Source;
use crate::data::pipeline::ordered;
use crate::data::source::size_of;
use crate::hash;
use crate::runtime::interrupt;
use crate::{Error, Result};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// One picture to export.
#[derive(Debug, Clone, Copy)]
pub struct Item {
    /// Index in the source.
    pub picture: usize,
    /// (height, width) by the header; (0, 0) where it was not needed.
    pub source_size: (u32, u32),
    pub views: Views,
    /// Token grid of each view.
    pub grid: (i64, i64),
}

impl Item {
    /// Tokens of all views.
    pub fn tokens(&self) -> u64 {
        self.views.count() as u64 * (self.grid.0 * self.grid.1) as u64
    }
}

/// A picture whose header could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    pub picture: usize,
    pub key: String,
    pub reason: String,
}

/// Pictures with their views, in order, cut into shards.
pub struct Plan {
    pub items: Vec<Item>,
    pub unreadable: Vec<Unreadable>,
    /// Items of each shard.
    pub shards: Vec<Range<usize>>,
    /// Hash of keys, sizes and views: two plans with one digest are one plan.
    pub digest: String,
}

/// How many bytes a picture takes in a shard.
#[derive(Debug, Clone, Copy)]
pub struct Weight {
    /// Bytes per token, over all spatial outputs.
    pub token: u64,
    /// Bytes per view, over all summaries.
    pub view: u64,
}

impl Weight {
    pub fn bytes(&self, item: &Item) -> u64 {
        item.tokens() * self.token + item.views.count() as u64 * self.view
    }
}

/// The views of every picture of `source`; headers are read by `workers` threads, and only where
/// views depend on the picture's size.
pub fn items(
    source: &Arc<dyn Source>,
    framing: &Framing,
    grid_of: impl Fn(ViewSize) -> Result<(i64, i64)>,
    workers: usize,
) -> Result<(Vec<Item>, Vec<Unreadable>)> {
    let mut grids: HashMap<ViewSize, (i64, i64)> = HashMap::new();
    let (mut items, mut unreadable) = (Vec::with_capacity(source.len()), Vec::new());
    let mut push = |picture: usize, size: (u32, u32)| -> Result<()> {
        let views = framing.views(size.0 as usize, size.1 as usize);
        let grid = match grids.get(&views.size) {
            Some(&grid) => grid,
            None => {
                let grid = grid_of(views.size)?;
                grids.insert(views.size, grid);
                grid
            }
        };
        items.push(Item {
            picture,
            source_size: size,
            views,
            grid,
        });
        Ok(())
    };
    if framing.is_fixed() {
        for picture in 0..source.len() {
            push(picture, (0, 0))?;
        }
        return Ok((items, unreadable));
    }
    let shared = source.clone();
    let sizes = ordered(0..source.len(), workers, 64 * workers, move |picture| {
        size_of(shared.as_ref(), picture)
            .map_err(|e| e.to_string())?
            .ok_or_else(|| "its header is not that of a readable picture".to_string())
    })
    .map_err(no_thread)?;
    for (picture, size) in sizes.enumerate() {
        interrupt::check()?;
        let size = size.map_err(|panic| {
            Error::file(
                source.key(picture),
                format!("its header could not be read: {}", panic.0),
            )
        })?;
        match size {
            Ok((width, height)) => push(picture, (height as u32, width as u32))?,
            Err(reason) => unreadable.push(Unreadable {
                picture,
                key: source.key(picture).to_string(),
                reason,
            }),
        }
    }
    Ok((items, unreadable))
}

impl Plan {
    /// Cuts `items` into shards of at most `shard_bytes`, each of at least one picture.
    pub fn new(
        source: &dyn Source,
        items: Vec<Item>,
        unreadable: Vec<Unreadable>,
        weight: Weight,
        shard_bytes: u64,
    ) -> Self {
        let mut shards = Vec::new();
        let (mut start, mut bytes) = (0, 0);
        let mut digest = Sha256::new();
        for (at, item) in items.iter().enumerate() {
            let more = weight.bytes(item);
            if at > start && bytes + more > shard_bytes {
                shards.push(start..at);
                (start, bytes) = (at, 0);
            }
            bytes += more;
            digest.update(source.key(item.picture).as_bytes());
            digest.update(source.size(item.picture).to_le_bytes());
            digest.update(format!("{:?}{:?}\n", item.views, item.grid));
        }
        if start < items.len() {
            shards.push(start..items.len());
        }
        Plan {
            items,
            unreadable,
            shards,
            digest: hash::hex(&digest.finalize()),
        }
    }

    /// The items of a shard in batches of views of one size, at most `views` in each (but at least
    /// one picture): sizes in the order in which they first appear.
    pub fn batches(&self, shard: usize, views: usize) -> Vec<Vec<usize>> {
        let mut open: Vec<(ViewSize, Vec<usize>, usize)> = Vec::new();
        let mut batches: Vec<(usize, Vec<usize>)> = Vec::new();
        for at in self.shards[shard].clone() {
            let item = &self.items[at];
            let place = match open.iter().position(|(size, ..)| *size == item.views.size) {
                Some(place) => place,
                None => {
                    open.push((item.views.size, Vec::new(), 0));
                    open.len() - 1
                }
            };
            let (_, members, count) = &mut open[place];
            if !members.is_empty() && *count + item.views.count() > views {
                batches.push((members[0], std::mem::take(members)));
                *count = 0;
            }
            members.push(at);
            *count += item.views.count();
        }
        let rest = open
            .into_iter()
            .filter(|(_, members, _)| !members.is_empty());
        batches.extend(rest.map(|(_, members, _)| (members[0], members)));
        batches.sort_by_key(|(first, _)| *first);
        batches.into_iter().map(|(_, members)| members).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(picture: usize, width: usize) -> Item {
        Item {
            picture,
            source_size: (16, width as u32),
            views: Views {
                size: ViewSize { height: 16, width },
                tiles: (0, 0),
            },
            grid: (1, width as i64 / 16),
        }
    }

    /// Pictures that are named alike and never read.
    struct Named;

    impl Source for Named {
        fn describe(&self) -> String {
            "named".into()
        }

        fn len(&self) -> usize {
            6
        }

        fn key(&self, _index: usize) -> &str {
            "picture"
        }

        fn read(&self, _index: usize) -> Result<Vec<u8>> {
            Err(Error::model("there is nothing to read"))
        }

        fn size(&self, _index: usize) -> u64 {
            1
        }
    }

    #[test]
    fn shards_and_batches() {
        let widths = [16, 32, 16, 16, 32, 16];
        let items: Vec<Item> = (0..6).map(|i| item(i, widths[i])).collect();
        let weight = Weight { token: 10, view: 1 };
        let plan = Plan::new(&Named, items, Vec::new(), weight, 55);
        assert_eq!(plan.shards, [0..4, 4..6]);
        assert_eq!(plan.batches(0, 2), [vec![0, 2], vec![1], vec![3]]);
        assert_eq!(plan.batches(1, 2), [vec![4], vec![5]]);
    }
}
