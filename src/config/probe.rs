//! Recipe files of the linear probe: TOML with the names of the recipe's values.

use super::toml_file;
use crate::{Error, Result};
use serde_json::{Map, Value};
use std::path::Path;

/// Reads a recipe file. Names and types are checked where it is laid over a preset.
pub fn read(path: &Path) -> Result<Map<String, Value>> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::file(path, e))?;
    toml_file::parse(path, &text)
}
