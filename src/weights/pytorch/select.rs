//! From the pickled object to tensors by name: which of its dicts are the weights.

use super::{Saved, Storages, flatten};
use crate::weights::StateDict;
use crate::weights::description::Description;
use crate::weights::lazy::{LazyTensor, Mapping};
use crate::weights::pickle::{Id, Node, Pickle, TensorRef};
use crate::{Error, Result};
use std::sync::Arc;

/// Keys that wrap a state dict, the wanted one first: moving averages (RADIO's trainer, timm,
/// ema-pytorch), the teacher of self-distillation, which is one, then the trained weights.
const WRAPPERS: &[&str] = &[
    "state_dict_ema",
    "ema_state_dict",
    "model_ema",
    "ema_model",
    "ema",
    "teacher",
    "state_dict",
    "model_state_dict",
    "model",
    "module",
    "net",
    "network",
    "weights",
    "params",
    "student",
];
/// Keys of the settings beside it.
const CONFIGS: &[&str] = &[
    "args",
    "config",
    "cfg",
    "hyper_parameters",
    "model_args",
    "model_config",
];
/// Dicts around a state dict; real files have one to three.
const MAX_WRAPPERS: usize = 8;

pub(super) fn select(
    map: &Arc<Mapping>,
    pickle: &Pickle,
    storages: &mut dyn Storages,
) -> Result<Saved> {
    let fail = |reason: String| Error::file(map.path(), reason);
    let (dict, path) = main(pickle).map_err(fail)?;
    let mut tensors = StateDict::new();
    for (name, id) in flatten::values(pickle, dict).map_err(fail)? {
        let value = value(map, pickle, id, &name, storages)
            .map_err(|reason| Error::tensor(map.path(), &name, reason))?;
        tensors.insert(name, value);
    }
    // Only what is asked for can fail in the rest: an optimiser's state decides nothing.
    let rest = match path.as_str() {
        "" => Vec::new(),
        _ => flatten::values(pickle, pickle.root()).map_err(fail)?,
    };
    let rest: StateDict = rest
        .into_iter()
        .filter(|(name, _)| !name.starts_with(&path))
        .filter_map(|(name, id)| {
            Some((name.clone(), value(map, pickle, id, &name, storages).ok()?))
        })
        .collect();
    if tensors
        .values()
        .chain(rest.values())
        .all(LazyTensor::is_opaque)
    {
        let opaque = tensors.values().next().and_then(|t| t.read_stored().err());
        return Err(opaque.unwrap_or_else(|| fail(no_weights(pickle))));
    }
    Ok(Saved {
        tensors,
        path,
        rest,
        descriptions: descriptions(pickle).map_err(fail)?,
    })
}

/// The innermost wrapped dict that holds tensors, and the keys that lead there, with dots.
fn main(pickle: &Pickle) -> Result<(Id, String), String> {
    let (mut dict, mut path) = (pickle.root(), String::new());
    for _ in 0..MAX_WRAPPERS {
        let inner = WRAPPERS.iter().find_map(|&wrapper| {
            let id = pickle.get(dict, wrapper)?;
            let holds =
                matches!(pickle.node(id), Node::Dict(_)) && flatten::holds_tensors(pickle, id);
            holds.then_some((wrapper, id))
        });
        let Some((wrapper, id)) = inner else {
            break;
        };
        dict = id;
        path += wrapper;
        path.push('.');
    }
    match pickle.node(dict) {
        Node::Dict(_) | Node::Namespace(_) if flatten::holds_values(pickle, dict) => {
            Ok((dict, path))
        }
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

/// What may describe the model, by its key in the file.
fn descriptions(pickle: &Pickle) -> Result<Vec<Description>, String> {
    let mut found = Vec::new();
    for &key in CONFIGS {
        let Some(id) = pickle.get(pickle.root(), key) else {
            continue;
        };
        if pickle.pairs(id).is_some() {
            found.push(Description {
                place: format!("`{key}` in the file"),
                value: pickle.to_json(id)?,
            });
        }
    }
    Ok(found)
}

/// A named value as a tensor.
fn value(
    map: &Arc<Mapping>,
    pickle: &Pickle,
    id: Id,
    name: &str,
    storages: &mut dyn Storages,
) -> Result<LazyTensor, String> {
    match pickle.node(id) {
        Node::Tensor(tensor) => place(map, name, tensor, storages),
        Node::Opaque(class) | Node::Global(class) => Ok(LazyTensor::opaque(
            map.path(),
            name,
            &format!("a Python object of `{class}`"),
            Vec::new(),
        )),
        Node::OpaqueTensor(what) => Ok(LazyTensor::opaque(
            map.path(),
            name,
            &format!("made by `{what}`"),
            Vec::new(),
        )),
        _ => Err("is no tensor".into()),
    }
}

/// Checks a tensor against its storage, and the storage against the file.
fn place(
    map: &Arc<Mapping>,
    name: &str,
    tensor: &TensorRef,
    storages: &mut dyn Storages,
) -> Result<LazyTensor, String> {
    let storage = &tensor.storage;
    let (Some(kind), Some(width)) = (tensor.element.kind, storage.element.bytes) else {
        let what = format!("of type `{}`", tensor.element.name);
        return Ok(LazyTensor::opaque(
            map.path(),
            name,
            &what,
            tensor.shape.clone(),
        ));
    };
    let range = storages.locate(storage)?;
    let bytes = |elements: usize, size: usize| elements.checked_mul(size);
    let overflow = || "its offset is impossible; the file is damaged: fetch it again".to_string();
    let needed = storage.first.checked_add(storage.numel);
    let needed = needed.and_then(|n| bytes(n, width)).ok_or_else(overflow)?;
    if needed > range.len() {
        return Err(format!(
            "its storage should have {needed} bytes, the file has {} for it; the file is truncated or damaged: fetch it again",
            range.len()
        ));
    }
    let first = bytes(storage.first, width).ok_or_else(overflow)?;
    let offset = bytes(tensor.offset, kind.elt_size_in_bytes()).ok_or_else(overflow)?;
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
        kind,
    )
}
