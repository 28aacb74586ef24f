//! The two passes in plain Rust.

use super::taps::{Columns, PRECISION, ROUND};
use crate::data::image::RgbImage;
use std::ops::Range;

/// The output `columns` of the rows `needed`, into `out`.
pub fn horizontal(image: &RgbImage, needed: Range<usize>, columns: &Columns, out: &mut RgbImage) {
    let width = out.width;
    for (line, y) in out.data.chunks_exact_mut(width * 3).zip(needed) {
        let row = image.row(y);
        for (o, pixel) in line.chunks_exact_mut(3).enumerate() {
            let (first, weights) = columns.weights(o);
            let mut sums = [ROUND; 3];
            for (source, weight) in row[first * 3..].chunks_exact(3).zip(weights) {
                for (sum, &value) in sums.iter_mut().zip(source) {
                    *sum += i32::from(value) * weight;
                }
            }
            pixel.copy_from_slice(&sums.map(clip));
        }
    }
}

/// One output row: the weighted sum of the rows of `image` from `first` on.
pub fn vertical(image: &RgbImage, first: usize, weights: &[i32], line: &mut [u8]) {
    for (at, value) in line.iter_mut().enumerate() {
        *value = column(image, first, weights, at);
    }
}

/// The byte at offset `at` of an output row.
pub fn column(image: &RgbImage, first: usize, weights: &[i32], at: usize) -> u8 {
    let stride = image.width * 3;
    let mut sum = ROUND;
    for (row, weight) in (first..).zip(weights) {
        sum += i32::from(image.data[row * stride + at]) * weight;
    }
    clip(sum)
}

/// Back from fixed point to a byte.
pub fn clip(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}
