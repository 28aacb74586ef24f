//! What a weight file is, by its first bytes: extensions lie.

use super::lazy::Mapping;
use crate::{Error, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Safetensors,
    /// The zip container of `torch.save` and TorchScript.
    Zip,
    /// A stream of pickles: `torch.save` before PyTorch 1.6.
    Pickle,
}

/// Recognises the format, or says what the file is instead.
pub fn recognise(map: &Mapping) -> Result<Format> {
    let bytes = map.bytes();
    match bytes {
        [b'P', b'K', 3, 4, ..] => return Ok(Format::Zip),
        [0x80, 2..=5, ..] => return Ok(Format::Pickle),
        // A length of eight bytes, then a JSON object.
        [_, _, _, _, _, _, _, 0, b'{', ..] => return Ok(Format::Safetensors),
        _ => {}
    }
    Err(Error::file(
        map.path(),
        format!(
            "is not a weight file (safetensors or PyTorch): {}",
            instead(bytes)
        ),
    ))
}

fn instead(bytes: &[u8]) -> String {
    let head = &bytes[..bytes.len().min(512)];
    let text = String::from_utf8_lossy(head);
    let text = text.trim_start();
    if text.starts_with("version https://git-lfs") {
        return format!(
            "it is a Git LFS pointer ({}); run `git lfs pull` in its repository, or fetch the file itself",
            text.lines().skip(1).collect::<Vec<_>>().join(", ")
        );
    }
    if text.starts_with('<') {
        return "it is a web page; the download gave a page instead of the file (a login or an \
                error): fetch it again"
            .into();
    }
    if text.starts_with(['{', '[']) {
        return "it is JSON; name the weight file, or the folder that holds both".into();
    }
    match bytes {
        [0x1f, 0x8b, ..] | [0xfd, b'7', b'z', b'X', b'Z', ..] | [b'B', b'Z', b'h', ..] => {
            return "it is compressed; unpack it first".into();
        }
        [b'G', b'G', b'U', b'F', ..] => return "it is a GGUF file".into(),
        [0x89, b'H', b'D', b'F', ..] => return "it is an HDF5 file".into(),
        _ => {}
    }
    if bytes.get(257..262) == Some(b"ustar") {
        return "it is a tar archive; unpack it first".into();
    }
    if head.iter().all(|&b| b == 0) {
        return "it begins with zeros, as an interrupted download leaves it; fetch it again".into();
    }
    if head
        .iter()
        .all(|&b| b.is_ascii_graphic() || b.is_ascii_whitespace())
    {
        let line: String = text
            .lines()
            .next()
            .unwrap_or_default()
            .chars()
            .take(80)
            .collect();
        return format!("it is text that begins with `{line}`");
    }
    let magic: Vec<String> = bytes.iter().take(8).map(|b| format!("{b:02x}")).collect();
    format!("it begins with the bytes {}", magic.join(" "))
}
