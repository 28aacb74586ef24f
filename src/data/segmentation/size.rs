//! Width and height from a file's header, without decoding it.

use std::io::Cursor;

/// (width, height) that decoding an image gives, or `None` where only decoding tells: where the
/// header is not understood, or is not the last word (a TIFF may be turned, a GIF may grow).
pub fn image_size(bytes: &[u8]) -> Option<(usize, usize)> {
    if bytes.starts_with(&[0xff, 0xd8]) {
        return jpeg_size(bytes);
    }
    let reader = image::ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .ok()?;
    let (width, height) = reader.into_dimensions().ok()?;
    Some((width as usize, height as usize))
}

/// The frame header (SOF0..SOF15 except DHT, JPG and DAC; ITU T.81 B.2.2).
fn jpeg_size(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut at = 2;
    loop {
        while *bytes.get(at)? != 0xff {
            at += 1;
        }
        while *bytes.get(at)? == 0xff {
            at += 1;
        }
        let marker = bytes[at];
        let body = bytes.get(at + 1..)?;
        let number =
            |i: usize| Some(usize::from(*body.get(i)?) << 8 | usize::from(*body.get(i + 1)?));
        match marker {
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                return Some((number(5)?, number(3)?));
            }
            0x01 | 0xd0..=0xd8 => at += 1,
            0xd9 | 0xda => return None,
            _ => at += 1 + number(0)?,
        }
    }
}
