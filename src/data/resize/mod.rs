//! Pillow's 8-bit resampling, byte for byte.
//!
//! What Pillow up to 12 computes (spec/radio.md §5.2): a horizontal pass over the rows that the
//! vertical pass reads, rounded to bytes, then the vertical pass, both in 22-bit fixed point. A
//! pass that keeps the size is left out. (Pillow 13 sometimes runs the vertical pass first, which
//! rounds differently; libtorch's antialiased resize keeps floats between the passes.)

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod nearest;
mod portable;
mod taps;
#[cfg(test)]
mod tests;

pub use super::image::Region;
use super::image::{Cutout, RgbImage};
pub use nearest::positions as nearest_positions;
use taps::{Columns, Taps};

/// Resampling filter, by Pillow's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    Nearest,
    Bilinear,
    Bicubic,
}

/// What to make of an image: `region` of its resized form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Size of the whole resized image.
    pub width: usize,
    pub height: usize,
    pub filter: Filter,
    pub region: Region,
}

/// `Image.resize((width, height), filter)` of Pillow up to 12.
pub fn resize(image: &RgbImage, width: usize, height: usize, filter: Filter) -> RgbImage {
    let target = Target {
        width,
        height,
        filter,
        region: Region::whole(width, height),
    };
    target.apply(&image.into())
}

impl Target {
    fn is_empty(&self) -> bool {
        self.region.width == 0 || self.region.height == 0
    }

    /// The pixels that are read of an image of `width` x `height`.
    pub fn reads(&self, width: usize, height: usize) -> Region {
        // Nearest neighbour is rare, and its cost is the decoding.
        if self.filter == Filter::Nearest || self.is_empty() {
            return Region::whole(width, height);
        }
        let span = |input, output, start, count| {
            Taps::cached(input, output, self.filter).span(start, count)
        };
        let columns = span(width, self.width, self.region.x, self.region.width);
        let rows = span(height, self.height, self.region.y, self.region.height);
        Region {
            x: columns.start,
            y: rows.start,
            width: columns.len(),
            height: rows.len(),
        }
    }

    /// The result for an image of which `part` holds at least what [`Target::reads`] says.
    pub fn apply(&self, part: &Cutout) -> RgbImage {
        let region = self.region;
        if self.is_empty() {
            return RgbImage::black(region.width, region.height);
        }
        if self.filter == Filter::Nearest {
            return nearest::resize(part, self);
        }
        let columns = Taps::cached(part.width, self.width, self.filter);
        let rows = Taps::cached(part.height, self.height, self.filter);
        let needed = rows.span(region.y, region.height);
        let columns = Columns {
            taps: &columns,
            start: region.x,
            origin: part.x,
        };
        let rows_in_part = needed.start - part.y..needed.end - part.y;
        let wide = horizontal(&part.pixels, rows_in_part, &columns, region.width);
        vertical(&wide, needed.start, &rows, region.y, region.height)
    }
}

/// Resamples the rows `needed` along x to `width` columns.
fn horizontal(
    image: &RgbImage,
    needed: std::ops::Range<usize>,
    columns: &Columns,
    width: usize,
) -> RgbImage {
    let mut out = RgbImage::black(width, needed.len());
    if columns.taps.is_identity() {
        let first = columns.start - columns.origin;
        for (line, y) in out.data.chunks_exact_mut(width * 3).zip(needed) {
            line.copy_from_slice(&image.row(y)[first * 3..(first + width) * 3]);
        }
        return out;
    }
    #[cfg(target_arch = "x86_64")]
    if avx512::available()
        && let Some(pass) = avx512::Horizontal::new(columns, width)
    {
        // SAFETY: the processor has what it takes.
        unsafe { pass.apply(image, needed, &mut out) };
        return out;
    }
    #[cfg(target_arch = "x86_64")]
    if avx2::available() {
        // SAFETY: the processor has AVX2.
        unsafe { avx2::horizontal(image, needed, columns, &mut out) };
        return out;
    }
    portable::horizontal(image, needed, columns, &mut out);
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
        let (start, weights) = taps.weights(o);
        #[cfg(target_arch = "x86_64")]
        if avx512::available() {
            // SAFETY: the processor has what it takes.
            unsafe { avx512::vertical(image, start - first, weights, line) };
            continue;
        }
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
