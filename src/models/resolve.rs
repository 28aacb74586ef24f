//! From `--model` and `--weights` to a loaded backbone.

use super::backbone::Backbone;
use super::options::BuildOptions;
use super::recognise;
use super::zoo::{self, ZooEntry};
use crate::hub::{HubCache, RepoKind};
use crate::runtime::{cpu, home};
use crate::weights::Checkpoint;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// What the user asked for.
#[derive(Debug, Clone, Default)]
pub struct ModelSpec {
    /// A zoo name, a checkpoint file, a weights folder, or a TorchScript file.
    pub model: String,
    pub weights: Option<PathBuf>,
    pub random_weights: Option<u64>,
    /// Tokens of the code (RADIO1D).
    pub tokens: Option<i64>,
}

/// A loaded model and where it came from.
pub struct Resolved {
    /// Zoo name, or the file's stem.
    pub name: String,
    pub entry: Option<&'static ZooEntry>,
    pub checkpoint: Checkpoint,
    pub backbone: Box<dyn Backbone>,
}

/// Finds the weights and builds the network.
pub fn resolve(spec: &ModelSpec, options: &BuildOptions) -> Result<Resolved> {
    let path = Path::new(&spec.model);
    let entry = match zoo::find(&spec.model) {
        Ok(entry) => Some(entry),
        Err(_) if path.exists() => None,
        Err(unknown) => return Err(unknown),
    };
    let checkpoint = match (spec.random_weights, &spec.weights, entry) {
        (Some(seed), _, Some(entry)) => Checkpoint::random((entry.config)(), seed),
        (Some(_), _, None) => {
            return Err(Error::usage(
                "--random-weights needs a zoo name (a file has its own weights)",
            ));
        }
        (None, Some(weights), _) => Checkpoint::open(weights)?,
        (None, None, None) => Checkpoint::open(path)?,
        (None, None, Some(entry)) => Checkpoint::open(&locate(entry)?)?,
    };
    cpu::warn_where_slow(options.device, options.run_kind());
    let mut options = options.clone();
    if spec.tokens.is_some() {
        options.radio1d.tokens = spec.tokens;
    }
    if let Some(entry) = entry {
        options.zoo_hints = (entry.hints)();
    }
    let found = recognise::find(&checkpoint)?;
    let backbone = found.build(&options)?;
    let name = entry.map_or_else(
        || {
            path.file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        },
        |e| e.name.to_string(),
    );
    Ok(Resolved {
        name,
        entry,
        checkpoint: found.checkpoint,
        backbone,
    })
}

/// Where the weights of a zoo entry lie on this machine: `$RADIO_EVAL_HOME/weights/<name>` (a
/// folder), else the Hugging Face cache, else the shipped miniature models; else an error with
/// the exact repository, file and command.
pub fn locate(entry: &ZooEntry) -> Result<PathBuf> {
    let folder = home().join("weights").join(entry.name);
    if folder.exists() {
        return Ok(weights_in(&folder, entry).unwrap_or(folder));
    }
    if entry.role == "mini" {
        return crate::assets::path(&format!("mini/weights/{}", entry.name));
    }
    if entry.repo.is_empty() {
        return Err(Error::model(format!(
            "no weights of {} were released; name your own with --weights, or use --random-weights where no accuracy is measured",
            entry.name
        )));
    }
    HubCache::from_env()
        .snapshot(RepoKind::Model, entry.repo)
        .and_then(|snapshot| weights_in(&snapshot, entry))
        .ok_or_else(|| {
            Error::model(format!(
                "the weights of {} are not on this machine; fetch {}/{} with `radio-eval fetch {}`, or name them with --weights",
                entry.name, entry.repo, entry.file, entry.name
            ))
        })
}

/// The entry's own file in a folder, whole or in shards.
fn weights_in(folder: &Path, entry: &ZooEntry) -> Option<PathBuf> {
    let whole = folder.join(entry.file);
    let shards = folder.join(format!("{}.index.json", entry.file));
    [whole, shards].into_iter().find(|path| path.is_file())
}
