//! DINOv2 and DINOv3 (spec/teachers.md §4).

use super::TEACHER;
use crate::metrics::benchmark::VOC_2012;
use crate::models::zoo::ZooEntry;
use crate::models::zoo::published::{C_RADIO_V4, TABLE_1, knn, miou, paper_miou, speed};
use serde_json::{Value, json};

pub const DINOV2: &[ZooEntry] = &[
    ZooEntry {
        name: "dinov2-s",
        licence: "Apache-2.0",
        aliases: &["dinov2_vits14"],
        repo: "facebook/dinov2-small",
        parameters: Some(22_056_576),
        config: || dinov2(384, 12, 6, false, 0),
        ..TEACHER
    },
    ZooEntry {
        name: "dinov2-b",
        licence: "Apache-2.0",
        aliases: &["dinov2_vitb14"],
        repo: "facebook/dinov2-base",
        parameters: Some(86_580_480),
        config: || dinov2(768, 12, 12, false, 0),
        ..TEACHER
    },
    ZooEntry {
        name: "dinov2-l",
        licence: "Apache-2.0",
        aliases: &["dinov2_vitl14"],
        repo: "facebook/dinov2-large",
        parameters: Some(304_368_640),
        config: || dinov2(1024, 24, 16, false, 0),
        ..TEACHER
    },
    ZooEntry {
        name: "dinov2-g",
        licence: "Apache-2.0",
        aliases: &["dinov2_vitg14"],
        repo: "facebook/dinov2-giant",
        parameters: Some(1_136_480_768),
        config: || dinov2(1536, 40, 24, true, 0),
        ..TEACHER
    },
    ZooEntry {
        name: "dinov2-s-reg",
        licence: "Apache-2.0",
        aliases: &["dinov2_vits14_reg"],
        repo: "facebook/dinov2-with-registers-small",
        parameters: Some(22_058_112),
        config: || dinov2(384, 12, 6, false, 4),
        ..TEACHER
    },
    ZooEntry {
        name: "dinov2-b-reg",
        licence: "Apache-2.0",
        aliases: &["dinov2_vitb14_reg"],
        repo: "facebook/dinov2-with-registers-base",
        parameters: Some(86_583_552),
        config: || dinov2(768, 12, 12, false, 4),
        ..TEACHER
    },
    ZooEntry {
        name: "dinov2-l-reg",
        licence: "Apache-2.0",
        aliases: &["dinov2_vitl14_reg"],
        repo: "facebook/dinov2-with-registers-large",
        parameters: Some(304_372_736),
        config: || dinov2(1024, 24, 16, false, 4),
        ..TEACHER
    },
    ZooEntry {
        name: "dinov2-g-reg",
        licence: "Apache-2.0",
        aliases: &["dinov2_vitg14_reg"],
        repo: "facebook/dinov2-with-registers-giant",
        parameters: Some(1_136_486_912),
        config: || dinov2(1536, 40, 24, true, 4),
        published: &[
            knn(83.41, TABLE_1).at(224),
            paper_miou(48.68, TABLE_1, 518),
            paper_miou(82.78, TABLE_1, 518).on(&VOC_2012),
            speed(294.0, TABLE_1, 224),
        ],
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

pub const DINOV3: &[ZooEntry] = &[
    ZooEntry {
        name: "dinov3-s",
        licence: "DINOv3 License",
        aliases: &["dinov3_vits16"],
        repo: "facebook/dinov3-vits16-pretrain-lvd1689m",
        patch: 16,
        step: 16,
        config: || dinov3(384, 12, 6, 1536, false),
        ..TEACHER
    },
    ZooEntry {
        name: "dinov3-b",
        licence: "DINOv3 License",
        aliases: &["dinov3_vitb16"],
        repo: "facebook/dinov3-vitb16-pretrain-lvd1689m",
        patch: 16,
        step: 16,
        config: || dinov3(768, 12, 12, 3072, false),
        ..TEACHER
    },
    ZooEntry {
        name: "dinov3-l",
        licence: "DINOv3 License",
        aliases: &["dinov3_vitl16"],
        repo: "facebook/dinov3-vitl16-pretrain-lvd1689m",
        patch: 16,
        step: 16,
        config: || dinov3(1024, 24, 16, 4096, false),
        ..TEACHER
    },
    ZooEntry {
        name: "dinov3-h",
        licence: "DINOv3 License",
        aliases: &["dinov3_vith16plus"],
        repo: "facebook/dinov3-vith16plus-pretrain-lvd1689m",
        patch: 16,
        step: 16,
        config: || dinov3(1280, 32, 20, 5120, true),
        published: &[
            knn(85.77, C_RADIO_V4).of_unknown_shape(),
            miou(54.8, C_RADIO_V4).at(512),
        ],
        ..TEACHER
    },
    ZooEntry {
        name: "dinov3-7b",
        licence: "DINOv3 License",
        aliases: &["dinov3_vit7b16"],
        repo: "facebook/dinov3-vit7b16-pretrain-lvd1689m",
        patch: 16,
        step: 16,
        config: || dinov3(4096, 40, 32, 8192, true),
        published: &[
            knn(85.42, C_RADIO_V4).of_unknown_shape(),
            miou(55.9, C_RADIO_V4).at(512),
            miou(57.3, C_RADIO_V4).at(1024),
            miou(57.8, C_RADIO_V4).at(1536),
            miou(86.6, C_RADIO_V4).on(&VOC_2012),
        ],
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
