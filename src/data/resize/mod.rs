//! Pillow's 8-bit resampling, byte for byte.
//!
//! What Pillow up to 12 computes (spec/radio.md §5.2): a horizontal pass over the rows that the
//! vertical pass reads, rounded to bytes, then the vertical pass, both in 22-bit fixed point. A
//! pass that keeps the size is left out. (Pillow 13 sometimes runs the vertical pass first, which
//! rounds differently; libtorch's antialiased resize keeps floats between the passes.)

#[cfg(target_arch = "x86_64")]
mod avx2;
mod nearest;
mod portable;
mod taps;

use super::image::RgbImage;
use taps::Taps;

/// Resampling filter, by Pillow's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    Nearest,
    Bilinear,
    Bicubic,
}

/// A rectangle of the resized image, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    pub x: usize,
    pub y: usize,
    pub width: usize,
    pub height: usize,
}

/// `Image.resize((width, height), filter)` of Pillow up to 12.
pub fn resize(image: &RgbImage, width: usize, height: usize, filter: Filter) -> RgbImage {
    let all = Region {
        x: 0,
        y: 0,
        width,
        height,
    };
    resize_region(image, width, height, filter, all)
}

/// The part `region` of what [`resize`] gives, without computing the rest.
pub fn resize_region(
    image: &RgbImage,
    width: usize,
    height: usize,
    filter: Filter,
    region: Region,
) -> RgbImage {
    if region.width == 0 || region.height == 0 {
        return RgbImage::black(region.width, region.height);
    }
    if filter == Filter::Nearest {
        return nearest::resize(image, width, height, region);
    }
    let columns = Taps::cached(image.width, width, filter);
    let rows = Taps::cached(image.height, height, filter);
    let needed = rows.span(region.y, region.height);
    let wide = horizontal(image, needed.clone(), &columns, region.x, region.width);
    vertical(&wide, needed.start, &rows, region.y, region.height)
}

/// Resamples the rows `needed` along x, for output columns `x .. x + width`.
fn horizontal(
    image: &RgbImage,
    needed: std::ops::Range<usize>,
    taps: &Taps,
    x: usize,
    width: usize,
) -> RgbImage {
    let mut out = RgbImage::black(width, needed.len());
    if taps.is_identity() {
        for (line, y) in out.data.chunks_exact_mut(width * 3).zip(needed) {
            line.copy_from_slice(&image.row(y)[x * 3..(x + width) * 3]);
        }
        return out;
    }
    #[cfg(target_arch = "x86_64")]
    if avx2::available() {
        // SAFETY: the processor has AVX2.
        unsafe { avx2::horizontal(image, needed, taps, x, &mut out) };
        return out;
    }
    portable::horizontal(image, needed, taps, x, &mut out);
    out
}

/// Resamples along y, for output rows `y .. y + height`; the first row of `image` is input row
/// `first`.
fn vertical(image: &RgbImage, first: usize, taps: &Taps, y: usize, height: usize) -> RgbImage {
    let mut out = RgbImage::black(image.width, height);
    if taps.is_identity() {
        let start = (y - first) * image.width * 3;
        let length = out.data.len();
        out.data.copy_from_slice(&image.data[start..start + length]);
        return out;
    }
    for (line, o) in out.data.chunks_exact_mut(image.width * 3).zip(y..) {
        let (start, weights) = taps.of(o);
        #[cfg(target_arch = "x86_64")]
        if avx2::available() {
            // SAFETY: the processor has AVX2.
            unsafe { avx2::vertical(image, start - first, weights, line) };
            continue;
        }
        portable::vertical(image, start - first, weights, line);
    }
    out
}
