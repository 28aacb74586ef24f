//! Sizes of SAM's image encoder. segment-anything's files have no config: everything follows from
//! the tensors.

use crate::Result;
use crate::models::facts::{check_heads, float, int, required_size};
use crate::weights::Checkpoint;
use serde_json::Value;

pub struct Config {
    pub width: i64,
    pub depth: i64,
    pub heads: i64,
    pub hidden: i64,
    pub patch: i64,
    /// n: tokens per side of the whole grid
    pub side: i64,
    /// Tokens per side of a window.
    pub window: i64,
    /// Blocks that attend globally, counted from 0.
    pub global_attn_indexes: Vec<i64>,
    /// Channels of the neck.
    pub neck: i64,
}

/// The part of a config that is about the image encoder.
fn vision(config: &Value) -> &Value {
    let vision = &config["vision_config"];
    if vision.is_object() { vision } else { config }
}

impl Config {
    /// `checkpoint` is in segment-anything's names without `image_encoder.`.
    pub fn read(checkpoint: &Checkpoint) -> Result<Self> {
        let v = vision(&checkpoint.config);
        let dim = |name: &str, axis: usize| checkpoint.shape(name)?.get(axis).copied();
        // transformers leaves out what equals its defaults, which are those of ViT-B.
        let or_base = |value: Option<i64>, base: i64| value.or(v.is_object().then_some(base));

        let width = int(v, &["hidden_size", "embed_dim"]).or_else(|| dim("pos_embed", 3));
        let width = required_size(checkpoint, "width", or_base(width, 768))?;
        let counted = checkpoint.tensors().is_some();
        let counted = counted.then(|| checkpoint.count("blocks.", ".norm1.weight") as i64);
        let depth = int(v, &["num_hidden_layers", "depth"]).or(counted);
        let depth = required_size(checkpoint, "number of blocks", or_base(depth, 12))?;
        let heads = int(v, &["num_attention_heads", "num_heads"])
            .or_else(|| Some(width / dim("blocks.0.attn.rel_pos_h", 1)?.max(1)));
        let heads = required_size(checkpoint, "number of heads", or_base(heads, 12))?;
        check_heads(checkpoint, width, heads)?;
        let patch = int(v, &["patch_size"]).or_else(|| dim("patch_embed.proj.weight", 3));
        let patch = required_size(checkpoint, "patch size", or_base(patch, 16))?;
        let image = int(v, &["image_size", "img_size"]).unwrap_or(1024);
        let side = dim("pos_embed", 1).unwrap_or(image / patch);
        let side = required_size(checkpoint, "grid", Some(side))?;

        // A block's table has 2n - 1 rows: n is its window, or the grid's side.
        let place = |i: i64| {
            let rows = dim(&format!("blocks.{i}.attn.rel_pos_h"), 0)?;
            Some((rows + 1) / 2)
        };
        let listed = v["global_attn_indexes"].as_array();
        let global_attn_indexes: Vec<i64> = match listed {
            Some(list) => list.iter().filter_map(Value::as_i64).collect(),
            None if counted.is_some() => (0..depth).filter(|&i| place(i) == Some(side)).collect(),
            None => vec![2, 5, 8, 11],
        };
        let windowed = (0..depth).find(|i| !global_attn_indexes.contains(i));
        let window = int(v, &["window_size"]).or_else(|| windowed.and_then(place));
        let window = required_size(checkpoint, "window", window.or(Some(14)))?;
        let hidden = int(v, &["mlp_dim"])
            .or_else(|| dim("blocks.0.mlp.lin1.weight", 0))
            .unwrap_or((width as f64 * float(v, &["mlp_ratio"]).unwrap_or(4.0)) as i64);
        Ok(Config {
            width,
            depth,
            heads,
            hidden,
            patch,
            side,
            window,
            global_attn_indexes,
            neck: dim("neck.0.weight", 0)
                .or_else(|| int(v, &["output_channels", "prompt_embed_dim"]))
                .unwrap_or(256),
        })
    }
}
