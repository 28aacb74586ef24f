//! Object detection on COCO-format data: average precision of anyone's detections (spec/coco.md
//! §3), and detectors trained on frozen features (§4).

pub mod ap;
mod batches;
pub mod detect;
mod draw;
mod evaluate;
mod frozen;
mod head_file;
mod jitter;
mod output;
pub mod recipe;
mod results_file;
mod trainer;
mod training;

pub use head_file::HeadFile;
pub use recipe::{GridRule, Preset, Recipe};
