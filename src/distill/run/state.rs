//! Checkpoints: everything that the next step needs, in one file that is whole or not there.

use crate::distill::learner::Learner;
use crate::distill::optimiser::State;
use crate::weights::{StateDict, safetensors};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use tch::{Device, Tensor};

/// Key of the description in a checkpoint's metadata.
const STATE: &str = "state";

/// What a checkpoint says besides its tensors.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Hash of everything that decides the numbers of the run.
    pub identity: String,
    /// Steps done.
    pub step: u64,
    /// Pictures replaced, by position.
    pub skipped: BTreeMap<usize, String>,
    /// Updates of each parameter, where it has had any.
    pub updates: BTreeMap<String, u64>,
    pub ema_updates: u64,
    pub balancing_updates: u64,
    pub balancing_averages: Vec<f64>,
    /// Seconds of training up to here.
    pub seconds: f64,
}

/// Where the checkpoints of a run lie.
pub struct Checkpoints {
    folder: PathBuf,
    keep: usize,
}

impl Checkpoints {
    pub fn new(out: &Path, keep: usize) -> Self {
        Checkpoints {
            folder: out.join("checkpoints"),
            keep,
        }
    }

    /// Files by step, ascending.
    fn list(&self) -> Result<Vec<(u64, PathBuf)>> {
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::file(&self.folder, e)),
        };
        let mut files: Vec<(u64, PathBuf)> = entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let step = name.strip_prefix("step-")?.strip_suffix(".safetensors")?;
                Some((step.parse().ok()?, entry.path()))
            })
            .collect();
        files.sort();
        Ok(files)
    }

    /// The latest one.
    pub fn latest(&self) -> Result<Option<PathBuf>> {
        Ok(self.list()?.pop().map(|(_, path)| path))
    }

    /// Saves the state, and takes away the oldest ones.
    pub fn save(&self, learner: &Learner, progress: &Progress) -> Result<PathBuf> {
        let path = self
            .folder
            .join(format!("step-{:09}.safetensors", progress.step));
        write(&path, learner, progress, Vec::new())?;
        let files = self.list()?;
        let old = files.len().saturating_sub(self.keep.max(1));
        for (_, file) in &files[..old] {
            std::fs::remove_file(file).map_err(|e| Error::file(file, e))?;
        }
        Ok(path)
    }
}

/// Writes the state and `extra` tensors into one file.
pub fn write(
    path: &Path,
    learner: &Learner,
    progress: &Progress,
    extra: Vec<(String, Tensor)>,
) -> Result<()> {
    let mut progress = progress.clone();
    let mut tensors = extra;
    for (place, (name, parameter)) in learner.parameters.iter().enumerate() {
        tensors.push((format!("student.{name}"), parameter.detach()));
        if let Some(state) = &learner.optimiser.states[place] {
            progress.updates.insert(name.clone(), state.step);
            tensors.push((format!("mean.{name}"), state.mean.shallow_clone()));
            tensors.push((format!("square.{name}"), state.square.shallow_clone()));
        }
        if let Some(ema) = &learner.ema {
            progress.ema_updates = ema.updates;
            tensors.push((format!("ema.{name}"), ema.averages[place].shallow_clone()));
        }
    }
    if let Some(trainable) = learner.backbone.trainable() {
        for (name, buffer) in trainable.named_buffers() {
            tensors.push((format!("buffer.{name}"), buffer));
        }
    }
    progress.balancing_updates = learner.balancer.updates;
    progress.balancing_averages = learner.balancer.averages.clone();
    for (_, tensor) in &mut tensors {
        *tensor = tensor.f_to_device(Device::Cpu)?.f_contiguous()?;
    }
    let text = serde_json::to_string(&progress).map_err(|e| Error::file(path, e))?;
    let named = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
    safetensors::write(path, named, HashMap::from([(STATE.to_string(), text)]))
}

/// Takes up the state in `path`; gives what it says and its other tensors.
///
/// # Errors
/// It is of another run (`identity`), damaged, or lacks a tensor.
pub fn restore(
    path: &Path,
    learner: &mut Learner,
    identity: &str,
) -> Result<(Progress, StateDict)> {
    let (stored, metadata) = safetensors::open(path)?;
    let text = metadata
        .get(STATE)
        .ok_or_else(|| Error::file(path, "is no checkpoint of `radio-eval distill`"))?;
    let progress: Progress = serde_json::from_str(text).map_err(|e| Error::file(path, e))?;
    if progress.identity != identity {
        return Err(Error::usage(format!(
            "{} is of a run with another configuration, data, teachers or device; use another --out, or --restart to begin anew",
            path.display()
        )));
    }
    let get = |name: String, like: &Tensor| -> Result<Tensor> {
        let tensor = stored
            .get(&name)
            .ok_or_else(|| Error::tensor(path, &name, "missing"))?;
        if tensor.shape != like.size() {
            let reason = format!("has shape {:?}, not {:?}", tensor.shape, like.size());
            return Err(Error::tensor(path, &name, reason));
        }
        tensor.read(like.device(), like.kind())
    };
    let _no_grad = tch::no_grad_guard();
    for (place, (name, parameter)) in learner.parameters.iter().enumerate() {
        let value = get(format!("student.{name}"), parameter)?;
        parameter.detach().f_copy_(&value)?;
        learner.optimiser.states[place] = match progress.updates.get(name) {
            None => None,
            Some(&step) => Some(State {
                step,
                mean: get(format!("mean.{name}"), parameter)?,
                square: get(format!("square.{name}"), parameter)?,
            }),
        };
        if let Some(ema) = &mut learner.ema {
            ema.averages[place] = get(format!("ema.{name}"), parameter)?;
            ema.updates = progress.ema_updates;
        }
    }
    if let Some(trainable) = learner.backbone.trainable() {
        for (name, mut buffer) in trainable.named_buffers() {
            let value = get(format!("buffer.{name}"), &buffer)?;
            buffer.f_copy_(&value)?;
        }
    }
    learner.balancer.updates = progress.balancing_updates;
    learner.balancer.averages = progress.balancing_averages.clone();
    Ok((progress, stored))
}
