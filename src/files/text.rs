//! Text files that people or their programs write: UTF-8, with or without a byte order mark, or
//! UTF-16 with one (Windows' "Unicode").

use crate::{Error, Result};
use serde::de::DeserializeOwned;
use std::path::Path;

/// The text of a file, without its byte order mark.
///
/// # Errors
/// [`Error::File`] where the file cannot be read; where it is not UTF-8, with the line; where it
/// looks like UTF-16 without a mark.
pub fn read(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|e| Error::file(path, e))?;
    decode(bytes, path)
}

/// As [`read`], of what was read already; `path` is for messages.
pub fn decode(bytes: Vec<u8>, path: &Path) -> Result<String> {
    let wide = |from: fn([u8; 2]) -> u16| {
        let units = bytes.as_chunks::<2>().0.iter().map(|&pair| from(pair));
        let text: std::result::Result<String, _> = char::decode_utf16(units.skip(1)).collect();
        text.map_err(|_| Error::file(path, "is not UTF-16, as it begins; save it as UTF-8"))
    };
    match bytes.as_slice() {
        // UTF-32's mark begins as UTF-16's.
        [0xff, 0xfe, 0, 0, ..] => return Err(Error::file(path, "is UTF-32; save it as UTF-8")),
        [0xff, 0xfe, ..] => return wide(u16::from_le_bytes),
        [0xfe, 0xff, ..] => return wide(u16::from_be_bytes),
        // A text of ASCII's characters, two bytes each.
        [0, other, ..] | [other, 0, ..] if *other != 0 => {
            return Err(Error::file(
                path,
                "looks like UTF-16 without a byte order mark; save it as UTF-8",
            ));
        }
        _ => {}
    }
    let mut text = String::from_utf8(bytes).map_err(|e| {
        let valid = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
        Error::file(
            path,
            format!("line {line} is not UTF-8; save the file as UTF-8"),
        )
    })?;
    if text.starts_with('\u{FEFF}') {
        text.drain(..'\u{FEFF}'.len_utf8());
    }
    Ok(text)
}

/// A JSON file.
///
/// # Errors
/// As [`read`]; [`Error::File`] where it is no JSON or not of this shape.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    serde_json::from_str(&read(path)?)
        .map_err(|e| Error::file(path, format!("not valid JSON: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_order_marks_are_no_text() {
        let text = |bytes: &[u8]| decode(bytes.to_vec(), Path::new("x")).unwrap();
        assert_eq!(text(b"\xef\xbb\xbfcat"), "cat");
        assert_eq!(text(b"\xff\xfec\0\xe9\0"), "c\u{e9}");
        assert_eq!(text(b"\xfe\xff\0c\0\xe9"), "c\u{e9}");
        assert_eq!(text(b""), "");
        assert_eq!(text(b"c"), "c");
    }

    #[test]
    fn other_encodings_are_named() {
        let fault = |bytes: &[u8]| {
            let error = decode(bytes.to_vec(), Path::new("x")).unwrap_err();
            error.to_string()
        };
        assert!(fault(b"a\n\xe9").contains("line 2 is not UTF-8"));
        assert!(fault(b"c\0a\0").contains("UTF-16 without a byte order mark"));
        assert!(fault(b"\0c\0a").contains("UTF-16 without a byte order mark"));
        assert!(fault(b"\xff\xfe\0\0c\0\0\0").contains("UTF-32"));
        assert!(fault(b"\xff\xfe\0\xd8").contains("is not UTF-16"));
    }
}
