//! The teachers of AM-RADIO and its successors (spec/published.md §3 "Teacher definitions",
//! spec/teachers.md §2-5).
//!
//! The config of an entry is what its weights would carry, so that `--random-weights` builds the
//! network at full size.

mod clip;
mod dino;
mod franca;
mod internvit;
mod pe;
mod sam;
mod siglip;

pub use clip::CLIP;
pub use dino::{DINOV2, DINOV3};
pub use franca::FRANCA;
pub use internvit::INTERNVIT;
pub use pe::PE;
pub use sam::SAM;
pub use siglip::SIGLIP;

use super::ZooEntry;

/// The index of weights in several files.
const SHARDED: &str = "model.safetensors.index.json";

/// What most entries share; the rest is given entry by entry.
const TEACHER: ZooEntry = ZooEntry {
    role: "teacher",
    patch: 14,
    step: 14,
    preferred: (224, 224),
    ..ZooEntry::BASE
};
