//! InternViT-6B (spec/teachers.md §5).

use super::{SHARDED, TEACHER};
use crate::metrics::benchmark::VOC_2012;
use crate::models::zoo::ZooEntry;
use crate::models::zoo::published::{TABLE_1, knn, paper_miou, speed};
use serde_json::{Value, json};

pub const INTERNVIT: &[ZooEntry] = &[
    ZooEntry {
        name: "internvit-6b-224",
        licence: "MIT",
        aliases: &["internvit-6b"],
        repo: "OpenGVLab/InternViT-6B-224px",
        file: SHARDED,
        parameters: Some(5_902_793_600),
        config: || internvit(224, 48),
        published: &[
            knn(78.43, TABLE_1).at(224),
            paper_miou(47.20, TABLE_1, 224),
            paper_miou(76.85, TABLE_1, 224).on(&VOC_2012),
            speed(63.0, TABLE_1, 224),
        ],
        ..TEACHER
    },
    ZooEntry {
        name: "internvit-6b-448",
        licence: "MIT",
        repo: "OpenGVLab/InternViT-6B-448px-V1-2",
        file: SHARDED,
        preferred: (448, 448),
        parameters: Some(5_536_496_000),
        config: || internvit(448, 45),
        published: &[
            knn(68.64, TABLE_1).at(448),
            paper_miou(42.78, TABLE_1, 448),
            paper_miou(74.43, TABLE_1, 448).on(&VOC_2012),
            speed(14.0, TABLE_1, 448),
        ],
        ..TEACHER
    },
];

fn internvit(image: i64, layers: i64) -> Value {
    json!({
        "model_type": "intern_vit_6b",
        "hidden_size": 3200,
        "num_hidden_layers": layers,
        "num_attention_heads": 25,
        "intermediate_size": 12800,
        "image_size": image,
        "patch_size": 14,
        "norm_type": "rms_norm",
        "qkv_bias": false,
        "qk_normalization": true,
        "layer_norm_eps": 1e-6,
    })
}
