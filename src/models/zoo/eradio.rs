//! E-RADIO by name (spec radio.md §1 and §3.1).

use super::{Published, ZooEntry, speed};
use serde_json::{Value, json};

/// arXiv 2312.06709v5 Table 1, row E-RADIO-L at 512 px (trust V in spec/published.md §1.1).
const TABLE_1: &str = "arXiv 2312.06709v5 Table 1 (512 px)";

const fn table1(metric: &'static str, value: f64) -> Published {
    Published {
        metric,
        value,
        source: TABLE_1,
    }
}

/// The args its checkpoint carries, as far as they shape the network.
fn args(model: &str) -> Value {
    json!({"model": model, "model_kwargs": {"return_full_features": true}})
}

const fn tiny(name: &'static str, patch: i64, parameters: i64, config: fn() -> Value) -> ZooEntry {
    ZooEntry {
        name,
        aliases: &[],
        role: "student",
        repo: "",
        file: "",
        patch,
        step: 32,
        preferred: (512, 512),
        adaptors: &[],
        parameters: Some(parameters),
        config,
        hints: || Value::Null,
        published: &[],
        published_speed: None,
    }
}

pub static TABLE: &[ZooEntry] = &[
    ZooEntry {
        name: "e-radio_v2",
        aliases: &["e-radio"],
        role: "student",
        repo: "nvidia/RADIO",
        file: "eradio_v2.pth.tar",
        patch: 16,
        step: 32,
        preferred: (512, 512),
        adaptors: &["clip", "dino_v2", "dino_v2_large", "sam"],
        parameters: Some(389_598_784),
        config: || args("eradio"),
        hints: || Value::Null,
        published: &[
            table1("zero_shot_top1", 80.73),
            table1("knn_top1", 83.89),
            table1("miou", 48.22),
            table1("sam_iou", 76.31),
        ],
        published_speed: speed(468.0, 512),
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
