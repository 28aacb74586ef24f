//! CLIP teachers (spec/teachers.md §2).

use super::TEACHER;
use crate::metrics::benchmark::VOC_2012;
use crate::models::zoo::ZooEntry;
use crate::models::zoo::published::{TABLE_1, knn, paper_miou, speed, zero_shot};
use serde_json::{Value, json};

/// `pretrained` is open_clip's tag; it decides the activation (spec/teachers.md §0.1).
pub const CLIP: &[ZooEntry] = &[
    ZooEntry {
        name: "openai-clip-l14-336",
        licence: "MIT",
        aliases: &["openai-clip-l", "clip-vit-l-14-336"],
        repo: "timm/vit_large_patch14_clip_336.openai",
        file: "open_clip_model.safetensors",
        preferred: (336, 336),
        adaptors: &["clip"],
        parameters: Some(304_293_888),
        config: || clip(336, 24, 1024, 64, 768, (768, 12, 12), true),
        hints: || json!({"pretrained": "openai"}),
        published: &[
            zero_shot(75.54, TABLE_1, "clip").at(336).shortest_side(),
            knn(79.80, TABLE_1).at(336),
            paper_miou(36.51, TABLE_1, 336),
            paper_miou(67.04, TABLE_1, 336).on(&VOC_2012),
            speed(414.0, TABLE_1, 336),
        ],
        ..TEACHER
    },
    ZooEntry {
        name: "openclip-h14",
        licence: "MIT",
        aliases: &["openclip-vit-h-14"],
        repo: "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
        file: "open_clip_model.safetensors",
        adaptors: &["clip"],
        parameters: Some(632_076_800),
        config: || clip(224, 32, 1280, 80, 1024, (1024, 16, 24), false),
        hints: || json!({"pretrained": "laion2b_s32b_b79k"}),
        published: &[
            zero_shot(77.19, TABLE_1, "clip").at(224).shortest_side(),
            knn(81.10, TABLE_1).at(224),
            paper_miou(40.04, TABLE_1, 224),
            paper_miou(68.03, TABLE_1, 224).on(&VOC_2012),
            speed(503.0, TABLE_1, 224),
        ],
        ..TEACHER
    },
    ZooEntry {
        name: "metaclip-h14",
        licence: "CC-BY-NC-4.0",
        aliases: &["metaclip-vit-h-14"],
        repo: "timm/vit_huge_patch14_clip_224.metaclip_2pt5b",
        file: "open_clip_model.safetensors",
        adaptors: &["clip"],
        parameters: Some(632_076_800),
        config: || clip(224, 32, 1280, 80, 1024, (1024, 16, 24), true),
        hints: || json!({"pretrained": "metaclip_fullcc"}),
        published: &[
            zero_shot(80.51, TABLE_1, "clip").at(224).shortest_side(),
            knn(82.12, TABLE_1).at(224),
            paper_miou(35.39, TABLE_1, 224),
            paper_miou(62.62, TABLE_1, 224).on(&VOC_2012),
            speed(486.0, TABLE_1, 224),
        ],
        ..TEACHER
    },
    ZooEntry {
        name: "dfn-clip-h14-378",
        licence: "Apple AMLR (research only)",
        aliases: &["dfn-clip", "dfn-clip-vit-h-14-378"],
        repo: "apple/DFN5B-CLIP-ViT-H-14-378",
        file: "open_clip_pytorch_model.bin",
        preferred: (378, 378),
        adaptors: &["clip"],
        parameters: Some(632_682_240),
        config: || clip(378, 32, 1280, 80, 1024, (1024, 16, 24), true),
        hints: || json!({"pretrained": "dfn5b"}),
        published: &[
            zero_shot(83.90, TABLE_1, "clip").at(378).shortest_side(),
            knn(85.27, TABLE_1).at(378),
            paper_miou(39.00, TABLE_1, 378),
            paper_miou(70.29, TABLE_1, 378).on(&VOC_2012),
            speed(170.0, TABLE_1, 378),
        ],
        ..TEACHER
    },
];

/// An `open_clip_config.json`; text is (width, heads, layers).
fn clip(
    image: i64,
    layers: i64,
    width: i64,
    head_width: i64,
    embed_dim: i64,
    text: (i64, i64, i64),
    quick_gelu: bool,
) -> Value {
    json!({"model_cfg": {
        "embed_dim": embed_dim,
        "quick_gelu": quick_gelu,
        "vision_cfg": {
            "image_size": image,
            "layers": layers,
            "width": width,
            "head_width": head_width,
            "patch_size": 14,
        },
        "text_cfg": {
            "context_length": 77,
            "vocab_size": 49408,
            "width": text.0,
            "heads": text.1,
            "layers": text.2,
        },
    }})
}
