//! What a `--weights` path (or a zoo entry without weights) gives: tensors and a config.

use super::{StateDict, safetensors};
use crate::{Error, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Where the values come from.
#[derive(Clone)]
pub enum Source {
    /// A file or folder.
    File(StateDict),
    /// `--random-weights SEED`: every parameter drawn at load, none read.
    Random(u64),
}

/// A set of weights with what is known about their architecture.
#[derive(Clone)]
pub struct Checkpoint {
    /// The file or folder; for random weights `random:SEED`.
    pub path: PathBuf,
    /// Every file read, for the SHA-256 in the record. Empty for random weights.
    pub files: Vec<PathBuf>,
    /// `config.json`, `open_clip_config.json`, args JSON or the pickled `args`, verbatim; `Null`
    /// where there is none.
    pub config: Value,
    pub source: Source,
}

impl Checkpoint {
    /// Opens a weight file or a folder with weights and config.
    pub fn open(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return Err(Error::file(path, "weight folders: to be built"));
        }
        let (tensors, _) = safetensors::open(path)?;
        Ok(Checkpoint {
            path: path.to_path_buf(),
            files: vec![path.to_path_buf()],
            config: Value::Null,
            source: Source::File(tensors),
        })
    }

    /// Weights to be drawn from `seed`, for an architecture described by `config`.
    pub fn random(config: Value, seed: u64) -> Self {
        Checkpoint {
            path: PathBuf::from(format!("random:{seed}")),
            files: Vec::new(),
            config,
            source: Source::Random(seed),
        }
    }

    /// The tensors, or `None` for random weights.
    pub fn tensors(&self) -> Option<&StateDict> {
        match &self.source {
            Source::File(tensors) => Some(tensors),
            Source::Random(_) => None,
        }
    }

    /// Whether a tensor of that name is in the file (never for random weights).
    pub fn has(&self, name: &str) -> bool {
        self.tensors().is_some_and(|t| t.contains_key(name))
    }

    /// The shape of a tensor in the file.
    pub fn shape(&self, name: &str) -> Option<&[i64]> {
        self.tensors()?.get(name).map(|t| t.shape.as_slice())
    }

    /// How many consecutive `PREFIX{i}SUFFIX` exist, from i = 0: the depth of a network.
    pub fn count(&self, prefix: &str, suffix: &str) -> usize {
        (0..)
            .take_while(|i| self.has(&format!("{prefix}{i}{suffix}")))
            .count()
    }

    /// The same checkpoint with keys renamed by `rename`; `None` drops the tensor.
    pub fn renamed(&self, mut rename: impl FnMut(&str) -> Option<String>) -> Self {
        let source = match &self.source {
            Source::Random(seed) => Source::Random(*seed),
            Source::File(tensors) => Source::File(
                tensors
                    .iter()
                    .filter_map(|(name, tensor)| Some((rename(name)?, tensor.clone())))
                    .collect(),
            ),
        };
        Checkpoint {
            source,
            ..self.clone()
        }
    }
}
