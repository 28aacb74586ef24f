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

/// The index of weights in several files.
const SHARDED: &str = "model.safetensors.index.json";

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

pub const SIGLIP: &[ZooEntry] = &[
    ZooEntry {
        name: "siglip-so400m-384",
        aliases: &["siglip-so400m", "siglip"],
        repo: "timm/ViT-SO400M-14-SigLIP-384",
        file: "open_clip_model.safetensors",
        // AM-RADIO's evaluator: the last 6 of 384 pixels fill no patch.
        preferred: (378, 378),
        adaptors: &["siglip"],
        parameters: Some(428_225_600),
        config: siglip_so400m,
        hints: || json!({"adaptor": "siglip"}),
        published: &[
            published("zero_shot_top1", 82.61),
            published("knn_top1", 85.16),
            published("miou", 40.53),
        ],
        ..TEACHER
    },
    ZooEntry {
        name: "siglip2-g-384",
        aliases: &["siglip2-giant-opt-384"],
        repo: "google/siglip2-giant-opt-patch16-384",
        file: SHARDED,
        patch: 16,
        step: 16,
        preferred: (384, 384),
        adaptors: &["siglip2"],
        parameters: Some(1_163_659_776),
        config: siglip2_giant,
        hints: || json!({"adaptor": "siglip2"}),
        ..TEACHER
    },
    ZooEntry {
        name: "siglip2-so400m-naflex",
        repo: "google/siglip2-so400m-patch16-naflex",
        patch: 16,
        step: 16,
        preferred: (256, 256),
        adaptors: &["siglip2"],
        config: siglip2_naflex,
        hints: || json!({"adaptor": "siglip2"}),
        ..TEACHER
    },
];

/// An `open_clip_config.json`; real ones imply the trunk by timm's model name.
fn siglip_so400m() -> Value {
    json!({"model_cfg": {
        "embed_dim": 1152,
        "init_logit_bias": -10,
        "custom_text": true,
        "vision_cfg": {
            "image_size": 384,
            "timm_model_name": "vit_so400m_patch14_siglip_384",
            "timm_pool": "map",
            "timm_proj": "none",
        },
        "text_cfg": {
            "context_length": 64,
            "vocab_size": 32000,
            "width": 1152,
            "heads": 16,
            "layers": 27,
            "mlp_ratio": 3.7362,
            "no_causal_mask": true,
            "proj_bias": true,
            "pool_type": "last",
            "norm_kwargs": {"eps": 1e-6},
        },
        "_trunk": {
            "img_size": 384,
            "patch_size": 14,
            "embed_dim": 1152,
            "depth": 27,
            "num_heads": 16,
            "mlp_hidden": 4304,
            "act": "gelu",
            "eps": 1e-6,
        },
    }})
}

/// A transformers `config.json`.
fn siglip2_giant() -> Value {
    json!({
        "model_type": "siglip",
        "text_config": siglip2_text(1536),
        "vision_config": {
            "hidden_size": 1536,
            "intermediate_size": 6144,
            "num_hidden_layers": 40,
            "num_attention_heads": 16,
            "image_size": 384,
            "patch_size": 16,
            "hidden_act": "gelu_pytorch_tanh",
            "layer_norm_eps": 1e-6,
        },
    })
}

fn siglip2_naflex() -> Value {
    json!({
        "model_type": "siglip2",
        "text_config": siglip2_text(1152),
        "vision_config": {
            "hidden_size": 1152,
            "intermediate_size": 4304,
            "num_hidden_layers": 27,
            "num_attention_heads": 16,
            "num_patches": 256,
            "patch_size": 16,
            "hidden_act": "gelu_pytorch_tanh",
            "layer_norm_eps": 1e-6,
        },
    })
}

fn siglip2_text(projection: i64) -> Value {
    json!({
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_hidden_layers": 27,
        "num_attention_heads": 16,
        "max_position_embeddings": 64,
        "vocab_size": 256_000,
        "projection_size": projection,
        "hidden_act": "gelu_pytorch_tanh",
        "layer_norm_eps": 1e-6,
    })
}

pub const SAM: &[ZooEntry] = &[
    ZooEntry {
        name: "sam-b",
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
        aliases: &["sam_vit_h"],
        repo: "facebook/sam-vit-huge",
        patch: 16,
        step: 16,
        preferred: (1024, 1024),
        parameters: Some(637_026_048),
        config: || sam(1280, 32, 16, [7, 15, 23, 31]),
        published: &[
            published("knn_top1", 22.12),
            published("miou", 28.08),
            published("sam_iou", 77.18),
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

pub const DINOV3: &[ZooEntry] = &[
    ZooEntry {
        name: "dinov3-s",
        aliases: &["dinov3_vits16"],
        repo: "facebook/dinov3-vits16-pretrain-lvd1689m",
        patch: 16,
        step: 16,
        config: || dinov3(384, 12, 6, 1536, false),
        ..TEACHER
    },
    ZooEntry {
        name: "dinov3-b",
        aliases: &["dinov3_vitb16"],
        repo: "facebook/dinov3-vitb16-pretrain-lvd1689m",
        patch: 16,
        step: 16,
        config: || dinov3(768, 12, 12, 3072, false),
        ..TEACHER
    },
    ZooEntry {
        name: "dinov3-l",
        aliases: &["dinov3_vitl16"],
        repo: "facebook/dinov3-vitl16-pretrain-lvd1689m",
        patch: 16,
        step: 16,
        config: || dinov3(1024, 24, 16, 4096, false),
        ..TEACHER
    },
    ZooEntry {
        name: "dinov3-h",
        aliases: &["dinov3_vith16plus"],
        repo: "facebook/dinov3-vith16plus-pretrain-lvd1689m",
        patch: 16,
        step: 16,
        config: || dinov3(1280, 32, 20, 5120, true),
        ..TEACHER
    },
    ZooEntry {
        name: "dinov3-7b",
        aliases: &["dinov3_vit7b16"],
        repo: "facebook/dinov3-vit7b16-pretrain-lvd1689m",
        patch: 16,
        step: 16,
        config: || dinov3(4096, 40, 32, 8192, true),
        ..TEACHER
    },
];

/// A transformers `config.json`; only the 7B has no bias on qkv.
fn dinov3(width: i64, layers: i64, heads: i64, hidden: i64, gated: bool) -> Value {
    json!({
        "model_type": "dinov3_vit",
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": hidden,
        "image_size": 224,
        "patch_size": 16,
        "use_gated_mlp": gated,
        "query_bias": width < 4096,
        "layer_norm_eps": 1e-5,
        "num_register_tokens": 4,
        "rope_theta": 100.0,
    })
}

pub const INTERNVIT: &[ZooEntry] = &[
    ZooEntry {
        name: "internvit-6b-224",
        aliases: &["internvit-6b"],
        repo: "OpenGVLab/InternViT-6B-224px",
        file: SHARDED,
        parameters: Some(5_902_793_600),
        config: || internvit(224, 48),
        published: &[published("knn_top1", 78.43), published("miou", 47.20)],
        ..TEACHER
    },
    ZooEntry {
        name: "internvit-6b-448",
        repo: "OpenGVLab/InternViT-6B-448px-V1-2",
        file: SHARDED,
        preferred: (448, 448),
        parameters: Some(5_536_496_000),
        config: || internvit(448, 45),
        published: &[published("knn_top1", 68.64), published("miou", 42.78)],
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
