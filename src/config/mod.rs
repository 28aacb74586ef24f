//! Files that users write: their schema, and errors that name file and line.

pub mod bench;
pub mod datasets;
pub mod toml_file;

pub use datasets::{DatasetConfig, DatasetLayout, DatasetTask, SplitConfig};
