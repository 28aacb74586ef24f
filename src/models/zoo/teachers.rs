//! The teachers of AM-RADIO and its successors (spec/published.md §3 "Teacher definitions",
//! spec/teachers.md §2-5).
//!
//! The config of an entry is what its weights would carry, so that `--random-weights` builds the
//! network at full size.

use super::{Published, ZooEntry};
use serde_json::{Value, json};

const TABLE1: &str = "arXiv 2312.06709v5 Table 1";

const fn published(metric: &'static str, value: f64) -> Published {
    Published {
        metric,
        value,
        source: TABLE1,
    }
}

/// What most entries share; the rest is given entry by entry.
const TEACHER: ZooEntry = ZooEntry {
    name: "",
    aliases: &[],
    role: "teacher",
    repo: "",
    file: "model.safetensors",
    patch: 14,
    step: 14,
    preferred: (224, 224),
    adaptors: &[],
    parameters: None,
    config: || Value::Null,
    hints: || Value::Null,
    published: &[],
};

/// `pretrained` is open_clip's tag; it decides the activation (spec/teachers.md §0.1).
pub const CLIP: &[ZooEntry] = &[
    ZooEntry {
        name: "openai-clip-l14-336",
        aliases: &["openai-clip-l", "clip-vit-l-14-336"],
        repo: "timm/vit_large_patch14_clip_336.openai",
        file: "open_clip_model.safetensors",
        preferred: (336, 336),
        adaptors: &["clip"],
        parameters: Some(304_293_888),
        config: || clip(336, 24, 1024, 64, 768, (768, 12, 12), true),
        hints: || json!({"pretrained": "openai"}),
        published: &[
            published("zero_shot_top1", 75.54),
            published("knn_top1", 79.80),
            published("miou", 36.51),
        ],
        ..TEACHER
    },
    ZooEntry {
        name: "openclip-h14",
        aliases: &["openclip-vit-h-14"],
        repo: "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
        file: "open_clip_model.safetensors",
        adaptors: &["clip"],
        parameters: Some(632_076_800),
        config: || clip(224, 32, 1280, 80, 1024, (1024, 16, 24), false),
        hints: || json!({"pretrained": "laion2b_s32b_b79k"}),
        published: &[
            published("zero_shot_top1", 77.19),
            published("knn_top1", 81.10),
            published("miou", 40.04),
        ],
        ..TEACHER
    },
    ZooEntry {
        name: "metaclip-h14",
        aliases: &["metaclip-vit-h-14"],
        repo: "timm/vit_huge_patch14_clip_224.metaclip_2pt5b",
        file: "open_clip_model.safetensors",
        adaptors: &["clip"],
        parameters: Some(632_076_800),
        config: || clip(224, 32, 1280, 80, 1024, (1024, 16, 24), true),
        hints: || json!({"pretrained": "metaclip_fullcc"}),
        published: &[
            published("zero_shot_top1", 80.51),
            published("knn_top1", 82.12),
            published("miou", 35.39),
        ],
        ..TEACHER
    },
    ZooEntry {
        name: "dfn-clip-h14-378",
        aliases: &["dfn-clip", "dfn-clip-vit-h-14-378"],
        repo: "apple/DFN5B-CLIP-ViT-H-14-378",
        file: "open_clip_pytorch_model.bin",
        preferred: (378, 378),
        adaptors: &["clip"],
        parameters: Some(632_682_240),
        config: || clip(378, 32, 1280, 80, 1024, (1024, 16, 24), true),
        hints: || json!({"pretrained": "dfn5b"}),
        published: &[
            published("zero_shot_top1", 83.90),
            published("knn_top1", 85.27),
            published("miou", 39.00),
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

pub const DINOV2: &[ZooEntry] = &[
    ZooEntry {
        name: "dinov2-s",
        aliases: &["dinov2_vits14"],
        repo: "facebook/dinov2-small",
        parameters: Some(22_056_576),
        config: || dinov2(384, 12, 6, false, 0),
        ..TEACHER
    },
    ZooEntry {
        name: "dinov2-b",
        aliases: &["dinov2_vitb14"],
        repo: "facebook/dinov2-base",
        parameters: Some(86_580_480),
        config: || dinov2(768, 12, 12, false, 0),
        ..TEACHER
    },
    ZooEntry {
        name: "dinov2-l",
        aliases: &["dinov2_vitl14"],
        repo: "facebook/dinov2-large",
        parameters: Some(304_368_640),
        config: || dinov2(1024, 24, 16, false, 0),
        ..TEACHER
    },
    ZooEntry {
        name: "dinov2-g",
        aliases: &["dinov2_vitg14"],
        repo: "facebook/dinov2-giant",
        parameters: Some(1_136_480_768),
        config: || dinov2(1536, 40, 24, true, 0),
        ..TEACHER
    },
    ZooEntry {
        name: "dinov2-s-reg",
        aliases: &["dinov2_vits14_reg"],
        repo: "facebook/dinov2-with-registers-small",
        parameters: Some(22_058_112),
        config: || dinov2(384, 12, 6, false, 4),
        ..TEACHER
    },
    ZooEntry {
        name: "dinov2-b-reg",
        aliases: &["dinov2_vitb14_reg"],
        repo: "facebook/dinov2-with-registers-base",
        parameters: Some(86_583_552),
        config: || dinov2(768, 12, 12, false, 4),
        ..TEACHER
    },
    ZooEntry {
        name: "dinov2-l-reg",
        aliases: &["dinov2_vitl14_reg"],
        repo: "facebook/dinov2-with-registers-large",
        parameters: Some(304_372_736),
        config: || dinov2(1024, 24, 16, false, 4),
        ..TEACHER
    },
    ZooEntry {
        name: "dinov2-g-reg",
        aliases: &["dinov2_vitg14_reg"],
        repo: "facebook/dinov2-with-registers-giant",
        parameters: Some(1_136_486_912),
        config: || dinov2(1536, 40, 24, true, 4),
        published: &[published("knn_top1", 83.41), published("miou", 48.68)],
        ..TEACHER
    },
];

/// A transformers `config.json`.
fn dinov2(width: i64, layers: i64, heads: i64, swiglu: bool, registers: i64) -> Value {
    let model_type = match registers {
        0 => "dinov2",
        _ => "dinov2_with_registers",
    };
    json!({
        "model_type": model_type,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "mlp_ratio": 4,
        "image_size": 518,
        "patch_size": 14,
        "use_swiglu_ffn": swiglu,
        "layer_norm_eps": 1e-6,
        "num_register_tokens": registers,
    })
}
