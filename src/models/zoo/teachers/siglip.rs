//! SigLIP and SigLIP2 (spec/teachers.md §3).

use super::{SHARDED, TEACHER};
use crate::metrics::benchmark::VOC_2012;
use crate::models::zoo::ZooEntry;
use crate::models::zoo::published::{C_RADIO_V4, TABLE_1, knn, miou, paper_miou, speed, zero_shot};
use serde_json::{Value, json};

pub const SIGLIP: &[ZooEntry] = &[
    ZooEntry {
        name: "siglip-so400m-384",
        licence: "Apache-2.0",
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
            zero_shot(82.61, TABLE_1, "siglip").at(378).shortest_side(),
            knn(85.16, TABLE_1).at(378),
            paper_miou(40.53, TABLE_1, 378),
            paper_miou(70.31, TABLE_1, 378).on(&VOC_2012),
            speed(241.0, TABLE_1, 384),
        ],
        ..TEACHER
    },
    ZooEntry {
        name: "siglip2-g-384",
        licence: "Apache-2.0",
        aliases: &["siglip2-giant-opt-384"],
        repo: "google/siglip2-giant-opt-patch16-384",
        file: SHARDED,
        patch: 16,
        step: 16,
        preferred: (384, 384),
        adaptors: &["siglip2"],
        parameters: Some(1_163_659_776),
        config: siglip2_giant,
        published: &[
            zero_shot(84.75, C_RADIO_V4, "siglip2"),
            knn(86.39, C_RADIO_V4).of_unknown_shape(),
            miou(42.7, C_RADIO_V4),
            miou(72.7, C_RADIO_V4).on(&VOC_2012),
        ],
        hints: || json!({"adaptor": "siglip2"}),
        ..TEACHER
    },
    ZooEntry {
        name: "siglip2-so400m-naflex",
        licence: "Apache-2.0",
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
