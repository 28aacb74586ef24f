//! Width and height from a file's header, without decoding it.

use super::jpeg;
use image::{ImageFormat, ImageReader};
use std::io::Cursor;

/// (width, height) that decoding an image gives, or `None` where only decoding tells: where the
/// header is damaged, not understood, or not the last word (a TIFF may be turned, a GIF may grow).
pub fn image_size(bytes: &[u8]) -> Option<(usize, usize)> {
    if jpeg::recognises(bytes) {
        return jpeg::size(bytes);
    }
    let reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .ok()?;
    let (width, height) = match reader.format()? {
        ImageFormat::Png | ImageFormat::WebP => reader.into_dimensions().ok()?,
        _ => return None,
    };
    Some((width as usize, height as usize))
}
