//! Franca (Venkataramanan et al., arXiv 2507.14137): DINOv2's network with gates in every size
//! (upstream valeoai/Franca `franca/hub/backbones.py`; licence: its `model_card.md`). The files are
//! on GitHub, not on the hub: `releases/download/v1.0.0` and `v1.1.0`.

use super::TEACHER;
use crate::models::zoo::ZooEntry;
use serde_json::{Value, json};

const FRANCA_BASE: ZooEntry = ZooEntry {
    licence: "Research-Only RAIL",
    page: "https://github.com/valeoai/Franca/releases",
    ..TEACHER
};

pub const FRANCA: &[ZooEntry] = &[
    ZooEntry {
        name: "franca-b",
        aliases: &["franca_vitb14", "franca_vitb14_in21k"],
        parameters: Some(86_592_768),
        config: || franca(768, 12, 12, 518),
        ..FRANCA_BASE
    },
    ZooEntry {
        name: "franca-l",
        aliases: &["franca_vitl14", "franca_vitl14_laion_518"],
        parameters: Some(304_794_880),
        config: || franca(1024, 24, 16, 518),
        ..FRANCA_BASE
    },
    ZooEntry {
        name: "franca-g",
        aliases: &["franca_vitg14", "franca_vitg14_laion600m"],
        parameters: Some(1_134_771_200),
        config: || franca(1536, 40, 24, 224),
        ..FRANCA_BASE
    },
];

/// As the hub builds it.
fn franca(width: i64, layers: i64, heads: i64, image: i64) -> Value {
    json!({
        "embed_dim": width,
        "depth": layers,
        "num_heads": heads,
        "mlp_ratio": 4,
        "img_size": image,
        "patch_size": 14,
        "ffn_layer": "swiglufused",
        "num_register_tokens": 0,
        "interpolate_antialias": false,
        "interpolate_offset": 0.1,
    })
}
