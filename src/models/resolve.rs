//! From `--model` and `--weights` to a loaded backbone.

use super::architecture::Architecture;
use super::backbone::Backbone;
use super::options::BuildOptions;
use super::recognise;
use super::zoo::{self, Repository, ZooEntry};
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
    let (entry, checkpoint) = open(spec)?;
    let mut options = options.clone();
    if let Some(entry) = entry {
        options.zoo_hints = (entry.hints)();
    }
    let found = recognise::find(&checkpoint)?;
    let backbone = found.build(&options)?;
    cpu::warn_where_slow(options.device, backbone.info().precision);
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

/// What kind of network that is; nothing is built.
pub fn architecture_of(spec: &ModelSpec) -> Result<&'static dyn Architecture> {
    let (_, checkpoint) = open(spec)?;
    Ok(recognise::find(&checkpoint)?.architecture)
}

/// SHA-256 of the weight files; `None` for random weights. Nothing is built.
pub fn weights_sha256(spec: &ModelSpec) -> Result<Option<String>> {
    open(spec)?.1.sha256()
}

/// The zoo's entry, where a path does not take its name, and the weights.
fn open(spec: &ModelSpec) -> Result<(Option<&'static ZooEntry>, Checkpoint)> {
    let path = Path::new(&spec.model);
    let entry = match zoo::find(&spec.model) {
        Ok(entry)
            if spec.random_weights.is_none() && spec.weights.is_none() && is_weights(path) =>
        {
            tracing::warn!(
                "--model {} is taken as {}, which is here, and not as the zoo's {}; rename it to mean the zoo's",
                spec.model,
                path.display(),
                entry.name
            );
            None
        }
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
        (None, None, Some(entry)) => {
            Checkpoint::open(&locate_in(entry, entry.repository(&spec.model))?)?
        }
    };
    Ok((entry, checkpoint))
}

/// Where the weights of a zoo entry lie on this machine: `$RADIO_EVAL_HOME/weights/<name>` (a
/// folder), else the Hugging Face cache, else the shipped miniature models; else an error with
/// the exact repository, file and command.
pub fn locate(entry: &ZooEntry) -> Result<PathBuf> {
    locate_in(entry, None)
}

/// As [`locate`]; only in `repository`, where the user named one.
pub fn locate_in(entry: &ZooEntry, repository: Option<Repository>) -> Result<PathBuf> {
    let folder = home().join("weights").join(entry.name);
    if repository.is_none() && folder.exists() {
        return Ok(weights_in(&folder, entry.file).unwrap_or(folder));
    }
    if entry.role == "mini" {
        return crate::assets::path(&format!("mini/weights/{}", entry.name));
    }
    let places: Vec<Repository> = match repository {
        Some(repository) => vec![repository],
        None => entry.repositories().collect(),
    };
    if places.is_empty() && !entry.page.is_empty() {
        return Err(Error::model(format!(
            "the weights of {} are not on this machine; get them from {} and name the file with --weights",
            entry.name, entry.page
        )));
    }
    let Some(first) = places.first() else {
        return Err(Error::model(format!(
            "no weights of {} were released; name your own with --weights, or use --random-weights where no accuracy is measured",
            entry.name
        )));
    };
    let cache = HubCache::from_env();
    let snapshot = |place: &Repository| {
        let snapshot = cache.snapshot(RepoKind::Model, place.repo)?;
        weights_in(&snapshot, place.file)
    };
    places.iter().find_map(snapshot).ok_or_else(|| {
        let named = match repository {
            Some(repository) => repository.repo,
            None => entry.name,
        };
        Error::model(format!(
            "the weights of {} are not on this machine\n  looked for: {}, the Hugging Face cache ({})\n  your copy: --weights PATH (a file or a folder)\n  get them: radio-eval fetch {named} ({}/{}), nothing is downloaded unasked",
            entry.name,
            folder.display(),
            places.iter().map(|place| place.repo).collect::<Vec<_>>().join(", "),
            first.repo,
            first.file
        ))
    })
}

/// The file in a folder, whole or in shards.
fn weights_in(folder: &Path, file: &str) -> Option<PathBuf> {
    let whole = folder.join(file);
    let shards = folder.join(format!("{file}.index.json"));
    [whole, shards].into_iter().find(|path| path.is_file())
}

/// A file, or a folder with a file of weights in it. A folder without (the `radio/` of a clone of
/// the official code) takes no zoo name away.
fn is_weights(path: &Path) -> bool {
    const ENDINGS: [&str; 6] = [
        ".safetensors",
        ".bin",
        ".pth",
        ".pt",
        ".pth.tar",
        ".index.json",
    ];
    if path.is_file() {
        return true;
    }
    std::fs::read_dir(path).is_ok_and(|entries| {
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            ENDINGS.iter().any(|ending| name.ends_with(ending))
        })
    })
}
