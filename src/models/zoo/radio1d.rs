//! RADIO1D (spec/radio1d.md §1).
//!
//! The released config was not at hand: four cls tokens and six registers are a third party's
//! reading, where tokens merge and split follows from parameter counts, and the teachers are the
//! model card's. A checkpoint's own args and tensors always win; this is for `--random-weights`.

use super::{NVIDIA_OPEN, ZooEntry};
use serde_json::json;

pub const TABLE: &[ZooEntry] = &[ZooEntry {
    name: "c-radio_v4-1d-h",
    aliases: &["radio1d"],
    repo: "nvidia/C-RADIOv4-1D-H",
    preferred: (512, 512),
    // Encoder 1,140,032,000, decoder 311,567,360.
    parameters: Some(1_451_599_360),
    config: || {
        json!({"args": {
            "model": "radio1d_huge_patch16_224",
            "cls_token_per_teacher": true,
            "teachers": [
                {"name": "siglip2-g", "use_summary": true},
                {"name": "dino_v3", "use_summary": true},
                {"name": "sam3", "use_summary": false},
            ],
            "mlp_version": "v2",
            "model_kwargs": {
                "num_cls_tokens": 4,
                "num_registers": 6,
                "cpe_max_size": 2048,
                "downscale_levels": [24],
                "decoder_depth": 6,
            },
        }})
    },
    hints: || json!({"pos_align_corners": false, "preferred": [512, 512]}),
    teachers: &["SigLIP2-g-384", "DINOv3-7B", "SAM3"],
    licence: NVIDIA_OPEN,
    ..ZooEntry::BASE
}];
