//! Encoded bytes to RGB pixels, as Pillow 11.3's `Image.open(..).convert("RGB")` gives them.
//!
//! EXIF orientation is ignored, as Pillow ignores it unless asked, but that of TIFF is obeyed, as
//! Pillow obeys it. A truncated file is an error, as in Pillow. Colour profiles are not applied.

mod bmp;
mod gif;
mod jpeg;
mod orient;
mod other;
mod pnm;
mod size;
mod tiff;

pub use super::image::RgbImage;
use super::image::{Cutout, Region};
use crate::runtime::guard;
pub use size::image_size;

/// What a file may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest width x height. Default: Pillow's error bound, twice `MAX_IMAGE_PIXELS`.
    pub max_pixels: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_pixels: 2 * (1024 * 1024 * 1024 / 4 / 3),
        }
    }
}

impl Limits {
    /// An error where an image of this size exceeds the limit.
    pub fn check(&self, width: usize, height: usize) -> Result<(), String> {
        if width as u64 * height as u64 > self.max_pixels {
            return Err(format!(
                "{width}x{height} pixels exceed the limit of {} (a decompression bomb?)",
                self.max_pixels
            ));
        }
        if width == 0 || height == 0 {
            return Err("the image has no pixels".into());
        }
        Ok(())
    }

    /// An error where resizing an image of `from` (height, width) to `to` exceeds the limit.
    pub fn check_resized(&self, from: (usize, usize), to: (usize, usize)) -> Result<(), String> {
        if to.0 as u128 * to.1 as u128 <= u128::from(self.max_pixels) {
            return Ok(());
        }
        Err(format!(
            "resizing {}x{} pixels to {}x{} would exceed the limit of {} pixels",
            from.1, from.0, to.1, to.0, self.max_pixels
        ))
    }
}

/// Decodes an image of any supported format, recognised by its first bytes.
///
/// # Errors
/// A sentence for the caller to put behind the file's name: unknown format, damaged or truncated
/// data, more pixels than `limits` allow.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<RgbImage, String> {
    let part = decode_part(bytes, limits, |height, width| Region::whole(width, height))?;
    Ok(part.pixels.into_owned())
}

/// At least the pixels in `needed(height, width)` of what [`decode`] gives, without computing all
/// others; the same errors.
pub fn decode_part(
    bytes: &[u8],
    limits: &Limits,
    needed: impl Fn(usize, usize) -> Region,
) -> Result<Cutout<'static>, String> {
    if jpeg::recognises(bytes) {
        return jpeg::decode(bytes, limits, needed);
    }
    let known: [(Recogniser, Decoder); 4] = [
        (bmp::recognises, bmp::decode),
        (gif::recognises, gif::decode),
        (pnm::recognises, pnm::decode),
        (tiff::recognises, tiff::decode),
    ];
    let own = known.iter().find(|(recognises, _)| recognises(bytes));
    let decode = own.map_or(other::decode as Decoder, |(_, decode)| *decode);
    let image = guard::catch(|| decode(bytes, limits));
    let image = image.map_err(|panic| format!("is damaged; its reader gave up ({panic})"))?;
    image.map(Cutout::from)
}

/// Whether a file begins as one of a format does.
type Recogniser = fn(&[u8]) -> bool;
/// From a whole file to all of its pixels.
type Decoder = fn(&[u8], &Limits) -> Result<RgbImage, String>;
