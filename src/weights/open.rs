//! Opens whatever a `--weights` path names: a file of any format, or a folder.

use super::checkpoint::{Checkpoint, Source};
use super::format::{self, Format};
use super::lazy::Mapping;
use super::{StateDict, folder, pytorch, safetensors};
use crate::{Error, Result};
use serde_json::Value;
use std::path::Path;

pub(super) fn open(path: &Path) -> Result<Checkpoint> {
    if !path.exists() {
        return Err(Error::file(path, "there is no such file or folder"));
    }
    let file = match path.is_dir() {
        true => folder::pick(path)?,
        false => path.to_path_buf(),
    };
    let mut checkpoint = match folder::is_index(&file) {
        true => sharded(&file)?,
        false => single(&file)?,
    };
    if checkpoint.config.is_null() {
        checkpoint.config = folder::config_beside(&file)?;
    }
    checkpoint.path = path.to_path_buf();
    Ok(checkpoint)
}

fn single(path: &Path) -> Result<Checkpoint> {
    let map = Mapping::open(path)?;
    let mut checkpoint = Checkpoint {
        path: path.to_path_buf(),
        files: vec![path.to_path_buf()],
        config: Value::Null,
        source: Source::TorchScript,
        ema: false,
    };
    let saved = match format::recognise(&map)? {
        Format::Safetensors => {
            let (tensors, metadata) = safetensors::parse(&map)?;
            checkpoint.source = Source::File(tensors);
            checkpoint.config = ["config", "args"]
                .iter()
                .find_map(|&key| serde_json::from_str(metadata.get(key)?).ok())
                .filter(Value::is_object)
                .unwrap_or_default();
            return Ok(checkpoint);
        }
        Format::Zip => pytorch::open_zip(&map)?,
        Format::Pickle => Some(pytorch::open_legacy(&map)?),
    };
    if let Some(saved) = saved {
        checkpoint.source = Source::File(saved.tensors);
        checkpoint.config = saved.config;
        checkpoint.ema = saved.ema;
    }
    Ok(checkpoint)
}

/// The shards of an index (`model.safetensors.index.json`), as one state dict.
fn sharded(index: &Path) -> Result<Checkpoint> {
    let (names, shards) = folder::read_index(index)?;
    let mut tensors = StateDict::new();
    for shard in &shards {
        let Source::File(part) = single(shard)?.source else {
            return Err(Error::file(shard, "is a TorchScript program, not a shard"));
        };
        for (name, tensor) in part {
            if tensors.insert(name.clone(), tensor).is_some() {
                return Err(Error::tensor(shard, name, "is in two shards"));
            }
        }
    }
    if let Some(missing) = names.iter().find(|name| !tensors.contains_key(*name)) {
        return Err(Error::tensor(
            index,
            missing,
            "is in the index but in none of the shards; fetch them again",
        ));
    }
    Ok(Checkpoint {
        path: index.to_path_buf(),
        files: shards,
        config: Value::Null,
        source: Source::File(tensors),
        ema: false,
    })
}
