//! The miniature teachers that ship with the tool (assets/mini).

use super::ZooEntry;
use crate::assets;
use crate::files::text;
use serde_json::Value;

/// Shipped weights are found by name; the config is the one beside them.
const MINI: ZooEntry = ZooEntry {
    role: "mini",
    file: "",
    licence: "CC0",
    ..ZooEntry::BASE
};

pub const TABLE: &[ZooEntry] = &[
    ZooEntry {
        name: "mini-clip",
        file: "open_clip_model.safetensors",
        preferred: (128, 128),
        adaptors: &["clip"],
        config: || config("mini-clip/open_clip_config.json"),
        ..MINI
    },
    ZooEntry {
        name: "mini-dino",
        file: "model.safetensors",
        patch: 14,
        step: 14,
        preferred: (126, 126),
        config: || config("mini-dino/config.json"),
        ..MINI
    },
    ZooEntry {
        name: "mini-sam",
        file: "model.safetensors",
        preferred: (256, 256),
        config: || config("mini-sam/config.json"),
        ..MINI
    },
];

/// `Null` where the assets are not there; building then says what is missing.
fn config(name: &str) -> Value {
    assets::path(&format!("mini/weights/{name}"))
        .ok()
        .and_then(|path| text::read_json(&path).ok())
        .unwrap_or_default()
}
