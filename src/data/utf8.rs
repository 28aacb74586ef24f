//! Text files that users write.

use crate::{Error, Result};
use std::path::Path;

/// The text of a UTF-8 file, without a byte order mark; the error names the line that is not.
pub fn read(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|e| Error::file(path, e))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let valid = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
        Error::file(
            path,
            format!("line {line} is not UTF-8; save the file as UTF-8"),
        )
    })?;
    Ok(match text.strip_prefix('\u{FEFF}') {
        Some(text) => text.to_string(),
        None => text,
    })
}
