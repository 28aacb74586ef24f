//! E-RADIO by name (spec radio.md §1 and §3.1).

use super::published::{TABLE_1, knn, paper_miou, sam_iou, speed, zero_shot};
use super::{NVIDIA_SOURCE_CODE, ZooEntry};
use crate::metrics::benchmark::VOC_2012;
use serde_json::{Value, json};

/// The args its checkpoint carries, as far as they shape the network.
fn args(model: &str) -> Value {
    json!({"model": model, "model_kwargs": {"return_full_features": true}})
}

const fn tiny(name: &'static str, patch: i64, parameters: i64, config: fn() -> Value) -> ZooEntry {
    ZooEntry {
        name,
        file: "",
        patch,
        step: 32,
        preferred: (512, 512),
        parameters: Some(parameters),
        config,
        ..ZooEntry::BASE
    }
}

pub static TABLE: &[ZooEntry] = &[
    ZooEntry {
        name: "e-radio_v2",
        aliases: &["e-radio"],
        repo: "nvidia/RADIO",
        file: "eradio_v2.pth.tar",
        folders: &["nvidia/E-RADIO"],
        teachers: &["DFN CLIP-H/14-378", "DINOv2-g/14", "SAM-H"],
        licence: NVIDIA_SOURCE_CODE,
        step: 32,
        preferred: (512, 512),
        adaptors: &["clip", "dino_v2", "dino_v2_large", "sam"],
        parameters: Some(389_598_784),
        config: || args("eradio"),
        published: &[
            zero_shot(80.73, TABLE_1, "clip").at(512).shortest_side(),
            knn(83.89, TABLE_1).at(512),
            paper_miou(48.22, TABLE_1, 512),
            paper_miou(81.64, TABLE_1, 512).on(&VOC_2012),
            sam_iou(76.31, TABLE_1),
            speed(468.0, TABLE_1, 512),
        ],
        ..ZooEntry::BASE
    },
    // Registered upstream, never released: for latency and tests, with random weights.
    tiny("eradio_xxxtiny", 16, 10_255_008, || args("eradio_xxxtiny")),
    tiny("eradio_xxxtiny_8x_ws12", 16, 6_258_016, || {
        args("eradio_xxxtiny_8x_ws12")
    }),
    tiny("eradio_xxxtiny_8x_ws16", 8, 6_275_424, || {
        args("eradio_xxxtiny_8x_ws16")
    }),
];
