//! A shard in the making and a finished one: `shard-00000.safetensors` with its rows, and
//! `shard-00000.json`, which says what they are and makes it count.

use super::outputs::{Output, Unit};
use super::plan::Item;
use super::statistics::Sums;
use crate::files::write_atomically;
use crate::hash;
use crate::weights::safetensors::{Declared, Writer};
use crate::{Error, Result};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};

/// Where a picture's rows are: a line of the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexEntry {
    /// Name within the data set.
    pub key: String,
    /// File name of the shard.
    pub shard: String,
    /// First row in tensors with a row per view, and how many.
    pub view: i64,
    pub views: i64,
    /// First row in tensors with a row per token (times `rows_per_unit` of the manifest), and how
    /// many: those of all views, one view after the other.
    pub token: i64,
    pub tokens: i64,
    /// Token grid of each view, rows and columns.
    pub grid_h: i64,
    pub grid_w: i64,
    /// Grid of tiles behind the view of the whole, columns and rows; 0 where there are none.
    pub tiles_x: i64,
    pub tiles_y: i64,
    /// Pixels of each view.
    pub view_h: i64,
    pub view_w: i64,
    /// Pixels of the picture as stored.
    pub source_h: i64,
    pub source_w: i64,
    /// SHA-256 of the picture's file.
    pub sha256: String,
}

/// A picture that has no rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    pub key: String,
    pub reason: String,
}

/// What is known of a finished shard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// Of the export it belongs to.
    pub identity: String,
    pub shard: usize,
    pub sha256: String,
    pub bytes: u64,
    pub entries: Vec<IndexEntry>,
    pub left_out: Vec<Left>,
    pub sums: IndexMap<String, Sums>,
}

pub fn file_name(shard: usize) -> String {
    format!("shard-{shard:05}.safetensors")
}

pub fn sidecar_path(folder: &Path, shard: usize) -> PathBuf {
    folder.join(format!("shard-{shard:05}.json"))
}

impl Finished {
    /// The finished shard of this number, if there is one of this export.
    ///
    /// # Errors
    /// One of another export, or a description that cannot be read.
    pub fn find(folder: &Path, shard: usize, identity: &str) -> Result<Option<Self>> {
        let path = sidecar_path(folder, shard);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::file(&path, e)),
        };
        let finished: Finished = serde_json::from_slice(&text).map_err(|e| {
            Error::file(
                &path,
                format!("is no shard's description ({e}); delete it, and the shard is made again"),
            )
        })?;
        if finished.identity != identity {
            return Err(Error::file(
                &path,
                "belongs to another export (other model, settings or pictures); choose another --out, or start over with --restart",
            ));
        }
        let file = folder.join(file_name(shard));
        let there = std::fs::metadata(&file).is_ok_and(|m| m.len() == finished.bytes);
        Ok(there.then_some(finished))
    }
}

/// A shard being filled, in memory until it is whole.
pub struct Filling {
    shard: usize,
    kind: Kind,
    outputs: Vec<Output>,
    parts: Vec<Vec<Tensor>>,
    entries: Vec<(usize, IndexEntry)>,
    left_out: Vec<(usize, Left)>,
    sums: Vec<Sums>,
    views: i64,
    tokens: i64,
}

/// What the loader says about a picture that could be read.
#[derive(Debug, Clone)]
pub struct Picture {
    /// Place in the plan.
    pub at: usize,
    pub item: Item,
    pub key: String,
    pub sha256: String,
}

impl Filling {
    pub fn new(shard: usize, outputs: &[Output], kind: Kind) -> Self {
        Filling {
            shard,
            kind,
            outputs: outputs.to_vec(),
            parts: outputs.iter().map(|_| Vec::new()).collect(),
            entries: Vec::new(),
            left_out: Vec::new(),
            sums: outputs
                .iter()
                .map(|o| Sums::empty(o.channels as usize))
                .collect(),
            views: 0,
            tokens: 0,
        }
    }

    pub fn leave_out(&mut self, at: usize, key: String, reason: String) {
        self.left_out.push((at, Left { key, reason }));
    }

    /// Takes in a batch: tensors [views, (tokens,) channels] in the order of the outputs, for
    /// pictures whose views stand one behind the other.
    pub fn add(&mut self, pictures: &[Picture], made: &[Tensor]) -> Result<()> {
        for ((output, tensor), (parts, sums)) in
            (self.outputs.iter().zip(made)).zip(self.parts.iter_mut().zip(&mut self.sums))
        {
            let rows = tensor
                .f_reshape([-1, output.channels])?
                .f_to_kind(self.kind)?
                .f_contiguous()?;
            // In half precision what was finite may not be any more.
            if rows.f_isfinite()?.f_all()?.f_int64_value(&[])? != 1 {
                return Err(Error::model(format!(
                    "`{}` has values beyond {:?}, among {} and its batch; store --format bf16 or fp32, or use --norm layernorm",
                    output.name,
                    self.kind,
                    pictures.first().map_or("", |p| p.key.as_str())
                )));
            }
            sums.add(&rows)?;
            parts.push(rows);
        }
        for picture in pictures {
            let Item {
                views,
                grid,
                source_size,
                ..
            } = picture.item;
            let (count, tokens) = (views.count() as i64, picture.item.tokens() as i64);
            let entry = IndexEntry {
                key: picture.key.clone(),
                shard: file_name(self.shard),
                view: self.views,
                views: count,
                token: self.tokens,
                tokens,
                grid_h: grid.0,
                grid_w: grid.1,
                tiles_x: views.tiles.0.into(),
                tiles_y: views.tiles.1.into(),
                view_h: views.size.height as i64,
                view_w: views.size.width as i64,
                source_h: source_size.0.into(),
                source_w: source_size.1.into(),
                sha256: picture.sha256.clone(),
            };
            self.entries.push((picture.at, entry));
            self.views += count;
            self.tokens += tokens;
        }
        Ok(())
    }

    /// Writes the shard, and then what makes it count.
    pub fn write(mut self, folder: &Path, identity: &str) -> Result<Finished> {
        let path = folder.join(file_name(self.shard));
        let declared: Vec<Declared> = (self.outputs.iter())
            .map(|output| Declared {
                name: output.name.clone(),
                kind: self.kind,
                shape: vec![
                    match output.unit {
                        Unit::Token => self.tokens * output.rows_per_unit,
                        Unit::View => self.views,
                    },
                    output.channels,
                ],
            })
            .collect();
        let metadata = HashMap::from([("export".to_string(), identity.to_string())]);
        let mut writer = Writer::create(&path, &declared, &metadata)?;
        for parts in &self.parts {
            for part in parts {
                writer.append(part)?;
            }
        }
        writer.commit()?;
        let mut file = File::open(&path).map_err(|e| Error::file(&path, e))?;
        let bytes = file.metadata().map_err(|e| Error::file(&path, e))?.len();
        let sha256 = hash::sha256_of_reader(&path, &mut file)?;
        self.entries.sort_by_key(|(at, _)| *at);
        self.left_out.sort_by_key(|(at, _)| *at);
        let names = self.outputs.iter().map(|o| o.name.clone());
        let finished = Finished {
            identity: identity.to_string(),
            shard: self.shard,
            sha256,
            bytes,
            entries: self.entries.into_iter().map(|(_, entry)| entry).collect(),
            left_out: self.left_out.into_iter().map(|(_, left)| left).collect(),
            sums: names.zip(self.sums).collect(),
        };
        let sidecar = sidecar_path(folder, self.shard);
        let text = serde_json::to_vec(&finished).map_err(|e| Error::file(&sidecar, e))?;
        write_atomically(&sidecar, &text)?;
        Ok(finished)
    }
}
