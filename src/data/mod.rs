//! From files, folders and archives to batches of pixels.

pub mod brace;
pub mod catalogue;
pub mod classification;
pub mod fingerprint;
pub mod labelled;
pub mod source;
pub mod tree;

pub use source::{Sample, Source};
