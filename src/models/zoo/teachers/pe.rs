//! Perception Encoder (sizes: upstream's `core/vision_encoder/config.py`, of the smaller models as a
//! copy of its later state has it; licence: its `apps/pe/README.md`).

use super::TEACHER;
use crate::models::zoo::ZooEntry;
use serde_json::{Value, json};

const LICENCE: &str = "Apache-2.0";

/// What the entries of a size share.
const P16: ZooEntry = ZooEntry {
    licence: LICENCE,
    patch: 16,
    step: 16,
    preferred: (384, 384),
    ..TEACHER
};
const P14: ZooEntry = ZooEntry {
    licence: LICENCE,
    preferred: (448, 448),
    ..TEACHER
};

pub const PE: &[ZooEntry] = &[
    ZooEntry {
        name: "pe-core-t16-384",
        repo: "facebook/PE-Core-T16-384",
        file: "PE-Core-T16-384.pt",
        adaptors: &["clip"],
        parameters: Some(6_140_544),
        config: || core(384, 16, (192, 12, 3), 512),
        ..P16
    },
    ZooEntry {
        name: "pe-core-s16-384",
        repo: "facebook/PE-Core-S16-384",
        file: "PE-Core-S16-384.pt",
        adaptors: &["clip"],
        parameters: Some(23_782_656),
        config: || core(384, 16, (384, 12, 6), 512),
        ..P16
    },
    ZooEntry {
        name: "pe-core-b16-224",
        aliases: &["pe-core-b"],
        repo: "facebook/PE-Core-B16-224",
        file: "PE-Core-B16-224.pt",
        preferred: (224, 224),
        adaptors: &["clip"],
        parameters: Some(93_672_960),
        config: || core(224, 16, (768, 12, 12), 1024),
        ..P16
    },
    ZooEntry {
        name: "pe-core-l14-336",
        aliases: &["pe-core-l"],
        repo: "facebook/PE-Core-L14-336",
        file: "PE-Core-L14-336.pt",
        preferred: (336, 336),
        adaptors: &["clip"],
        parameters: Some(317_151_232),
        config: || core(336, 14, (1024, 24, 16), 1024),
        ..P14
    },
    ZooEntry {
        name: "pe-core-g14-448",
        aliases: &["pe-core-g"],
        repo: "facebook/PE-Core-G14-448",
        file: "PE-Core-G14-448.pt",
        adaptors: &["clip"],
        parameters: Some(1_882_032_640),
        config: || core(448, 14, (1536, 50, 16), 1280),
        ..P14
    },
    ZooEntry {
        name: "pe-spatial-t16-512",
        repo: "facebook/PE-Spatial-T16-512",
        file: "PE-Spatial-T16-512.pt",
        preferred: (512, 512),
        parameters: Some(5_683_200),
        config: || spatial(512, 16, (192, 12, 3)),
        ..P16
    },
    ZooEntry {
        name: "pe-spatial-s16-512",
        repo: "facebook/PE-Spatial-S16-512",
        file: "PE-Spatial-S16-512.pt",
        preferred: (512, 512),
        parameters: Some(21_983_232),
        config: || spatial(512, 16, (384, 12, 6)),
        ..P16
    },
    ZooEntry {
        name: "pe-spatial-b16-512",
        repo: "facebook/PE-Spatial-B16-512",
        file: "PE-Spatial-B16-512.pt",
        preferred: (512, 512),
        parameters: Some(86_433_792),
        config: || spatial(512, 16, (768, 12, 12)),
        ..P16
    },
    ZooEntry {
        name: "pe-spatial-l14-448",
        repo: "facebook/PE-Spatial-L14-448",
        file: "PE-Spatial-L14-448.pt",
        parameters: Some(303_964_160),
        config: || spatial(448, 14, (1024, 24, 16)),
        ..P14
    },
    ZooEntry {
        name: "pe-spatial-g14-448",
        aliases: &["pe-spatial-g"],
        repo: "facebook/PE-Spatial-G14-448",
        file: "PE-Spatial-G14-448.pt",
        parameters: Some(1_851_887_104),
        config: || spatial(448, 14, (1536, 50, 16)),
        ..P14
    },
];

/// The MLP of the G is 8960 wide.
fn ratio(width: i64) -> f64 {
    match width {
        1536 => 8960.0 / 1536.0,
        _ => 4.0,
    }
}

/// Upstream's `PEConfig` of a PE-Core.
fn core(image: i64, patch: i64, (width, layers, heads): (i64, i64, i64), joint: i64) -> Value {
    json!({
        "image_size": image,
        "patch_size": patch,
        "width": width,
        "layers": layers,
        "heads": heads,
        "mlp_ratio": ratio(width),
        "output_dim": joint,
        "use_rope2d": true,
        "use_cls_token": width != 1536,
        "pool_type": "attn",
        "attn_pooler_heads": 8,
    })
}

/// The same of a PE-Spatial: scales in the G only.
fn spatial(image: i64, patch: i64, size: (i64, i64, i64)) -> Value {
    let mut config = core(image, patch, size, 0);
    config["pool_type"] = json!("none");
    config["output_dim"] = Value::Null;
    if size.0 == 1536 {
        config["ls_init_value"] = json!(0.1);
    }
    config
}
