//! The kernels of this processor against the portable ones.

use super::*;
use crate::rng::Rng;

fn noise(width: usize, height: usize) -> RgbImage {
    let mut image = RgbImage::black(width, height);
    let mut rng = Rng::new(&[width as u64, height as u64]);
    // Extremes meet the clamping.
    (image.data).fill_with(|| [0, 255, rng.below(256) as u8][rng.below(3)]);
    image
}

const FILTERS: [Filter; 2] = [Filter::Bilinear, Filter::Bicubic];

/// Input and output length: larger, smaller, much smaller, and around the sizes of registers.
const LENGTHS: [(usize, usize); 7] = [
    (1, 3),
    (40, 64),
    (61, 60),
    (100, 37),
    (90, 30),
    (200, 21),
    (300, 5),
];

#[test]
fn horizontal_kernels_equal_the_portable_one() {
    for (input, output) in LENGTHS {
        for filter in FILTERS {
            let taps = Taps::cached(input, output, filter);
            let start = output / 4;
            let columns = Columns {
                taps: &taps,
                start,
                origin: taps.weights(start).0,
            };
            let image = noise(input - columns.origin, 11);
            let blank = || RgbImage::black(output - start, 9);
            let mut expected = blank();
            portable::horizontal(&image, 2..11, &columns, &mut expected);
            #[cfg(target_arch = "x86_64")]
            if avx2::available() {
                let mut out = blank();
                // SAFETY: the processor has AVX2.
                unsafe { avx2::horizontal(&image, 2..11, &columns, &mut out) };
                assert_eq!(out, expected, "AVX2: {input} to {output}, {filter:?}");
            }
            #[cfg(target_arch = "x86_64")]
            if avx512::available()
                && let Some(pass) = avx512::Horizontal::new(&columns, output - start)
            {
                let mut out = blank();
                // SAFETY: the processor has what it takes.
                unsafe { pass.apply(&image, 2..11, &mut out) };
                assert_eq!(out, expected, "AVX-512: {input} to {output}, {filter:?}");
            }
        }
    }
}

#[test]
fn vertical_kernels_equal_the_portable_one() {
    for (input, output) in LENGTHS {
        for filter in FILTERS {
            let taps = Taps::cached(input, output, filter);
            for width in [1, 21, 22, 64] {
                let image = noise(width, input);
                for o in 0..output {
                    let (first, weights) = taps.weights(o);
                    let mut expected = vec![0; width * 3];
                    portable::vertical(&image, first, weights, &mut expected);
                    let mut out = vec![0; width * 3];
                    #[cfg(target_arch = "x86_64")]
                    if avx2::available() {
                        // SAFETY: the processor has AVX2.
                        unsafe { avx2::vertical(&image, first, weights, &mut out) };
                        assert_eq!(out, expected, "AVX2: {input} to {output}, {filter:?}");
                    }
                    #[cfg(target_arch = "x86_64")]
                    if avx512::available() {
                        // SAFETY: the processor has what it takes.
                        unsafe { avx512::vertical(&image, first, weights, &mut out) };
                        assert_eq!(out, expected, "AVX-512: {input} to {output}, {filter:?}");
                    }
                }
            }
        }
    }
}
