//! What is measured: one module per task, each turning features into records.

pub mod cache;
pub mod classify;
mod contents;
pub mod detection;
pub mod extract;
pub mod features;
pub mod finished;
mod font;
pub mod knn;
pub mod latency;
mod palette;
pub mod pictures;
pub mod sam_swap;
pub mod segment_text;
pub mod segmentation;
pub mod sliding;
pub mod spatial;
pub mod verify;
pub mod visualize;
pub mod vlm_export;
pub mod zero_shot;

pub use finished::Finished;
