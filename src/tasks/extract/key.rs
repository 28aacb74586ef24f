//! What decides features, to the last bit: the key that kept values are found by.

use crate::data::transform::Transform;
use crate::hash::sha256;
use crate::models::Resolved;
use crate::report::{ModelPart, environment};
use crate::runtime::Runtime;
use crate::{Error, Result};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Everything about the tool, the network and the machine that decides its outputs.
pub fn network_key(model: &Resolved, part: &ModelPart, runtime: &Runtime) -> Result<Value> {
    Ok(json!({
        "tool": [env!("CARGO_PKG_VERSION"), environment::GIT_REVISION, environment::LIBTORCH_VERSION],
        "model": part.name,
        "architecture": part.architecture,
        "weights": part.sha256.as_deref().unwrap_or(&part.weights),
        "config": config_sha256(model)?,
        "settings": part.settings,
        "precision": runtime.precision,
        "arithmetic": runtime.arithmetic(),
        "device": environment::device_name(runtime.device),
        // The order of sums depends on it.
        "threads": tch::get_num_threads(),
    }))
}

/// The network's key and how images come to it.
pub fn extraction_key(
    network: Value,
    transform: &Transform,
    batch_size: usize,
    images: &str,
) -> Value {
    json!({
        "network": network,
        "transform": transform.describe(),
        // The order of sums depends on it too.
        "batch_size": batch_size,
        "images": images,
    })
}

/// SHA-256 over all that the network was built from besides its tensors: the configuration that
/// came with them, the files beside them that are read for constants, and what the zoo knows.
pub fn config_sha256(model: &Resolved) -> Result<String> {
    let hints = model.entry.map_or(Value::Null, |entry| (entry.hints)());
    let mut text = json!([model.checkpoint.config, hints]).to_string();
    for path in beside(model) {
        match std::fs::read(&path) {
            Ok(bytes) => text += &sha256(bytes),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => text.push('-'),
            Err(e) => return Err(Error::file(&path, e)),
        }
    }
    Ok(sha256(text))
}

/// Files beside the weights that a network may take constants from, there or not.
fn beside(model: &Resolved) -> Vec<PathBuf> {
    let path = &model.checkpoint.path;
    let folder = match path.is_dir() {
        true => Some(path.as_path()),
        false => path.parent(),
    };
    let constants = folder.map(|folder: &Path| folder.join("preprocessor_config.json"));
    let settings = model.checkpoint.files.iter();
    let settings = settings.map(|file| file.with_extension("toml"));
    constants.into_iter().chain(settings).collect()
}
