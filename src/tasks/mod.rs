//! What is measured: one module per task, each turning features into records.

pub mod classify;
pub mod extract;
pub mod knn;
pub mod latency;
