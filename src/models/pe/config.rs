//! Sizes of a PE: from its tensors; of random weights from upstream's `PEConfig`.

use crate::Result;
use crate::models::facts::{check_heads, float, int, required_size};
use crate::models::layers::Activation;
use crate::models::positions::isqrt;
use crate::models::vit::{BlockConfig, FfnKind};
use crate::weights::Checkpoint;
use serde_json::Value;

/// LayerNorm eps (upstream's `norm_layer`).
const EPS: f64 = 1e-5;
/// Heads of the attention pool (`attn_pooler_heads` of every model).
const POOL_HEADS: i64 = 8;

pub struct Config {
    pub depth: i64,
    pub block: BlockConfig,
    pub patch: i64,
    /// M
    pub side: i64,
    pub class_token: bool,
    /// PE-Core ends in a norm and an attention pool; PE-Spatial and PE-Lang in the last block.
    pub pool_heads: Option<i64>,
    /// D of the joint space, where there is one.
    pub embed_dim: Option<i64>,
}

/// Whether `config` is a `PEConfig`.
pub fn describes(config: &Value) -> bool {
    config["use_rope2d"].as_bool() == Some(true) && config["patch_size"].is_i64()
}

impl Config {
    /// `checkpoint` is in our names.
    pub fn read(checkpoint: &Checkpoint) -> Result<Self> {
        let config = &checkpoint.config;
        let in_file = checkpoint.tensors().is_some();
        let dim = |name: &str, axis: usize| checkpoint.shape(name)?.get(axis).copied();
        let size = |what: &str, value: Option<i64>| required_size(checkpoint, what, value);
        let filter = "patch_embed.proj.weight";
        let width = size("width", dim(filter, 0).or(int(config, &["width"])))?;
        // 64 channels per head, but 96 in the G.
        let by_width = if width == 1536 { 16 } else { width / 64 };
        let heads = int(config, &["heads"]).unwrap_or(by_width);
        let heads = size("number of heads", Some(heads))?;
        check_heads(checkpoint, width, heads)?;
        let patch = size(
            "patch size",
            dim(filter, 3).or(int(config, &["patch_size"])),
        )?;
        let counted = in_file.then(|| checkpoint.count("blocks.", ".norm1.weight") as i64);
        let depth = size("number of blocks", counted.or(int(config, &["layers"])))?;
        let ratio = float(config, &["mlp_ratio"]);
        let by_ratio = ratio.map(|ratio| (width as f64 * ratio).round() as i64);
        let hidden = size("MLP width", dim("blocks.0.mlp.fc1.weight", 0).or(by_ratio))?;
        let class_token = match in_file {
            true => checkpoint.has("cls_token"),
            false => config["use_cls_token"].as_bool() == Some(true),
        };
        let side = match dim("pos_embed", 0) {
            Some(rows) => isqrt(rows - i64::from(class_token)),
            None => size("image size", int(config, &["image_size"]))? / patch,
        };
        let pools = match in_file {
            true => checkpoint.has("attn_pool.latent"),
            false => config["pool_type"] == "attn",
        };
        let pool_heads = int(config, &["attn_pooler_heads"]).unwrap_or(POOL_HEADS);
        if pools {
            check_heads(checkpoint, width, pool_heads.max(1))?;
        }
        Ok(Config {
            depth,
            block: BlockConfig {
                width,
                heads,
                hidden,
                ffn: FfnKind::Mlp(Activation::Gelu),
                eps: EPS,
                qkv_bias: true,
                layer_scale: match in_file {
                    true => checkpoint.has("blocks.0.ls1.gamma"),
                    false => config["ls_init_value"].is_f64(),
                },
            },
            patch,
            side: side.max(1),
            class_token,
            pool_heads: pools.then_some(pool_heads),
            embed_dim: dim("head.weight", 0).or(int(config, &["output_dim"])),
        })
    }
}
