//! Text files that users write.

use crate::{Error, Result};
use std::path::Path;

/// The text of a UTF-8 file, without a byte order mark; the error names the line that is not.
pub fn read(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|e| Error::file(path, e))?;
    decode(bytes, path)
}

/// As [`read`], of what was read already; `path` is for messages. UTF-16 (Windows' "Unicode") is
/// read by its byte order mark.
pub fn decode(bytes: Vec<u8>, path: &Path) -> Result<String> {
    let wide = |from: fn([u8; 2]) -> u16| {
        let units = bytes.as_chunks::<2>().0.iter().map(|&pair| from(pair));
        let text: std::result::Result<String, _> = char::decode_utf16(units.skip(1)).collect();
        text.map_err(|_| Error::file(path, "is not UTF-16, as it begins; save it as UTF-8"))
    };
    match bytes.get(..2) {
        Some([0xff, 0xfe]) => return wide(u16::from_le_bytes),
        Some([0xfe, 0xff]) => return wide(u16::from_be_bytes),
        _ => {}
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_order_marks_are_no_text() {
        let text = |bytes: &[u8]| decode(bytes.to_vec(), Path::new("x")).unwrap();
        assert_eq!(text(b"\xef\xbb\xbfcat"), "cat");
        assert_eq!(text(b"\xff\xfec\0\xe9\0"), "c\u{e9}");
        assert_eq!(text(b"\xfe\xff\0c\0\xe9"), "c\u{e9}");
        let error = decode(b"a\n\xe9".to_vec(), Path::new("x")).unwrap_err();
        assert!(error.to_string().contains("line 2 is not UTF-8"));
    }
}
