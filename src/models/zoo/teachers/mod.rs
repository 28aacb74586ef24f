//! The teachers of AM-RADIO and its successors (spec/published.md §3 "Teacher definitions",
//! spec/teachers.md §2-5).
//!
//! The config of an entry is what its weights would carry, so that `--random-weights` builds the
//! network at full size.

mod clip;
mod dino;
mod internvit;
mod sam;
mod siglip;

pub use clip::CLIP;
pub use dino::{DINOV2, DINOV3};
pub use internvit::INTERNVIT;
pub use sam::SAM;
pub use siglip::SIGLIP;

use super::{Published, ZooEntry};
use serde_json::Value;

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
    published_speed: None,
};
