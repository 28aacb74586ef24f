//! TOML with errors at their line.

use crate::{Error, Result};
use serde::de::DeserializeOwned;
use std::ops::Range;
use std::path::Path;

/// Parses `text` of the file `path`.
pub fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T> {
    toml::from_str(text).map_err(|e| match e.span() {
        Some(span) => at(path, text, span, e.message().trim_end()),
        None => Error::file(path, e.message()),
    })
}

/// An error about the part `span` (bytes) of a file.
pub fn at(path: &Path, text: &str, span: Range<usize>, reason: impl std::fmt::Display) -> Error {
    let before = &text.as_bytes()[..span.start.min(text.len())];
    let line = 1 + before.iter().filter(|&&b| b == b'\n').count();
    Error::file(path, format!("line {line}: {reason}"))
}
