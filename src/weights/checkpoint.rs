//! What a `--weights` path (or a zoo entry without weights) gives: tensors and a config.

use super::{Description, StateDict, open};
use crate::hash::remembered;
use crate::{Error, Result};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Between the names in an error about a tensor that a file has in several parts.
pub const SEVERAL: &str = "`, `";

/// Where the values come from.
#[derive(Clone)]
pub enum WeightSource {
    /// A file or folder.
    File(StateDict),
    /// A TorchScript program with weights of its own.
    TorchScript,
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
    /// What describes the model, verbatim; `Null` where nothing does. As opened: the first of
    /// `descriptions`.
    pub config: Value,
    /// Everything that may describe the model: pickled `args` and their like, then
    /// `config.json`, `open_clip_config.json` and their like beside the file.
    pub descriptions: Vec<Description>,
    pub source: WeightSource,
    /// The keys of the file that led to the tensors of `source`, with dots (`state_dict.`).
    pub within: String,
    /// The other tensors of the file (another set, an optimiser's state), by their whole path.
    pub rest: Arc<StateDict>,
    /// What was taken off in front of every name in `source`, for errors that name the file's own
    /// tensors.
    pub prefix: String,
    /// The file's own names of tensors in `source` that bear another one.
    pub names: Arc<HashMap<String, String>>,
    /// What was chosen in the file, for the record.
    pub notes: Map<String, Value>,
    /// Whether the tensors are a checkpoint's moving average (`state_dict_ema`), for which
    /// spectral reparametrisation is off (spec/radio.md §2.11).
    pub ema: bool,
}

impl Checkpoint {
    /// Opens a weight file (safetensors, `torch.save` in both containers, TorchScript; told apart
    /// by content) or a folder with weights, sharded or not, and config. Tensors stay in the
    /// mapped file.
    pub fn open(path: &Path) -> Result<Self> {
        open::open(path)
    }

    /// SHA-256 over the weight files ([`remembered::of_files`]); `None` for random weights.
    pub fn sha256(&self) -> Result<Option<String>> {
        match self.files.as_slice() {
            [] => Ok(None),
            files => remembered::of_files(files).map(Some),
        }
    }

    /// Whether this is a TorchScript program, which is run as it is and gives no tensors.
    pub fn is_torchscript(&self) -> bool {
        matches!(self.source, WeightSource::TorchScript)
    }

    /// Weights to be drawn from `seed`, for an architecture described by `config`.
    pub fn random(config: Value, seed: u64) -> Self {
        Checkpoint {
            path: PathBuf::from(format!("random:{seed}")),
            files: Vec::new(),
            config,
            descriptions: Vec::new(),
            source: WeightSource::Random(seed),
            within: String::new(),
            rest: Arc::default(),
            prefix: String::new(),
            names: Arc::default(),
            notes: Map::new(),
            ema: false,
        }
    }

    /// The tensors, or `None` for random weights.
    pub fn tensors(&self) -> Option<&StateDict> {
        match &self.source {
            WeightSource::File(tensors) => Some(tensors),
            WeightSource::Random(_) | WeightSource::TorchScript => None,
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

    /// The file's own name of a tensor of `source`.
    pub fn stored_name(&self, name: &str) -> String {
        match self.names.get(name) {
            Some(stored) => stored.clone(),
            None => format!("{}{name}", self.prefix),
        }
    }

    /// Turns names in an error about tensors of `source` into the file's own.
    pub fn explain(&self, error: Error) -> Error {
        match error {
            Error::Tensor {
                path,
                tensor,
                reason,
            } => {
                let names = tensor.split(SEVERAL).map(|name| self.stored_name(name));
                Error::Tensor {
                    path,
                    tensor: names.collect::<Vec<_>>().join(SEVERAL),
                    reason,
                }
            }
            other => other,
        }
    }

    /// The same checkpoint, whose tensors remember their keys: for a network that is to be saved.
    pub fn with_provenance(&self) -> Self {
        let WeightSource::File(tensors) = &self.source else {
            return self.clone();
        };
        let tensors = tensors.iter();
        let tensors = tensors.map(|(key, tensor)| (key.clone(), tensor.clone().from_key(key)));
        Checkpoint {
            source: WeightSource::File(tensors.collect()),
            ..self.clone()
        }
    }

    /// The same checkpoint with keys renamed by `rename`; `None` drops the tensor.
    pub fn renamed(&self, mut rename: impl FnMut(&str) -> Option<String>) -> Self {
        let source = match &self.source {
            WeightSource::Random(seed) => WeightSource::Random(*seed),
            WeightSource::TorchScript => WeightSource::TorchScript,
            WeightSource::File(tensors) => WeightSource::File(
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
