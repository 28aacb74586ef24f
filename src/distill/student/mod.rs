//! The student before its first step: arguments as its checkpoint will carry them, and tensors
//! under the names of upstream's own checkpoints (`base_model.*`, `_heads.*`,
//! `_feature_projections.*`).

mod card;
pub mod export;
mod init;
mod spectral;
mod start;

use super::config::StudentConfig;
use super::teacher::Teacher;
use crate::models::architecture::build;
use crate::models::eradio::{Config as ERadioConfig, REGISTERED};
use crate::models::radio::vitdet::VitDet;
use crate::models::{Backbone, BuildOptions, Purpose, zoo};
use crate::weights::{Checkpoint, LazyTensor, StateDict, WeightSource};
use crate::{Error, Result};
use indexmap::IndexMap;
use serde_json::{Map, Value, json};
use std::sync::Mutex;
use tch::{Device, Tensor};

/// Side of the picture that a position map covers, unless told (upstream's releases: 2048).
const CPE_MAX_SIZE: i64 = 2048;
/// Upstream's releases since v2.5.
const REGISTER_MULTIPLE: i64 = 8;

/// A student, built for training.
pub struct Student {
    /// Upstream's training arguments.
    pub args: Value,
    pub backbone: Box<dyn Backbone>,
}

impl Student {
    /// Builds it on `device`, from a checkpoint or from weights drawn from `seed`, with a pair of
    /// heads for each teacher.
    pub fn new(
        config: &StudentConfig,
        teachers: &[Teacher],
        seed: u64,
        device: Device,
    ) -> Result<Self> {
        let args = args(config, teachers)?;
        let mut tensors = trunk(&args, seed)?;
        for teacher in teachers {
            init::heads(&mut tensors, teacher, config, seed)?;
        }
        if let Some(from) = &config.start {
            start::load(from, &mut tensors)?;
        }
        let for_vits = config.spectral_reparam || !config.vitdet_windows.is_empty();
        if for_vits && is_eradio(&args) {
            return Err(Error::usage(
                "student.spectral_reparam and vitdet_windows are for RADIO ViTs; leave them out",
            ));
        }
        if config.spectral_reparam {
            tensors = spectral::parametrise(tensors)?;
        }
        let checkpoint = Checkpoint {
            source: WeightSource::File(stored(tensors)),
            ..Checkpoint::random(args.clone(), seed)
        };
        let backbone = build(&checkpoint, &options(device))?;
        let parameters = backbone.trainable().map(|t| t.named_parameters());
        let names = parameters.iter().flat_map(|parameters| parameters.keys());
        let depth = names.filter(|name| is_attention(name)).count() as i64;
        for window in &config.vitdet_windows {
            VitDet::new(*window, depth, &Value::Null)?;
        }
        Ok(Student { args, backbone })
    }
}

fn options(device: Device) -> BuildOptions {
    BuildOptions {
        device,
        purpose: Purpose::Training,
        ..BuildOptions::default()
    }
}

/// Whether a parameter is the weight of a block's attention, plain or spectral.
fn is_attention(name: &str) -> bool {
    name.ends_with("attn.qkv.weight") || name.contains("attn.qkv.parametrizations.weight.original")
}

/// Whether the arguments are of an E-RADIO.
pub fn is_eradio(args: &Value) -> bool {
    args["model"]
        .as_str()
        .is_some_and(|m| REGISTERED.contains(&m))
}

/// The training arguments that the checkpoint will carry. Those that upstream's loader reads and
/// that mean nothing here are there with their defaults.
fn args(config: &StudentConfig, teachers: &[Teacher]) -> Result<Value> {
    let mut args = json!({
        "in_chans": null, "input_size": null, "pretrained": false, "num_classes": null,
        "drop": 0.0, "drop_path": null, "drop_block": null, "gp": null, "bn_momentum": null,
        "bn_eps": null, "initial_checkpoint": "", "torchscript": false,
        "spectral_reparam": false, "model_norm": false, "mlp_version": "v2",
        "cpe_max_size": CPE_MAX_SIZE, "register_multiple": REGISTER_MULTIPLE,
    });
    let of_zoo = zoo::find(&config.model).ok().map(|entry| (entry.config)());
    match of_zoo {
        Some(known) if known["model"].is_string() || known["args"].is_object() => {
            let known = match known["args"].is_object() {
                true => &known["args"],
                false => &known,
            };
            for (name, value) in known.as_object().into_iter().flatten() {
                args[name] = value.clone();
            }
        }
        Some(_) => {
            return Err(Error::usage(format!(
                "student `{}` is a teacher of the zoo; name a ViT by timm's name with `start = \"{}\"`",
                config.model, config.model
            )));
        }
        None => args["model"] = json!(config.model),
    }
    let mut kwargs: Map<String, Value> = args["model_kwargs"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    kwargs.extend(config.model_kwargs.clone());
    if is_eradio(&args) {
        kwargs.insert("return_full_features".into(), json!(true));
        for (name, given) in [
            ("cpe_max_size", config.cpe_max_size),
            ("register_multiple", config.register_multiple),
        ] {
            args[name] = Value::Null;
            if given.is_some() {
                return Err(Error::usage(format!(
                    "student.{name} does nothing to an E-RADIO; leave it out"
                )));
            }
        }
    } else {
        for (name, given) in [
            ("cpe_max_size", config.cpe_max_size),
            ("register_multiple", config.register_multiple),
        ] {
            if let Some(value) = given {
                args[name] = json!(value);
            }
        }
    }
    args["model_kwargs"] = Value::Object(kwargs);
    // E-RADIO has no tokens of its own: all heads read the mean of its map.
    args["cls_token_per_teacher"] = json!(!is_eradio(&args));
    args["spectral_reparam"] = json!(config.spectral_reparam);
    args["mlp_hidden_size"] = json!(config.mlp_hidden_size);
    args["mlp_num_inner"] = json!(config.mlp_num_inner);
    let listed = teachers.iter().map(|teacher| {
        json!({
            "type": teacher.name,
            "name": teacher.name,
            "model": teacher.model.name,
            "use_summary": teacher.config.summary_weight != 0.0,
            "fd_upsample_factor": teacher.config.upsample,
        })
    });
    args["teachers"] = Value::Array(listed.collect());
    Ok(args)
}

/// The trunk's tensors as training starts from scratch.
fn trunk(args: &Value, seed: u64) -> Result<IndexMap<String, Tensor>> {
    // Shapes and names of a network drawn at random; its values are not used.
    let drawn = build(
        &Checkpoint::random(args.clone(), seed),
        &options(Device::Cpu),
    )?;
    let trainable = drawn.trainable().ok_or_else(|| {
        Error::usage(format!(
            "{} cannot be trained from scratch",
            drawn.info().architecture
        ))
    })?;
    let mut tensors = IndexMap::new();
    let all = trainable.named_parameters().into_iter();
    for (name, tensor) in all.chain(trainable.named_buffers()) {
        let name = match name.strip_prefix("model.") {
            Some(rest) => format!("base_model.{rest}"),
            None => name,
        };
        let value = init::value(&name, &tensor, args, seed)?;
        tensors.insert(name, value);
    }
    if is_eradio(args) {
        add_position_buffers(args, &mut tensors)?;
    }
    Ok(tensors)
}

/// The buffers that upstream's deployed E-RADIO reads, which are computed anew when it is saved.
fn add_position_buffers(args: &Value, tensors: &mut IndexMap<String, Tensor>) -> Result<()> {
    const OUTPUT: &str = "cpb_mlp.2.weight";
    let Some(config) = ERadioConfig::find(args) else {
        return Ok(());
    };
    let tokens = config?.trained_window().pow(2);
    let found: Vec<(String, i64)> = tensors
        .iter()
        .filter_map(|(key, t)| Some((key.strip_suffix(OUTPUT)?.to_string(), t.size()[0])))
        .collect();
    for (prefix, heads) in found {
        let zeros = Tensor::f_zeros([1, heads, tokens, tokens], (tch::Kind::Float, Device::Cpu))?;
        tensors.insert(format!("{prefix}relative_bias"), zeros);
    }
    Ok(())
}

/// Tensors in memory as those of a file.
fn stored(tensors: IndexMap<String, Tensor>) -> StateDict {
    let lazy = |tensor: Tensor| {
        let (shape, kind) = (tensor.size(), tensor.kind());
        let tensor = Mutex::new(tensor);
        let read = move || {
            let tensor = tensor.lock().unwrap_or_else(|e| e.into_inner());
            Ok(tensor.copy())
        };
        LazyTensor::computed(shape, kind, read)
    };
    let all = tensors.into_iter();
    all.map(|(key, tensor)| (key, lazy(tensor))).collect()
}
