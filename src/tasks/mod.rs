//! What is measured: one module per task, each turning features into records.

pub mod cache;
pub mod classify;
mod contents;
pub mod extract;
pub mod features;
pub mod finished;
pub mod knn;
pub mod latency;
pub mod sam_swap;
pub mod segmentation;
pub mod verify;
pub mod visualize;
pub mod vlm_export;
pub mod zero_shot;

pub use finished::Finished;
