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

use super::ZooEntry;
use serde_json::Value;

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
