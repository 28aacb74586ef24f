//! Sizes and rules of a DINOv2, from whichever config lies beside it.

use super::layouts::Origin;
use crate::Result;
use crate::models::facts::{check_heads, float, int, required_size};
use crate::models::layers::Activation;
use crate::models::positions::{Resample, isqrt};
use crate::models::vit::{BlockConfig, FfnKind};
use crate::weights::Checkpoint;

/// Sizes and rules of one network.
pub struct Config {
    pub depth: i64,
    pub block: BlockConfig,
    pub patch: i64,
    pub registers: i64,
    /// M
    pub side: i64,
    /// Whether the position table has a row for the class token (timm adds it to the token where
    /// there are registers).
    pub class_row: bool,
    pub mask_token: bool,
    pub rule: Resample,
    pub image_size: i64,
}

impl Config {
    /// `checkpoint` is in the hub's names; what its config leaves out follows from the tensors.
    pub fn read(checkpoint: &Checkpoint, origin: Origin) -> Result<Self> {
        let config = &checkpoint.config;
        let random = checkpoint.tensors().is_none();
        let dim = |name: &str, axis: usize| checkpoint.shape(name)?.get(axis).copied();
        let width = int(config, &["hidden_size", "embed_dim"]).or_else(|| dim("cls_token", 2));
        let width = required_size(checkpoint, "width", width)?;
        // 64 channels per head in every released size.
        let heads = int(config, &["num_attention_heads", "num_heads"]).or(Some(width / 64));
        let heads = required_size(checkpoint, "number of heads", heads)?;
        check_heads(checkpoint, width, heads)?;
        let patch = int(config, &["patch_size"]).or_else(|| dim("patch_embed.proj.weight", 3));
        let patch = required_size(checkpoint, "patch size", patch)?;
        let counted = (!random).then(|| checkpoint.count("blocks.", ".norm1.weight") as i64);
        let depth = int(config, &["num_hidden_layers", "depth"]).or(counted);
        let depth = required_size(checkpoint, "number of blocks", depth)?;

        let swiglu = match config["use_swiglu_ffn"].as_bool() {
            Some(swiglu) => swiglu,
            None => config["ffn_layer"].as_str().map_or_else(
                || checkpoint.has("blocks.0.mlp.w12.weight"),
                |ffn| ffn.starts_with("swiglu"),
            ),
        };
        let ratio = float(config, &["mlp_ratio"]).unwrap_or(4.0);
        let mlp = (width as f64 * ratio) as i64;
        let hidden = if swiglu {
            // The hub's SwiGLUFFNFused: two thirds, rounded up to a multiple of 8.
            dim("blocks.0.mlp.w3.weight", 1).unwrap_or((mlp * 2 / 3 + 7) / 8 * 8)
        } else {
            dim("blocks.0.mlp.fc1.weight", 0).unwrap_or(mlp)
        };

        let registers = int(config, &["num_register_tokens"])
            .or_else(|| dim("register_tokens", 1))
            .unwrap_or(0);
        let rows = dim("pos_embed", 1);
        // 518 px is what every released model was trained at in the end.
        let image_size = int(config, &["image_size", "img_size"]).unwrap_or(518);
        let (side, class_row) = match rows {
            Some(rows) => {
                let side = isqrt(rows);
                (side, side * side != rows)
            }
            None => (image_size / patch, true),
        };
        let antialias = config["interpolate_antialias"].as_bool();
        let offset = float(config, &["interpolate_offset"]);
        let rule = match (origin, antialias, offset) {
            (Origin::Timm, ..) => Resample::Antialias,
            _ if registers > 0 => Resample::Antialias,
            (Origin::Transformers, ..) => Resample::Plain,
            (Origin::Hub, Some(true), _) => Resample::Antialias,
            (Origin::Hub, _, Some(0.0)) => Resample::Plain,
            (Origin::Hub, ..) => Resample::PlainOffset,
        };
        Ok(Config {
            depth,
            block: BlockConfig {
                width,
                heads,
                hidden,
                ffn: if swiglu {
                    FfnKind::SwiGlu
                } else {
                    FfnKind::Mlp(Activation::Gelu)
                },
                eps: float(config, &["layer_norm_eps"]).unwrap_or(1e-6),
                qkv_bias: true,
                layer_scale: true,
            },
            patch,
            registers,
            side: side.max(1),
            class_row,
            mask_token: if random {
                origin != Origin::Timm
            } else {
                checkpoint.has("mask_token")
            },
            rule,
            image_size,
        })
    }
}
