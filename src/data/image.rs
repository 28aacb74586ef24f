//! Pixels in memory.

use std::borrow::Cow;

/// Most pixels per side that a network's input, a crop or a resized image may have: larger than
/// any model takes. Files may hold larger images.
pub const MAX_SIDE: i64 = 16_384;

/// An 8-bit RGB image: rows from the top, pixels from the left, channels interleaved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RgbImage {
    pub width: usize,
    pub height: usize,
    /// `height * width * 3` bytes.
    pub data: Vec<u8>,
}

impl RgbImage {
    /// A black image.
    pub fn black(width: usize, height: usize) -> Self {
        RgbImage {
            width,
            height,
            data: vec![0; width * height * 3],
        }
    }

    /// Row `y`: `width * 3` bytes.
    pub fn row(&self, y: usize) -> &[u8] {
        &self.data[y * self.width * 3..(y + 1) * self.width * 3]
    }
}

/// A rectangle of an image, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    pub x: usize,
    pub y: usize,
    pub width: usize,
    pub height: usize,
}

impl Region {
    /// All of an image.
    pub fn whole(width: usize, height: usize) -> Self {
        Region {
            x: 0,
            y: 0,
            width,
            height,
        }
    }
}

/// A rectangle that was cut out of a larger image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cutout<'a> {
    pub pixels: Cow<'a, RgbImage>,
    /// Its top left in the whole image.
    pub x: usize,
    pub y: usize,
    /// Size of the whole image.
    pub width: usize,
    pub height: usize,
}

impl<'a> From<Cow<'a, RgbImage>> for Cutout<'a> {
    fn from(pixels: Cow<'a, RgbImage>) -> Self {
        Cutout {
            x: 0,
            y: 0,
            width: pixels.width,
            height: pixels.height,
            pixels,
        }
    }
}

impl<'a> From<&'a RgbImage> for Cutout<'a> {
    fn from(image: &'a RgbImage) -> Self {
        Cow::Borrowed(image).into()
    }
}

impl From<RgbImage> for Cutout<'_> {
    fn from(image: RgbImage) -> Self {
        Cow::<RgbImage>::Owned(image).into()
    }
}
