//! What is measured: one module per task, each turning features into records.

pub mod classify;
pub mod extract;
pub mod features;
pub mod knn;
pub mod latency;
pub mod segmentation;
pub mod verify;
pub mod vlm_export;
pub mod zero_shot;
