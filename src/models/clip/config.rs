//! Sizes and rules of a CLIP image tower, from whichever config lies beside it.

use super::layouts::Origin;
use crate::models::facts::{check_heads, float, int, refuse_others, required_size};
use crate::models::layers::Activation;
use crate::models::positions::{Keep, Resample, isqrt};
use crate::models::vit::{BlockConfig, FfnKind};
use crate::weights::Checkpoint;
use crate::{Error, Result};
use serde_json::Value;

pub struct Config {
    pub depth: i64,
    pub block: BlockConfig,
    pub patch: i64,
    /// M
    pub side: i64,
    pub image_size: i64,
    /// E; `None` for files without the projection.
    pub embed_dim: Option<i64>,
    pub activation: Activation,
    /// What says so, for the record.
    pub activation_from: &'static str,
    pub rule: Resample,
    pub keep: Keep,
}

/// The part of a config that is about the image tower.
pub fn vision(config: &Value) -> &Value {
    let open_clip = &config["model_cfg"]["vision_cfg"];
    let transformers = &config["vision_config"];
    if open_clip.is_object() {
        open_clip
    } else if transformers.is_object() {
        transformers
    } else {
        config
    }
}

impl Config {
    /// `checkpoint` is in our names.
    pub fn read(checkpoint: &Checkpoint, origin: Origin, hints: &Value) -> Result<Self> {
        let whole = &checkpoint.config;
        let v = vision(whole);
        let dim = |name: &str, axis: usize| checkpoint.shape(name)?.get(axis).copied();
        let last = |name: &str| checkpoint.shape(name)?.last().copied();

        let width = int(v, &["hidden_size", "width"]).or_else(|| last("cls_token"));
        let width = required_size(checkpoint, "width", width)?;
        let heads = match (int(v, &["num_attention_heads"]), int(v, &["head_width"])) {
            (Some(heads), _) => heads,
            (None, Some(head_width)) if head_width > 0 => width / head_width,
            // transformers leaves out what equals its default of 12; open_clip's is C/64.
            _ if origin == Origin::Transformers && v.is_object() => 12,
            _ => width / if width == 1280 { 80 } else { 64 },
        };
        let heads = required_size(checkpoint, "number of heads", Some(heads))?;
        check_heads(checkpoint, width, heads)?;
        let patch = int(v, &["patch_size"]).or_else(|| dim("patch_embed.proj.weight", 3));
        let patch = required_size(checkpoint, "patch size", patch)?;
        let counted = checkpoint.tensors().is_some();
        let counted = counted.then(|| checkpoint.count("blocks.", ".norm1.weight") as i64);
        let depth = int(v, &["num_hidden_layers", "layers"]).or(counted);
        let depth = required_size(checkpoint, "number of blocks", depth)?;
        let hidden = int(v, &["intermediate_size"])
            .or_else(|| dim("blocks.0.mlp.fc1.weight", 0))
            .unwrap_or_else(|| {
                let ratio = float(v, &["mlp_ratio"]).unwrap_or(4.0);
                (width as f64 * ratio) as i64
            });

        let rows = checkpoint.shape("pos_embed").map(|shape| {
            let rows: i64 = shape.iter().rev().skip(1).product();
            rows - 1
        });
        let image_size = int(v, &["image_size"])
            .or_else(|| v["image_size"][0].as_i64())
            .or_else(|| rows.map(|rows| isqrt(rows) * patch));
        let image_size = required_size(checkpoint, "image size", image_size)?;
        let side = rows.map_or(image_size / patch, isqrt).max(1);
        let projection = dim("head.weight", 0);
        let embed_dim = match checkpoint.tensors() {
            Some(_) if origin == Origin::Timm && is_classifier(checkpoint)? => None,
            Some(_) => projection,
            None => int(&whole["model_cfg"], &["embed_dim"])
                .or_else(|| int(whole, &["projection_dim"]))
                .or(Some(512)),
        };
        let open_clip = &whole["model_cfg"]["vision_cfg"];
        refuse_others(checkpoint, "vision_cfg", open_clip, BUILT)?;
        if let Some(pool) = open_clip["pool_type"]
            .as_str()
            .filter(|pool| *pool != "tok")
        {
            let reason = format!(
                "`vision_cfg.pool_type` is `{pool}`, which is not built here (tok: the class token)"
            );
            return Err(Error::file(&checkpoint.path, reason));
        }
        let (activation, activation_from) = activation(checkpoint, origin, hints)?;
        let (rule, keep) = match origin {
            Origin::OpenClip => (Resample::Antialias, Keep::SameCount),
            Origin::Transformers => (Resample::Plain, Keep::SameGrid),
            Origin::Timm => (Resample::Antialias, Keep::SameGrid),
        };
        Ok(Config {
            depth,
            block: BlockConfig {
                width,
                heads,
                hidden,
                ffn: FfnKind::Mlp(activation),
                eps: float(v, &["layer_norm_eps"])
                    .or_else(|| float(&v["norm_kwargs"], &["eps"]))
                    .unwrap_or(1e-5),
                qkv_bias: true,
                layer_scale: false,
            },
            patch,
            side,
            image_size,
            embed_dim,
            activation,
            activation_from,
            rule,
            keep,
        })
    }
}

/// Whether timm's `head` tells classes apart instead of projecting into the joint space: timm gives
/// the projection a bias of zeros, training gives a classifier one of its own.
fn is_classifier(checkpoint: &Checkpoint) -> Result<bool> {
    let bias = checkpoint.tensors().and_then(|t| t.get("head.bias"));
    Ok(match bias {
        Some(bias) => bias.read_stored()?.f_any()?.int64_value(&[]) != 0,
        None => false,
    })
}

/// What the weights were trained with, by open_clip's pretrained tag: its model name does not say
/// it, and its versions disagree about what `ViT-L-14-336` with OpenAI's weights runs
/// (spec/teachers.md §0.1). Both towers follow it.
pub fn activation_of_tag(config: &Value, hints: &Value) -> Option<Activation> {
    let tag = hints["pretrained"]
        .as_str()
        .or_else(|| config["pretrained_cfg"]["tag"].as_str());
    match tag? {
        "openai" | "metaclip_fullcc" | "dfn5b" => Some(Activation::QuickGelu),
        "laion2b_s32b_b79k" => Some(Activation::Gelu),
        _ => None,
    }
}

/// The pretrained tag decides; without a known one the config does.
fn activation(
    checkpoint: &Checkpoint,
    origin: Origin,
    hints: &Value,
) -> Result<(Activation, &'static str)> {
    let config = &checkpoint.config;
    if let Some(activation) = activation_of_tag(config, hints) {
        return Ok((activation, "the pretrained tag"));
    }
    let quick = |yes: bool| match yes {
        true => Activation::QuickGelu,
        false => Activation::Gelu,
    };
    let named = vision(config)["hidden_act"].as_str();
    if let Some(name) = named {
        let named = Activation::named(name).ok_or_else(|| {
            let reason = format!("the config's activation `{name}` is not known here");
            Error::file(&checkpoint.path, reason)
        })?;
        return Ok((named, "the config (hidden_act)"));
    }
    if vision(config)["act_kwargs"]["approximate"] == "tanh" {
        return Ok((Activation::GeluTanh, "the config (act_kwargs)"));
    }
    if let Some(yes) = config["model_cfg"]["quick_gelu"].as_bool() {
        return Ok((quick(yes), "the config (quick_gelu)"));
    }
    if config["model_cfg"].is_object() {
        return Ok((
            Activation::Gelu,
            "open_clip's default, as the config names none",
        ));
    }
    if let Some(timm) = config["architecture"].as_str() {
        return Ok((
            quick(timm.contains("quickgelu")),
            "timm's name of the model",
        ));
    }
    if checkpoint.has("^input_resolution") {
        return Ok((Activation::QuickGelu, "OpenAI's own archive"));
    }
    let transformers = origin == Origin::Transformers;
    if transformers && config.is_object() {
        let from = "transformers' default, as the config names none";
        return Ok((Activation::QuickGelu, from));
    }
    let guess = quick(transformers);
    tracing::warn!(
        "{}: nothing in or beside the weights says CLIP's activation; {} is a guess, which decides every number: put the model's config beside the file",
        checkpoint.path.display(),
        guess.name()
    );
    Ok((guess, "a guess: nothing in or beside the weights says it"))
}

/// Keys of open_clip's `vision_cfg` that are obeyed, that the tensors decide, or that matter in
/// training only.
const BUILT: &[&str] = &[
    "image_size",
    "layers",
    "width",
    "head_width",
    "mlp_ratio",
    "patch_size",
    "patch_dropout",
    "pool_type",
    "act_kwargs",
    "norm_kwargs",
    "pos_embed_type",
    "output_tokens",
    "timm_model_pretrained",
    "timm_proj_bias",
    "timm_drop",
];
