//! What an export is and holds: `export.json` from its start, `manifest.json` and the index
//! (`index.jsonl`, `index.parquet`) once every shard is there.

use super::outputs::{Output, Wanted};
use super::shard::{Finished, IndexEntry, Left, file_name};
use super::statistics::{Statistics, Sums};
use crate::data::pictures::Counts;
use crate::files::{AtomicFile, text, write_atomically};
use crate::hash;
use crate::report::ModelPart;
use crate::{Error, Result};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::Write;
use std::path::Path;

/// Raised whenever a field changes its meaning.
const SCHEMA_VERSION: u32 = 1;

/// Everything that decides what an export holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Export {
    pub schema_version: u32,
    /// Version and revision of radio-eval, version of libtorch.
    pub tool: [String; 3],
    pub model: ModelPart,
    pub precision: String,
    pub device: String,
    pub threads: usize,
    pub batch_size: usize,
    pub dataset: String,
    pub pictures: Counts,
    /// How pictures are brought to the network.
    pub framing: Value,
    pub wanted: Wanted,
    /// fp32, fp16 or bf16.
    pub format: String,
    pub outputs: Vec<Output>,
    pub prefix_tokens_left_out: i64,
    pub shards: usize,
    pub shard_bytes: u64,
    /// Hash of the pictures' names, sizes and views in order.
    pub plan: String,
    /// Pictures whose header could not be read.
    pub unreadable: Vec<Left>,
}

/// A shard in the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardPart {
    pub file: String,
    pub sha256: String,
    pub bytes: u64,
    pub pictures: usize,
    pub tokens: i64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    #[serde(flatten)]
    pub export: Export,
    pub identity: String,
    pub exported: usize,
    pub tokens: i64,
    pub tokens_per_picture: f64,
    pub left_out: Vec<Left>,
    pub shard_files: Vec<ShardPart>,
    pub statistics: IndexMap<String, Option<Statistics>>,
}

impl Export {
    pub const SCHEMA: u32 = SCHEMA_VERSION;

    /// One hash for all of it: shards of one identity belong together.
    pub fn identity(&self) -> Result<String> {
        let text = serde_json::to_vec(self).map_err(Error::model)?;
        Ok(hash::sha256(text))
    }

    pub fn write(&self, folder: &Path) -> Result<()> {
        write_json(&folder.join("export.json"), self)
    }

    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("export.json");
        let text = std::fs::read(&path)
            .map_err(|e| Error::file(&path, format!("{e}; is this the folder of an export?")))?;
        serde_json::from_slice(&text)
            .map_err(|e| Error::file(&path, format!("describes no export: {e}")))
    }
}

impl Manifest {
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("manifest.json");
        let text = std::fs::read(&path).map_err(|e| {
            Error::file(
                &path,
                format!("{e}; the export is not finished: run the same command again, or vlm-export merge"),
            )
        })?;
        serde_json::from_slice(&text)
            .map_err(|e| Error::file(&path, format!("is no manifest of an export: {e}")))
    }
}

/// Writes index and manifest where every shard is there; else tells the shards that are not.
pub fn finish(folder: &Path, export: &Export) -> Result<Result<Manifest, Vec<usize>>> {
    let identity = export.identity()?;
    let (mut missing, mut shards) = (Vec::new(), Vec::new());
    let mut sums: IndexMap<String, Sums> = IndexMap::new();
    let (mut tokens, mut exported, mut left_out) = (0, 0, export.unreadable.clone());
    // Twice over the descriptions rather than all entries of millions of pictures at once.
    for shard in 0..export.shards {
        let Some(finished) = Finished::find(folder, shard, &identity)? else {
            missing.push(shard);
            continue;
        };
        let of_shard: i64 = finished.entries.iter().map(|e| e.tokens).sum();
        shards.push(ShardPart {
            file: file_name(shard),
            sha256: finished.sha256,
            bytes: finished.bytes,
            pictures: finished.entries.len(),
            tokens: of_shard,
        });
        tokens += of_shard;
        exported += finished.entries.len();
        left_out.extend(finished.left_out);
        for (name, more) in finished.sums {
            match sums.get_mut(&name) {
                Some(sum) => sum.merge(more),
                None => {
                    sums.insert(name, more);
                }
            }
        }
    }
    if !missing.is_empty() {
        return Ok(Err(missing));
    }
    write_index(folder, export, &identity)?;
    let manifest = Manifest {
        export: export.clone(),
        identity,
        exported,
        tokens,
        tokens_per_picture: tokens as f64 / exported.max(1) as f64,
        left_out,
        shard_files: shards,
        statistics: (sums.iter())
            .map(|(name, sum)| (name.clone(), sum.statistics()))
            .collect(),
    };
    write_json(&folder.join("manifest.json"), &manifest)?;
    Ok(Ok(manifest))
}

fn write_index(folder: &Path, export: &Export, identity: &str) -> Result<()> {
    let path = folder.join("index.jsonl");
    let mut lines = AtomicFile::create(&path)?;
    let mut table = super::index_parquet::Index::create(&folder.join("index.parquet"))?;
    for shard in 0..export.shards {
        let Some(finished) = Finished::find(folder, shard, identity)? else {
            return Err(Error::file(
                folder,
                "a shard vanished while the index was made",
            ));
        };
        for entry in &finished.entries {
            let mut line = serde_json::to_vec(entry).map_err(|e| Error::file(&path, e))?;
            line.push(b'\n');
            lines.write_all(&line).map_err(|e| lines.error(e))?;
        }
        table.append(&finished.entries)?;
    }
    lines.commit()?;
    table.commit()
}

/// The lines of an index.
pub fn read_index(folder: &Path) -> Result<Vec<IndexEntry>> {
    let path = folder.join("index.jsonl");
    let text = text::read(&path)?;
    (text.lines().enumerate())
        .map(|(number, line)| {
            serde_json::from_str(line)
                .map_err(|e| Error::file(&path, format!("line {}: {e}", number + 1)))
        })
        .collect()
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|e| Error::file(path, e))?;
    text.push(b'\n');
    write_atomically(path, &text)
}
