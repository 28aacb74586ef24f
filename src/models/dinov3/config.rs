//! Sizes and rules of a DINOv3, from whichever config lies beside it.

use super::layouts::Origin;
use super::rope::Coordinates;
use crate::models::facts::{check_heads, float, int, required_size};
use crate::models::layers::Activation;
use crate::models::vit::{BlockConfig, FfnKind};
use crate::weights::Checkpoint;
use crate::{Error, Result};
use tch::Kind;

pub struct Config {
    pub depth: i64,
    pub block: BlockConfig,
    pub patch: i64,
    pub registers: i64,
    pub image_size: i64,
    /// Where the file has no periods of its own.
    pub rope: Periods,
    pub rope_coordinates: Coordinates,
    pub rope_kind: Kind,
    pub mask_token: bool,
}

/// How the periods of the rotary positions are computed.
#[derive(Debug, Clone, Copy)]
pub enum Periods {
    Base(f64),
    Between(f64, f64),
}

/// Of every released model.
const ROPE_BASE: f64 = 100.0;

impl Config {
    /// `checkpoint` is in our names.
    pub fn read(checkpoint: &Checkpoint, origin: Option<Origin>) -> Result<Self> {
        let config = &checkpoint.config;
        let dim = |name: &str, axis: usize| checkpoint.shape(name)?.get(axis).copied();
        let in_file = checkpoint.tensors().is_some();
        let width = int(config, &["hidden_size", "embed_dim"]).or_else(|| dim("norm.weight", 0));
        let width = required_size(checkpoint, "width", width)?;
        // 64 channels per head, 128 in the 7B.
        let by_width = width / if width == 4096 { 128 } else { 64 };
        let heads = int(config, &["num_attention_heads", "num_heads"]).or(Some(by_width));
        let heads = required_size(checkpoint, "number of heads", heads)?;
        check_heads(checkpoint, width, heads)?;
        let patch = int(config, &["patch_size"]).or_else(|| dim("patch_embed.proj.weight", 3));
        let patch = required_size(checkpoint, "patch size", patch)?;
        let counted = in_file.then(|| checkpoint.count("blocks.", ".norm1.weight") as i64);
        let depth = int(config, &["num_hidden_layers", "depth"]).or(counted);
        let depth = required_size(checkpoint, "number of blocks", depth)?;
        let gated = match config["use_gated_mlp"].as_bool() {
            Some(gated) => gated,
            None => checkpoint.has("blocks.0.mlp.w12.weight"),
        };
        let hidden = int(config, &["intermediate_size"]).or_else(|| {
            dim("blocks.0.mlp.w3.weight", 1).or_else(|| dim("blocks.0.mlp.fc1.weight", 0))
        });
        let hidden = required_size(checkpoint, "MLP width", hidden)?;
        let registers = int(config, &["num_register_tokens", "n_storage_tokens"])
            .or_else(|| dim("storage_tokens", 1))
            .unwrap_or(if in_file { 0 } else { 4 });
        // timm says the size as [channels, height, width].
        let timm_size = config["pretrained_cfg"]["input_size"][1].as_i64();
        let image_size = int(config, &["image_size", "img_size"]).or(timm_size);
        Ok(Config {
            depth,
            block: BlockConfig {
                width,
                heads,
                hidden,
                ffn: ffn(checkpoint, gated)?,
                eps: eps(checkpoint)?,
                // The 7B has none.
                qkv_bias: if in_file {
                    checkpoint.has("blocks.0.attn.qkv.bias")
                } else {
                    config["query_bias"].as_bool().unwrap_or(true)
                },
                layer_scale: true,
            },
            patch,
            registers,
            image_size: image_size.unwrap_or(224),
            rope: periods(checkpoint),
            rope_coordinates: coordinates(checkpoint)?,
            rope_kind: rope_kind(checkpoint)?,
            mask_token: match origin {
                _ if in_file => checkpoint.has("mask_token"),
                Some(Origin::Timm) => false,
                _ => true,
            },
        })
    }
}

/// A setting that this network is not built for.
fn refused(checkpoint: &Checkpoint, setting: &str, value: &str, built: &str) -> Error {
    Error::file(
        &checkpoint.path,
        format!(
            "the config sets `{setting}` to `{value}`, which DINOv3 is not built with here ({built})"
        ),
    )
}

fn ffn(checkpoint: &Checkpoint, gated: bool) -> Result<FfnKind> {
    let named = checkpoint.config["hidden_act"].as_str();
    match (gated, named) {
        (true, None | Some("silu" | "swish")) => Ok(FfnKind::SwiGlu),
        (true, Some(other)) => Err(refused(checkpoint, "hidden_act", other, "silu with gates")),
        (false, None) => Ok(FfnKind::Mlp(Activation::Gelu)),
        (false, Some(name)) => Activation::named(name).map(FfnKind::Mlp).ok_or_else(|| {
            refused(
                checkpoint,
                "hidden_act",
                name,
                "gelu, gelu_tanh, quick_gelu, silu or relu",
            )
        }),
    }
}

/// By name, as upstream's constructor takes it (spec/teachers.md §4.4).
fn eps(checkpoint: &Checkpoint) -> Result<f64> {
    let config = &checkpoint.config;
    let named = match config["norm_layer"].as_str() {
        None | Some("layernormbf16") => 1e-5,
        Some("layernorm") => 1e-6,
        Some(other) => {
            let built = "layernorm or layernormbf16";
            return Err(refused(checkpoint, "norm_layer", other, built));
        }
    };
    Ok(float(config, &["layer_norm_eps"]).unwrap_or(named))
}

fn periods(checkpoint: &Checkpoint) -> Periods {
    let config = &checkpoint.config;
    let ends = (
        float(config, &["pos_embed_rope_min_period"]),
        float(config, &["pos_embed_rope_max_period"]),
    );
    match (float(config, &["rope_theta", "pos_embed_rope_base"]), ends) {
        (Some(base), _) => Periods::Base(base),
        (None, (Some(min), Some(max))) => Periods::Between(min, max),
        // transformers 5 nests it.
        _ => Periods::Base(float(&config["rope_parameters"], &["rope_theta"]).unwrap_or(ROPE_BASE)),
    }
}

fn coordinates(checkpoint: &Checkpoint) -> Result<Coordinates> {
    let setting = "pos_embed_rope_normalize_coords";
    match checkpoint.config[setting].as_str() {
        None | Some("separate") => Ok(Coordinates::Separate),
        Some("max") => Ok(Coordinates::Max),
        Some("min") => Ok(Coordinates::Min),
        Some(other) => Err(refused(checkpoint, setting, other, "separate, max or min")),
    }
}

fn rope_kind(checkpoint: &Checkpoint) -> Result<Kind> {
    let setting = "pos_embed_rope_dtype";
    match checkpoint.config[setting].as_str() {
        None | Some("fp32") => Ok(Kind::Float),
        Some("bf16") => Ok(Kind::BFloat16),
        Some("fp16") => Ok(Kind::Half),
        Some(other) => Err(refused(checkpoint, setting, other, "fp32, bf16 or fp16")),
    }
}
