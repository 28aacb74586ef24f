//! From files, folders and archives to batches of pixels.

pub mod source;

pub use source::{Sample, Source};
