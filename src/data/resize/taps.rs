//! Filter weights in Pillow's fixed point (`Resample.c`: `precompute_coeffs`,
//! `normalize_coeffs_8bpc`).

use super::Filter;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// Fractional bits of a weight.
pub const PRECISION: u32 = 22;
/// One half, added before the shift.
pub const ROUND: i32 = 1 << (PRECISION - 1);

/// Which inputs make each output along one axis, and their weights.
pub struct Taps {
    identity: bool,
    /// Per output: first input, and where its weights end in `weights`.
    outputs: Vec<(usize, usize)>,
    weights: Vec<i32>,
}

type Key = (usize, usize, Filter);

/// Images of one data set share few sizes; a full cache is emptied, so that it stays small.
const CACHE_ENTRIES: usize = 256;
static CACHE: LazyLock<Mutex<HashMap<Key, Arc<Taps>>>> = LazyLock::new(Mutex::default);

impl Taps {
    /// The weights from `input` to `output` samples, kept for the next image of that size.
    pub fn cached(input: usize, output: usize, filter: Filter) -> Arc<Taps> {
        let key = (input, output, filter);
        let lock = || CACHE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taps) = lock().get(&key) {
            return Arc::clone(taps);
        }
        let taps = Arc::new(Taps::new(input, output, filter));
        let mut cache = lock();
        if cache.len() >= CACHE_ENTRIES {
            cache.clear();
        }
        cache.insert(key, Arc::clone(&taps));
        taps
    }

    fn new(input: usize, output: usize, filter: Filter) -> Taps {
        let (kernel, radius): (fn(f64) -> f64, f64) = match filter {
            Filter::Bicubic => (cubic, 2.0),
            Filter::Bilinear | Filter::Nearest => (triangle, 1.0),
        };
        let scale = input as f64 / output as f64;
        let stretch = scale.max(1.0);
        let support = radius * stretch;
        let inverse = 1.0 / stretch;
        let mut outputs = Vec::with_capacity(output);
        let mut weights = Vec::new();
        let mut window = Vec::new();
        for o in 0..output {
            let centre = (o as f64 + 0.5) * scale;
            let low = ((centre - support + 0.5) as i64).max(0) as usize;
            let high = ((centre + support + 0.5) as i64).clamp(0, input as i64) as usize;
            window.clear();
            window.extend((low..high).map(|i| kernel((i as f64 - centre + 0.5) * inverse)));
            let sum = window.iter().fold(0.0, |sum, w| sum + w);
            let sum = if sum == 0.0 { 1.0 } else { sum };
            weights.extend(window.iter().map(|w| quantise(w / sum)));
            outputs.push((low, weights.len()));
        }
        Taps {
            identity: input == output,
            outputs,
            weights,
        }
    }

    /// True where the pass keeps the size, and Pillow leaves it out.
    pub fn is_identity(&self) -> bool {
        self.identity
    }

    /// First input and weights of output `o`.
    pub fn weights(&self, o: usize) -> (usize, &[i32]) {
        let (first, end) = self.outputs[o];
        let start = o
            .checked_sub(1)
            .map_or(0, |previous| self.outputs[previous].1);
        (first, &self.weights[start..end])
    }

    /// Inputs that outputs `start .. start + count` read.
    pub fn span(&self, start: usize, count: usize) -> Range<usize> {
        if self.identity {
            return start..start + count;
        }
        let (last, weights) = self.weights(start + count - 1);
        self.weights(start).0..last + weights.len()
    }
}

/// What a run of outputs reads from a part of the input.
#[derive(Clone, Copy)]
pub struct Columns<'a> {
    pub taps: &'a Taps,
    /// The first output.
    pub start: usize,
    /// The input where the part begins.
    pub origin: usize,
}

impl Columns<'_> {
    /// First input within the part and weights of the run's output `o`.
    #[inline]
    pub fn weights(&self, o: usize) -> (usize, &[i32]) {
        let (first, weights) = self.taps.weights(self.start + o);
        (first - self.origin, weights)
    }
}

/// To fixed point, halves away from zero.
fn quantise(weight: f64) -> i32 {
    let scaled = weight * f64::from(1 << PRECISION);
    (scaled + if weight < 0.0 { -0.5 } else { 0.5 }) as i32
}

fn triangle(x: f64) -> f64 {
    (1.0 - x.abs()).max(0.0)
}

/// Keys' cubic with a = -0.5, evaluated in Pillow's order.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}
