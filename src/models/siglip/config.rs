//! Sizes and rules of a SigLIP image tower, from whichever config lies beside it.

use super::Origin;
use crate::models::facts::{check_heads, float, int, required_size};
use crate::models::layers::Activation;
use crate::models::positions::{Resample, isqrt};
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
    pub activation: Activation,
    pub rule: Resample,
    /// The adaptor's name, `siglip` or `siglip2`.
    pub adaptor: &'static str,
}

/// The part of a config that is about the image tower. open_clip names a timm model there, whose
/// sizes the tensors say; `_trunk` spells them out.
fn vision(config: &Value) -> &Value {
    [
        &config["model_cfg"]["_trunk"],
        &config["model_cfg"]["vision_cfg"],
        &config["vision_config"],
    ]
    .into_iter()
    .find(|part| part.is_object())
    .unwrap_or(config)
}

impl Config {
    /// `checkpoint` is in our names.
    pub fn read(checkpoint: &Checkpoint, origin: Origin, hints: &Value) -> Result<Self> {
        let v = vision(&checkpoint.config);
        let dim = |name: &str, axis: usize| checkpoint.shape(name)?.get(axis).copied();
        // transformers leaves out what equals its defaults, which are those of ViT-B.
        let or_base = |value: Option<i64>, base: i64| {
            let transformers = matches!(origin, Origin::Transformers | Origin::NaFlex);
            value.or((transformers && v.is_object()).then_some(base))
        };
        let width = int(v, &["hidden_size", "embed_dim"]).or_else(|| dim("norm.weight", 0));
        let width = required_size(checkpoint, "width", or_base(width, 768))?;
        let heads = int(v, &["num_attention_heads", "num_heads"]);
        let by_width = if matches!(width, 1152 | 1536) {
            16
        } else {
            width / 64
        };
        let heads = or_base(heads, 12).or(Some(by_width));
        let heads = required_size(checkpoint, "number of heads", heads)?;
        check_heads(checkpoint, width, heads)?;
        let patch = int(v, &["patch_size"]).or_else(|| dim("patch_embed.proj.weight", 3));
        let patch = required_size(checkpoint, "patch size", or_base(patch, 16))?;
        let counted = checkpoint.tensors().is_some();
        let counted = counted.then(|| checkpoint.count("blocks.", ".norm1.weight") as i64);
        let depth = int(v, &["num_hidden_layers", "depth"]).or(counted);
        let depth = required_size(checkpoint, "number of blocks", or_base(depth, 12))?;
        let hidden = int(v, &["intermediate_size", "mlp_hidden"])
            .or_else(|| dim("blocks.0.mlp.fc1.weight", 0));
        let hidden = required_size(checkpoint, "MLP width", or_base(hidden, 3072))?;

        let rows = checkpoint
            .shape("pos_embed")
            .map(|shape| shape.iter().rev().skip(1).product::<i64>())
            .or_else(|| int(v, &["num_patches"]));
        let stored = int(v, &["image_size", "img_size"]);
        let image_size = match origin {
            Origin::NaFlex => rows.map(|rows| isqrt(rows) * patch).or(Some(256)),
            _ => stored.or_else(|| rows.map(|rows| isqrt(rows) * patch)),
        };
        let image_size = required_size(checkpoint, "image size", or_base(image_size, 224))?;
        let side = rows.map_or(image_size / patch, isqrt).max(1);
        let activation = activation(checkpoint, origin, (width, patch, image_size))?;
        Ok(Config {
            depth,
            block: BlockConfig {
                width,
                heads,
                hidden,
                ffn: FfnKind::Mlp(activation),
                eps: float(v, &["layer_norm_eps", "eps"]).unwrap_or(1e-6),
                qkv_bias: true,
                layer_scale: false,
            },
            patch,
            side,
            image_size,
            activation,
            rule: match origin {
                Origin::Timm => Resample::Antialias,
                Origin::Transformers => Resample::Plain,
                Origin::NaFlex => Resample::AntialiasBilinear,
            },
            adaptor: adaptor(checkpoint, origin, hints),
        })
    }
}

/// transformers runs the tanh approximation for all; timm (and so open_clip) exact GELU for some
/// of the same weights (spec/teachers.md §0.5, timm `vision_transformer.py`).
fn activation(
    checkpoint: &Checkpoint,
    origin: Origin,
    (width, patch, image_size): (i64, i64, i64),
) -> Result<Activation> {
    let v = vision(&checkpoint.config);
    if let Some(name) = v["hidden_act"].as_str().or_else(|| v["act"].as_str()) {
        return Activation::named(name).ok_or_else(|| {
            let reason = format!("the config's activation `{name}` is not known here");
            Error::file(&checkpoint.path, reason)
        });
    }
    let tanh = match origin {
        Origin::Transformers | Origin::NaFlex => true,
        Origin::Timm => {
            let large_512 = width == 1024 && image_size == 512;
            patch == 32 || large_512 || (width >= 1152 && patch == 16)
        }
    };
    Ok(match tanh {
        true => Activation::GeluTanh,
        false => Activation::Gelu,
    })
}

/// The fixed-size SigLIP2 models share SigLIP's classes and names; their vocabulary tells.
fn adaptor(checkpoint: &Checkpoint, origin: Origin, hints: &Value) -> &'static str {
    /// Gemma's; SigLIP has 32000.
    const SIGLIP2_VOCABULARY: i64 = 256_000;
    let config = &checkpoint.config;
    let says = |value: &Value| value.as_str().is_some_and(|name| name.contains("siglip2"));
    let vocabulary = int(&config["text_config"], &["vocab_size"])
        .or_else(|| int(&config["model_cfg"]["text_cfg"], &["vocab_size"]))
        .or_else(|| {
            [
                "^text_model.embeddings.token_embedding.weight",
                "^text.token_embedding.weight",
            ]
            .iter()
            .find_map(|name| checkpoint.shape(name)?.first().copied())
        });
    if says(&hints["adaptor"])
        || says(&config["model_type"])
        || says(&config["model_cfg"]["vision_cfg"]["timm_model_name"])
        || origin == Origin::NaFlex
        || vocabulary == Some(SIGLIP2_VOCABULARY)
    {
        "siglip2"
    } else {
        "siglip"
    }
}
