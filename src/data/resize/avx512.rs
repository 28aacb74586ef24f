//! The two passes with AVX-512 VNNI and VBMI, equal to the portable ones in every bit.
//!
//! `vpdpbusd` multiplies four bytes by four signed bytes and adds the products to a 32-bit number:
//! four taps at once, without widening the pixels. A weight of 23 bits and a sign is cut into three
//! signed digits, `w = d2 * 2^16 + d1 * 2^8 + d0`; each digit is summed apart, and the sums are
//! joined before rounding: the same integer as Pillow's.

use super::taps::{Columns, PRECISION, ROUND};
use crate::data::image::RgbImage;
use std::arch::x86_64::*;
use std::ops::Range;

/// Taps that one instruction sums.
const QUAD: usize = 4;
/// 32-bit sums, and bytes, in a register.
const SUMS: usize = 16;
const BYTES: usize = 64;

/// Whether this processor has what the kernels use.
pub fn available() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vbmi")
        && is_x86_feature_detected!("avx512vnni")
}

fn digits(weight: i32) -> [i8; 3] {
    let low = weight as i8;
    let rest = (weight - i32::from(low)) >> 8;
    let middle = rest as i8;
    [low, middle, ((rest - i32::from(middle)) >> 8) as i8]
}

/// Sums by digit.
type Sums = [__m512i; 3];

/// How [`SUMS`] neighbouring bytes of an output row follow from a quad of taps.
#[derive(Clone)]
struct Step {
    /// Where in the input row its bytes begin.
    from: usize,
    /// Which of the 64 bytes from there meet which weight.
    picks: [u8; BYTES],
    weights: [[i8; BYTES]; 3],
}

/// The horizontal pass for one width.
pub struct Horizontal {
    steps: Vec<Step>,
    /// Where each group of [`SUMS`] output bytes ends in `steps`.
    ends: Vec<usize>,
}

impl Horizontal {
    /// For `width` output pixels; `None` where the inputs of one step lie too far apart (an image
    /// more than three times too wide).
    pub fn new(columns: &Columns, width: usize) -> Option<Horizontal> {
        let mut steps: Vec<Step> = Vec::new();
        let mut ends = Vec::new();
        for start in (0..width * 3).step_by(SUMS) {
            let base = columns.weights(start / 3).0;
            let first_step = steps.len();
            for at in start..(start + SUMS).min(width * 3) {
                let (first, weights) = columns.weights(at / 3);
                for (quad, weights) in weights.chunks(QUAD).enumerate() {
                    if first_step + quad == steps.len() {
                        steps.push(Step {
                            from: (base + quad * QUAD) * 3,
                            picks: [0; BYTES],
                            weights: [[0; BYTES]; 3],
                        });
                    }
                    let step = &mut steps[first_step + quad];
                    for (tap, &weight) in weights.iter().enumerate() {
                        let from = (first - base + tap) * 3 + at % 3;
                        if from >= BYTES {
                            return None;
                        }
                        let to = (at - start) * QUAD + tap;
                        step.picks[to] = from as u8;
                        for (lanes, digit) in step.weights.iter_mut().zip(digits(weight)) {
                            lanes[to] = digit;
                        }
                    }
                }
            }
            ends.push(steps.len());
        }
        Some(Horizontal { steps, ends })
    }

    /// The rows `needed` into `out`.
    ///
    /// # Safety
    /// The processor is [`available`].
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
    pub unsafe fn apply(&self, image: &RgbImage, needed: Range<usize>, out: &mut RgbImage) {
        // Several rows share the weights that were loaded.
        const ROWS: usize = 4;
        let stride = out.width * 3;
        let first = needed.start;
        let (fours, rest) = out.data.split_at_mut(needed.len() / ROWS * ROWS * stride);
        for (i, lines) in fours.chunks_exact_mut(ROWS * stride).enumerate() {
            let row = first + i * ROWS;
            self.rows([0, 1, 2, 3].map(|r| image.row(row + r)), lines);
        }
        let done = first + needed.len() / ROWS * ROWS;
        for (line, y) in rest.chunks_exact_mut(stride).zip(done..) {
            self.rows([image.row(y)], line);
        }
    }

    /// `N` input rows to as many output rows.
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
    fn rows<const N: usize>(&self, rows: [&[u8]; N], lines: &mut [u8]) {
        let stride = lines.len() / N;
        let mut start = 0;
        for (group, &end) in self.ends.iter().enumerate() {
            let mut sums = [[_mm512_setzero_si512(); 3]; N];
            for step in &self.steps[start..end] {
                let picks = load(&step.picks);
                let weights = [
                    load_signed(&step.weights[0]),
                    load_signed(&step.weights[1]),
                    load_signed(&step.weights[2]),
                ];
                for (sums, row) in sums.iter_mut().zip(rows) {
                    let bytes = _mm512_permutexvar_epi8(picks, load(&row[step.from..]));
                    accumulate(sums, bytes, &weights);
                }
            }
            start = end;
            for (sums, line) in sums.iter().zip(lines.chunks_exact_mut(stride)) {
                store_sums(join(sums), &mut line[group * SUMS..]);
            }
        }
    }
}

/// One output row: the weighted sum of the rows of `image` from `first` on.
///
/// # Safety
/// The processor is [`available`].
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
pub unsafe fn vertical(image: &RgbImage, first: usize, weights: &[i32], line: &mut [u8]) {
    let quads: Vec<[i32; 3]> = weights.chunks(QUAD).map(digit_quads).collect();
    for (at, target) in (0..).step_by(BYTES).zip(line.chunks_mut(BYTES)) {
        let mut sums = [[_mm512_setzero_si512(); 3]; 4];
        for (quad, by) in quads.iter().enumerate() {
            let row = |i: usize| {
                let tap = quad * QUAD + i;
                if tap < weights.len() {
                    load(&image.row(first + tap)[at..])
                } else {
                    _mm512_setzero_si512()
                }
            };
            let (a, b, c, d) = (row(0), row(1), row(2), row(3));
            let (low, high) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
            let (low2, high2) = (_mm512_unpacklo_epi8(c, d), _mm512_unpackhi_epi8(c, d));
            let weights = [
                _mm512_set1_epi32(by[0]),
                _mm512_set1_epi32(by[1]),
                _mm512_set1_epi32(by[2]),
            ];
            accumulate(&mut sums[0], _mm512_unpacklo_epi16(low, low2), &weights);
            accumulate(&mut sums[1], _mm512_unpackhi_epi16(low, low2), &weights);
            accumulate(&mut sums[2], _mm512_unpacklo_epi16(high, high2), &weights);
            accumulate(&mut sums[3], _mm512_unpackhi_epi16(high, high2), &weights);
        }
        // Packing undoes the order of unpacking.
        let low = _mm512_packs_epi32(join(&sums[0]), join(&sums[1]));
        let high = _mm512_packs_epi32(join(&sums[2]), join(&sums[3]));
        let bytes = _mm512_packus_epi16(low, high);
        store(bytes, target);
    }
}

/// Up to four weights as one lane of bytes per digit.
fn digit_quads(weights: &[i32]) -> [i32; 3] {
    let mut quads = [[0u8; QUAD]; 3];
    for (tap, &weight) in weights.iter().enumerate() {
        for (quad, digit) in quads.iter_mut().zip(digits(weight)) {
            quad[tap] = digit as u8;
        }
    }
    quads.map(i32::from_le_bytes)
}

#[target_feature(enable = "avx512f,avx512vnni")]
fn accumulate(sums: &mut Sums, bytes: __m512i, weights: &Sums) {
    sums[0] = _mm512_dpbusd_epi32(sums[0], bytes, weights[0]);
    sums[1] = _mm512_dpbusd_epi32(sums[1], bytes, weights[1]);
    sums[2] = _mm512_dpbusd_epi32(sums[2], bytes, weights[2]);
}

/// Back from fixed point, not yet clamped.
#[target_feature(enable = "avx512f")]
fn join(sums: &Sums) -> __m512i {
    let sum = _mm512_add_epi32(sums[0], _mm512_slli_epi32::<8>(sums[1]));
    let sum = _mm512_add_epi32(sum, _mm512_slli_epi32::<16>(sums[2]));
    _mm512_srai_epi32::<PRECISION>(_mm512_add_epi32(sum, _mm512_set1_epi32(ROUND)))
}

/// A mask of the first `count` (at most 64) lanes.
fn lanes(count: usize) -> u64 {
    u64::MAX >> (BYTES - count)
}

/// The first 64 bytes, zeros where there are fewer.
#[target_feature(enable = "avx512f,avx512bw")]
fn load(bytes: &[u8]) -> __m512i {
    match bytes.first_chunk::<BYTES>() {
        // SAFETY: `all` is 64 bytes long.
        Some(all) => unsafe { _mm512_loadu_si512(all.as_ptr().cast()) },
        // SAFETY: the mask leaves out what is behind `bytes`.
        None => unsafe { _mm512_maskz_loadu_epi8(lanes(bytes.len()), bytes.as_ptr().cast()) },
    }
}

/// To as many of the 64 bytes as there are.
#[target_feature(enable = "avx512f,avx512bw")]
fn store(bytes: __m512i, target: &mut [u8]) {
    match target.first_chunk_mut::<BYTES>() {
        // SAFETY: `all` is 64 bytes long.
        Some(all) => unsafe { _mm512_storeu_si512(all.as_mut_ptr().cast(), bytes) },
        // SAFETY: the mask leaves out what is behind `target`.
        None => unsafe {
            _mm512_mask_storeu_epi8(target.as_mut_ptr().cast(), lanes(target.len()), bytes);
        },
    }
}

/// Sums clamped to bytes, to as many of the 16 as there are.
#[target_feature(enable = "avx512f,avx512bw")]
fn store_sums(sums: __m512i, target: &mut [u8]) {
    let sums = _mm512_max_epi32(sums, _mm512_setzero_si512());
    let bytes = _mm512_cvtusepi32_epi8(sums);
    match target.first_chunk_mut::<SUMS>() {
        // SAFETY: `all` is 16 bytes long.
        Some(all) => unsafe { _mm_storeu_si128(all.as_mut_ptr().cast(), bytes) },
        None => store(_mm512_castsi128_si512(bytes), target),
    }
}

#[target_feature(enable = "avx512f")]
fn load_signed(bytes: &[i8; BYTES]) -> __m512i {
    // SAFETY: `bytes` is 64 bytes long.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}
