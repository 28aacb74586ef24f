//! Chroma to full size as libjpeg does it (`jdsample.c`, `do_fancy_upsampling`): a triangle filter
//! for 2:1 in one or both directions, repetition for every other ratio.

use super::header::{Component, Frame};

/// Decoded samples of one component within a window.
pub struct Plane {
    pub samples: Vec<u8>,
    pub stride: usize,
    /// Column and row of the component where the window begins.
    pub left: usize,
    pub top: usize,
}

impl Plane {
    fn row(&self, y: usize) -> &[u8] {
        let y = y - self.top;
        &self.samples[y * self.stride..(y + 1) * self.stride]
    }
}

#[derive(Clone, Copy)]
enum Method {
    Full,
    /// Triangle along x.
    H2V1,
    /// Triangle along y.
    H1V2,
    /// Triangle along both.
    H2V2,
    /// Repetition, by (x, y).
    Repeat(usize, usize),
}

/// Makes full-size rows of one component within the window. Its outermost columns and rows may be
/// wrong where they are not the image's, because the filter reads one neighbour.
pub struct Upsampler<'a> {
    method: Method,
    plane: &'a Plane,
    /// Columns in the window.
    width: usize,
    /// Rows of the whole component.
    height: usize,
    /// Column sums of the row at hand, with a copy of the edge on each side.
    sums: Vec<u16>,
    /// The full-size row, two samples per entry.
    pairs: Vec<u16>,
    line: Vec<u8>,
}

impl<'a> Upsampler<'a> {
    pub fn new(frame: &Frame, component: &Component, plane: &'a Plane) -> Self {
        let ratio = (frame.max_h / component.h, frame.max_v / component.v);
        // libjpeg leaves the filter out where there are too few columns for it.
        let wide = component.width > 2;
        let method = match ratio {
            (1, 1) => Method::Full,
            (2, 1) if wide => Method::H2V1,
            (2, 2) if wide => Method::H2V2,
            (1, 2) => Method::H1V2,
            (x, y) => Method::Repeat(x, y),
        };
        let width = plane.stride.min(component.width - plane.left);
        Upsampler {
            method,
            plane,
            width,
            height: component.height,
            sums: vec![0; width + 2],
            pairs: vec![0; width],
            line: vec![0; (width * ratio.0).next_multiple_of(2) + 2],
        }
    }

    /// Row `y` of the full-size component, from the window's left on.
    pub fn row(&mut self, y: usize) -> &[u8] {
        let (source, nearest, other) = match self.method {
            Method::Full => return self.plane.row(y),
            Method::Repeat(_, ratio) => (y / ratio, 1, y / ratio),
            Method::H2V1 => (y, 1, y),
            Method::H1V2 | Method::H2V2 => {
                let row = y / 2;
                // The farther of the two rows around: above for even rows, below for odd ones.
                let other = if y.is_multiple_of(2) {
                    row.saturating_sub(1)
                } else {
                    row + 1
                };
                (row, 3, other.min(self.height - 1))
            }
        };
        let near = &self.plane.row(source)[..self.width];
        let far = &self.plane.row(other)[..self.width];
        match self.method {
            Method::Full => {}
            Method::Repeat(ratio, _) => {
                for (out, &value) in self.line.chunks_mut(ratio).zip(near) {
                    out.fill(value);
                }
            }
            Method::H1V2 => {
                let bias = if y.is_multiple_of(2) { 1 } else { 2 };
                for ((out, &near), &far) in self.line.iter_mut().zip(near).zip(far) {
                    *out = ((u16::from(near) * nearest + u16::from(far) + bias) >> 2) as u8;
                }
            }
            Method::H2V1 | Method::H2V2 => {
                let both = matches!(self.method, Method::H2V2);
                let (sums, pairs) = (&mut self.sums[..], &mut self.pairs[..]);
                #[cfg(target_arch = "x86_64")]
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: the processor has AVX2.
                    unsafe { triangle_avx2(near, far, both, sums, pairs) };
                    return pair_bytes(&self.pairs, &mut self.line);
                }
                triangle(near, far, both, sums, pairs);
                return pair_bytes(&self.pairs, &mut self.line);
            }
        }
        &self.line
    }
}

/// [`triangle`], compiled for AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn triangle_avx2(near: &[u8], far: &[u8], both: bool, sums: &mut [u16], pairs: &mut [u16]) {
    triangle(near, far, both, sums, pairs);
}

/// Each column to two samples (low byte left, high byte right): 3/4 of it and 1/4 of its
/// neighbour; where `both`, after 3/4 of `near` and 1/4 of `far`.
#[inline(always)]
fn triangle(near: &[u8], far: &[u8], both: bool, sums: &mut [u16], pairs: &mut [u16]) {
    let count = near.len();
    let (left, right, shift) = if both { (8, 7, 4) } else { (1, 2, 2) };
    for ((sum, &near), &far) in sums[1..=count].iter_mut().zip(near).zip(far) {
        *sum = if both {
            u16::from(near) * 3 + u16::from(far)
        } else {
            u16::from(near)
        };
    }
    // libjpeg's special first and last columns are the general ones with the edge repeated.
    (sums[0], sums[count + 1]) = (sums[1], sums[count]);
    let around = sums[..count].iter().zip(&sums[1..=count]).zip(&sums[2..]);
    for (pair, ((&before, &this), &after)) in pairs.iter_mut().zip(around) {
        let even = (this * 3 + before + left) >> shift;
        let odd = (this * 3 + after + right) >> shift;
        *pair = even | odd << 8;
    }
}

fn pair_bytes<'a>(pairs: &[u16], line: &'a mut [u8]) -> &'a [u8] {
    for (out, pair) in line.as_chunks_mut::<2>().0.iter_mut().zip(pairs) {
        *out = pair.to_le_bytes();
    }
    line
}
