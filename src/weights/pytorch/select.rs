//! From the pickled object to a state dict: which of its parts are the weights.

use super::{Saved, Storages};
use crate::weights::StateDict;
use crate::weights::lazy::{LazyTensor, Mapping};
use crate::weights::pickle::{Id, Node, Pickle, TensorRef};
use crate::{Error, Result};
use serde_json::Value;
use std::sync::Arc;

/// Keys that wrap a state dict, the wanted one first. RADIO prefers the moving average
/// (spec/radio.md §2.11); DINOv2's training files keep the network to use under `teacher`.
const WRAPPERS: &[&str] = &[
    EMA,
    "state_dict",
    "model_state_dict",
    "model",
    "teacher",
    "module",
    "net",
];
const EMA: &str = "state_dict_ema";
/// Keys of the settings beside it.
const CONFIGS: &[&str] = &["args", "config", "cfg", "hyper_parameters"];

pub(super) fn select(
    map: &Arc<Mapping>,
    pickle: &Pickle,
    storages: &mut dyn Storages,
) -> Result<Saved> {
    let (dict, ema) = find(pickle).map_err(|reason| Error::file(map.path(), reason))?;
    let mut tensors = StateDict::new();
    for &(key, value) in pickle.pairs(dict).unwrap_or_default() {
        let Some(name) = pickle.str(key) else {
            continue;
        };
        match pickle.node(value) {
            Node::Tensor(tensor) => {
                let tensor = place(map, tensor, storages)
                    .map_err(|reason| Error::tensor(map.path(), name, reason))?;
                tensors.insert(name.to_string(), tensor);
            }
            Node::Opaque(class) | Node::Global(class) => {
                return Err(Error::tensor(
                    map.path(),
                    name,
                    format!(
                        "is a Python object of `{class}`, which is never run here; save it as a plain tensor"
                    ),
                ));
            }
            // Versions, step counts and other small facts that state dicts carry.
            _ => {}
        }
    }
    if tensors.is_empty() {
        return Err(Error::file(map.path(), no_weights(pickle)));
    }
    let config = config(pickle).map_err(|reason| Error::file(map.path(), reason))?;
    Ok(Saved {
        tensors,
        config,
        ema,
    })
}

/// The innermost wrapped dict, and whether the way there led through the moving average.
fn find(pickle: &Pickle) -> Result<(Id, bool), String> {
    let (mut dict, mut ema) = (pickle.root(), false);
    // The bound breaks cycles; real files wrap once or twice.
    for _ in 0..4 {
        let inner = WRAPPERS.iter().find_map(|&wrapper| {
            let id = pickle.get(dict, wrapper)?;
            matches!(pickle.node(id), Node::Dict(_)).then_some((wrapper, id))
        });
        match inner {
            Some((wrapper, id)) => {
                dict = id;
                ema |= wrapper == EMA;
            }
            None => break,
        }
    }
    match pickle.node(dict) {
        Node::Dict(_) => Ok((dict, ema)),
        _ => Err(no_weights(pickle)),
    }
}

/// Says what the file holds instead of weights.
fn no_weights(pickle: &Pickle) -> String {
    let held = match pickle.node(pickle.root()) {
        Node::Opaque(class) => format!("it holds a whole object of `{class}`"),
        Node::Dict(pairs) => {
            let keys: Vec<&str> = pairs
                .iter()
                .filter_map(|(k, _)| pickle.str(*k))
                .take(8)
                .collect();
            format!("its keys are: {}", keys.join(", "))
        }
        _ => "it holds neither a dict nor tensors".to_string(),
    };
    format!(
        "holds no state dict ({held}); save `model.state_dict()` with torch.save or safetensors"
    )
}

fn config(pickle: &Pickle) -> Result<Value, String> {
    let found = CONFIGS
        .iter()
        .find_map(|&key| pickle.get(pickle.root(), key));
    match found.filter(|&id| pickle.pairs(id).is_some()) {
        Some(id) => pickle.to_json(id),
        None => Ok(Value::Null),
    }
}

/// Checks a tensor against its storage, and the storage against the file.
fn place(
    map: &Arc<Mapping>,
    tensor: &TensorRef,
    storages: &mut dyn Storages,
) -> Result<LazyTensor, String> {
    let storage = &tensor.storage;
    let range = storages.locate(storage)?;
    let bytes = |elements: usize, size: usize| elements.checked_mul(size);
    let overflow = || "its offset is impossible; the file is damaged: fetch it again".to_string();
    let width = storage.kind.elt_size_in_bytes();
    let needed = storage.first.checked_add(storage.numel);
    let needed = needed.and_then(|n| bytes(n, width)).ok_or_else(overflow)?;
    if needed > range.len() {
        return Err(format!(
            "its storage should have {needed} bytes, the file has {} for it; the file is truncated or damaged: fetch it again",
            range.len()
        ));
    }
    let first = bytes(storage.first, width).ok_or_else(overflow)?;
    let offset = bytes(tensor.offset, tensor.kind.elt_size_in_bytes()).ok_or_else(overflow)?;
    let start = range
        .start
        .checked_add(first)
        .and_then(|s| s.checked_add(offset));
    let end = range.start.checked_add(needed).ok_or_else(overflow)?;
    LazyTensor::mapped_within(
        map.clone(),
        start.ok_or_else(overflow)?..end,
        tensor.shape.clone(),
        tensor.strides.clone(),
        tensor.kind,
    )
}
