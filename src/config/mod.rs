//! Files that users write: their schema, and errors that name file and line.

pub mod datasets;
pub mod latency;
pub mod probe;
mod toml_file;

pub use datasets::{DatasetConfig, SplitConfig, Task};
