//! Opens whatever a `--weights` path names: a file of any format, or a folder.

use super::checkpoint::{Checkpoint, WeightSource};
use super::folder::{self, Pick};
use super::format::{self, Format};
use super::lazy::Mapping;
use super::{Description, StateDict, pytorch, safetensors};
use crate::{Error, Result};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) fn open(path: &Path) -> Result<Checkpoint> {
    if !path.exists() {
        return Err(Error::file(path, "there is no such file or folder"));
    }
    if path.extension().is_some_and(|ending| ending == "distcp") {
        return Err(Error::file(path, folder::DISTRIBUTED));
    }
    let pick = match path.is_dir() {
        true => folder::pick(path)?,
        false if folder::is_index(path) => Pick::Index(path.to_path_buf()),
        false => Pick::File(path.to_path_buf()),
    };
    let (mut checkpoint, named) = match pick {
        Pick::File(file) => (single(&file)?, file),
        Pick::Index(index) => {
            let (names, shards) = folder::read_index(&index)?;
            let checkpoint = sharded(&shards)?;
            if let Some(missing) = names.iter().find(|name| !checkpoint.has(name)) {
                return Err(Error::tensor(
                    index,
                    missing,
                    "is in the index but in none of the shards; fetch them again",
                ));
            }
            (checkpoint, index)
        }
        Pick::Shards(shards) => (sharded(&shards)?, shards[0].clone()),
    };
    let beside = folder::descriptions(&named, checkpoint.descriptions.is_empty())?;
    checkpoint.descriptions.extend(beside);
    let first = checkpoint.descriptions.first();
    checkpoint.config = first.map_or(Value::Null, |first| first.value.clone());
    checkpoint.path = path.to_path_buf();
    Ok(checkpoint)
}

/// A checkpoint of `files` before its values are known.
fn empty(files: Vec<PathBuf>) -> Checkpoint {
    Checkpoint {
        path: files.first().cloned().unwrap_or_default(),
        files,
        config: Value::Null,
        descriptions: Vec::new(),
        source: WeightSource::TorchScript,
        within: String::new(),
        rest: Arc::default(),
        prefix: String::new(),
        names: Arc::default(),
        notes: Map::new(),
        ema: false,
    }
}

fn single(path: &Path) -> Result<Checkpoint> {
    let map = Mapping::open(path)?;
    let mut checkpoint = empty(vec![path.to_path_buf()]);
    let saved = match format::recognise(&map)? {
        Format::Safetensors => {
            let (tensors, metadata) = safetensors::parse(&map)?;
            checkpoint.source = WeightSource::File(tensors);
            for key in ["config", "args"] {
                let text = metadata.get(key);
                let value: Option<Value> = text.and_then(|text| serde_json::from_str(text).ok());
                if let Some(value) = value.filter(Value::is_object) {
                    let place = format!("`{key}` in the file");
                    checkpoint.descriptions.push(Description { place, value });
                }
            }
            return Ok(checkpoint);
        }
        Format::Zip => pytorch::open_zip(&map)?,
        Format::Pickle => Some(pytorch::open_legacy(&map)?),
    };
    if let Some(saved) = saved {
        checkpoint.source = WeightSource::File(saved.tensors);
        checkpoint.ema = saved.path.starts_with(SPECTRAL_EMA);
        checkpoint.within = saved.path;
        checkpoint.rest = Arc::new(saved.rest);
        checkpoint.descriptions = saved.descriptions;
    }
    Ok(checkpoint)
}

/// Where RADIO's trainer keeps its moving average.
const SPECTRAL_EMA: &str = "state_dict_ema.";

/// Shards as one state dict.
fn sharded(shards: &[PathBuf]) -> Result<Checkpoint> {
    let mut tensors = StateDict::new();
    for shard in shards {
        let WeightSource::File(part) = single(shard)?.source else {
            return Err(Error::file(shard, "is a TorchScript program, not a shard"));
        };
        for (name, tensor) in part {
            if tensors.insert(name.clone(), tensor).is_some() {
                return Err(Error::tensor(shard, name, "is in two shards"));
            }
        }
    }
    Ok(Checkpoint {
        source: WeightSource::File(tensors),
        ..empty(shards.to_vec())
    })
}
