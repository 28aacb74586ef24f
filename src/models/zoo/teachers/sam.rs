//! Image encoders of Segment Anything (spec/coco.md §1).

use super::TEACHER;
use crate::metrics::benchmark::VOC_2012;
use crate::models::zoo::ZooEntry;
use crate::models::zoo::published::{TABLE_1, knn, paper_miou, sam_iou, speed};
use serde_json::{Value, json};

pub const SAM: &[ZooEntry] = &[
    ZooEntry {
        name: "sam-b",
        licence: "Apache-2.0",
        aliases: &["sam_vit_b"],
        repo: "facebook/sam-vit-base",
        patch: 16,
        step: 16,
        preferred: (1024, 1024),
        parameters: Some(89_670_912),
        config: || sam(768, 12, 12, [2, 5, 8, 11]),
        ..TEACHER
    },
    ZooEntry {
        name: "sam-l",
        licence: "Apache-2.0",
        aliases: &["sam_vit_l"],
        repo: "facebook/sam-vit-large",
        patch: 16,
        step: 16,
        preferred: (1024, 1024),
        parameters: Some(308_278_272),
        config: || sam(1024, 24, 16, [5, 11, 17, 23]),
        ..TEACHER
    },
    ZooEntry {
        name: "sam-h",
        licence: "Apache-2.0",
        aliases: &["sam_vit_h"],
        repo: "facebook/sam-vit-huge",
        patch: 16,
        step: 16,
        preferred: (1024, 1024),
        parameters: Some(637_026_048),
        config: || sam(1280, 32, 16, [7, 15, 23, 31]),
        published: &[
            knn(22.12, TABLE_1).at(1024),
            paper_miou(28.08, TABLE_1, 1024),
            paper_miou(34.34, TABLE_1, 1024).on(&VOC_2012),
            sam_iou(77.18, TABLE_1),
            speed(12.0, TABLE_1, 1024),
        ],
        ..TEACHER
    },
];

/// A transformers `config.json`, image encoder only.
fn sam(width: i64, layers: i64, heads: i64, global: [i64; 4]) -> Value {
    json!({
        "model_type": "sam",
        "vision_config": {
            "hidden_size": width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "image_size": 1024,
            "patch_size": 16,
            "window_size": 14,
            "global_attn_indexes": global,
            "mlp_dim": 4 * width,
            "output_channels": 256,
        },
    })
}
