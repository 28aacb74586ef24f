//! The two passes with AVX2, equal to the portable ones in every bit.
//!
//! A weight has 23 bits and a sign; `vpmaddwd` multiplies 16-bit numbers and adds neighbours. So a
//! weight is cut as `high * 2^15 + low` with `0 <= low < 2^15`, both parts are summed apart, and
//! the sums are joined before rounding: the same integer as Pillow's.

use super::portable;
use super::taps::{Columns, PRECISION, ROUND};
use crate::data::image::RgbImage;
use std::arch::x86_64::*;
use std::ops::Range;

const LOW_BITS: u32 = 15;

/// Whether this processor has AVX2.
pub fn available() -> bool {
    is_x86_feature_detected!("avx2")
}

/// Two weights as one 32-bit lane of 16-bit halves: (low parts, high parts).
fn split(first: i32, second: i32) -> (i32, i32) {
    let pair = |a: i32, b: i32| (a & 0xffff) | (b << 16);
    let low = |w: i32| w & ((1 << LOW_BITS) - 1);
    (
        pair(low(first), low(second)),
        pair(first >> LOW_BITS, second >> LOW_BITS),
    )
}

/// Four taps of one output pixel, one 32-bit lane per channel and pair of taps: the first pair in
/// the lower half, the second in the upper.
#[derive(Clone, Copy)]
struct Quad {
    low: [i32; 8],
    high: [i32; 8],
}

/// The output `columns` of the rows `needed`, into `out`.
///
/// # Safety
/// The processor has AVX2.
#[target_feature(enable = "avx2")]
pub unsafe fn horizontal(
    image: &RgbImage,
    needed: Range<usize>,
    columns: &Columns,
    out: &mut RgbImage,
) {
    // Per output pixel: byte offset of its window and its weights in groups of four, zero-padded.
    let mut quads = Vec::new();
    let mut windows = Vec::with_capacity(out.width);
    for o in 0..out.width {
        let (first, weights) = columns.weights(o);
        quads.extend(weights.chunks(4).map(|group| {
            let w = |i: usize| group.get(i).copied().unwrap_or(0);
            let (a, b) = (split(w(0), w(1)), split(w(2), w(3)));
            let lanes = |a: i32, b: i32| [a, a, a, a, b, b, b, b];
            Quad {
                low: lanes(a.0, b.0),
                high: lanes(a.1, b.1),
            }
        }));
        windows.push((first * 3, quads.len()));
    }
    // Bytes r0 g0 b0 r1 g1 b1 ... of four pixels to 16-bit pairs (r0,r1) (g0,g1) (b0,b1) (-,-) in
    // the lower half and the same of pixels 2 and 3 in the upper half.
    let spread = _mm256_setr_epi8(
        0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1, 6, -1, 9, -1, 7, -1, 10, -1, 8,
        -1, 11, -1, -1, -1, -1, -1,
    );
    let width = out.width;
    // A group reads 16 bytes from its first pixel; a row is copied with that much slack behind it.
    let mut row = vec![0u8; image.width * 3 + 16];
    for (line, y) in out.data.chunks_exact_mut(width * 3).zip(needed) {
        row[..image.width * 3].copy_from_slice(image.row(y));
        let mut start = 0;
        for (pixel, &(offset, end)) in line.chunks_exact_mut(3).zip(&windows) {
            let mut low = _mm256_setzero_si256();
            let mut high = _mm256_setzero_si256();
            for (group, quad) in quads[start..end].iter().enumerate() {
                let at = offset + group * 12;
                let bytes: &[u8] = &row[at..at + 16];
                // SAFETY: `bytes` is 16 bytes long.
                let bytes = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
                let values = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(bytes), spread);
                low = _mm256_add_epi32(low, _mm256_madd_epi16(values, load(&quad.low)));
                high = _mm256_add_epi32(high, _mm256_madd_epi16(values, load(&quad.high)));
            }
            start = end;
            let sum = _mm256_add_epi32(low, _mm256_slli_epi32::<{ LOW_BITS as i32 }>(high));
            let sum = _mm_add_epi32(
                _mm256_castsi256_si128(sum),
                _mm256_extracti128_si256::<1>(sum),
            );
            let sum = _mm_add_epi32(sum, _mm_set1_epi32(ROUND));
            let sum = _mm_srai_epi32::<{ PRECISION as i32 }>(sum);
            let sum = _mm_packus_epi16(_mm_packs_epi32(sum, sum), sum);
            let [r, g, b, _] = _mm_cvtsi128_si32(sum).to_le_bytes();
            pixel.copy_from_slice(&[r, g, b]);
        }
    }
}

/// Eight lanes from memory.
#[target_feature(enable = "avx2")]
fn load(lanes: &[i32; 8]) -> __m256i {
    // SAFETY: `lanes` is 32 bytes long.
    unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) }
}

/// One output row: the weighted sum of the rows of `image` from `first` on.
///
/// # Safety
/// The processor has AVX2.
#[target_feature(enable = "avx2")]
pub unsafe fn vertical(image: &RgbImage, first: usize, weights: &[i32], line: &mut [u8]) {
    const STEP: usize = 16;
    let stride = image.width * 3;
    let zero = _mm256_setzero_si256();
    let whole = line.len() / STEP * STEP;
    let pairs: Vec<(i32, i32)> = (weights.chunks(2))
        .map(|pair| split(pair[0], pair.get(1).copied().unwrap_or(0)))
        .collect();
    for at in (0..whole).step_by(STEP) {
        let load = |row: usize| {
            let bytes: &[u8] = &image.data[row * stride + at..row * stride + at + STEP];
            // SAFETY: `bytes` is 16 bytes long.
            _mm256_cvtepu8_epi16(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
        };
        let mut low = [zero; 2];
        let mut high = [zero; 2];
        for (pair, &(l, h)) in pairs.iter().enumerate() {
            let row = first + 2 * pair;
            let top = load(row);
            let bottom = if 2 * pair + 1 < weights.len() {
                load(row + 1)
            } else {
                zero
            };
            let (l, h) = (_mm256_set1_epi32(l), _mm256_set1_epi32(h));
            let values = [
                _mm256_unpacklo_epi16(top, bottom),
                _mm256_unpackhi_epi16(top, bottom),
            ];
            for i in 0..2 {
                low[i] = _mm256_add_epi32(low[i], _mm256_madd_epi16(values[i], l));
                high[i] = _mm256_add_epi32(high[i], _mm256_madd_epi16(values[i], h));
            }
        }
        let finish = |i: usize| {
            let sum = _mm256_add_epi32(low[i], _mm256_slli_epi32::<{ LOW_BITS as i32 }>(high[i]));
            let sum = _mm256_add_epi32(sum, _mm256_set1_epi32(ROUND));
            _mm256_srai_epi32::<{ PRECISION as i32 }>(sum)
        };
        // Unpack and pack both work within 128-bit halves, so the order is restored.
        let words = _mm256_packs_epi32(finish(0), finish(1));
        let bytes = _mm_packus_epi16(
            _mm256_castsi256_si128(words),
            _mm256_extracti128_si256::<1>(words),
        );
        // SAFETY: `at + STEP <= line.len()`.
        unsafe { _mm_storeu_si128(line[at..at + STEP].as_mut_ptr().cast(), bytes) };
    }
    for (at, value) in line.iter_mut().enumerate().skip(whole) {
        *value = portable::column(image, first, weights, at);
    }
}
