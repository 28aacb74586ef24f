//! Object detection on COCO-format data: average precision of anyone's detections (spec/coco.md
//! §3), and detectors trained on frozen features (§4).

pub mod ap;
mod frozen;
mod jitter;
pub mod recipe;
