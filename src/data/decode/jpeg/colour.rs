//! Colour conversion of one row: YCbCr to RGB (`jdcolor.c`), and Pillow's CMYK to RGB.

/// YCbCr rows to interleaved RGB; all of `out.len() / 3` pixels.
pub fn ycc_to_rgb(y: &[u8], cb: &[u8], cr: &[u8], out: &mut [u8]) {
    let count = out.len() / 3;
    let mut done = 0;
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        done = unsafe { avx2::ycc_to_rgb(&y[..count], &cb[..count], &cr[..count], out) };
    }
    for (i, pixel) in out.chunks_exact_mut(3).enumerate().skip(done) {
        pixel.copy_from_slice(&pixel_to_rgb(y[i], cb[i], cr[i]));
    }
}

/// One pixel in 16-bit fixed point: 1.402, 0.34414, 0.71414 and 1.772 times 2^16.
fn pixel_to_rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    [
        y + ((91881 * cr + HALF) >> 16),
        y + ((-22554 * cb - 46802 * cr + HALF) >> 16),
        y + ((116130 * cb + HALF) >> 16),
    ]
    .map(|value| value.clamp(0, 255) as u8)
}

/// CMYK as Adobe stores it (inverted) to RGB, as Pillow's `convert("RGB")` does after undoing the
/// inversion. Where `ycck`, the first three are YCbCr of the inverted colours.
pub fn cmyk_to_rgb(rows: [&[u8]; 4], ycck: bool, out: &mut [u8]) {
    for (i, pixel) in out.chunks_exact_mut(3).enumerate() {
        let [a, b, c, k] = rows.map(|row| row[i]);
        let stored = if ycck {
            pixel_to_rgb(a, b, c).map(|v| 255 - v)
        } else {
            [a, b, c]
        };
        // With K = 255 - k: white left by black is 255 - K = k.
        let white = i32::from(k);
        let colours = stored.map(|value| {
            let product = (255 - i32::from(value)) * white + 128;
            (white - ((product + (product >> 8)) >> 8)).clamp(0, 255) as u8
        });
        pixel.copy_from_slice(&colours);
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    /// Converts whole groups of 16 pixels; returns how many pixels that were.
    ///
    /// The products need 17 bits, so whole multiples of 2^16 are split off the constants:
    /// 1.402 = 1 + 26345/2^16, 1.772 = 2 - 14942/2^16, -0.71414 = -1 + 18734/2^16.
    #[target_feature(enable = "avx2")]
    pub unsafe fn ycc_to_rgb(y: &[u8], cb: &[u8], cr: &[u8], out: &mut [u8]) -> usize {
        let groups = y.as_chunks::<16>().0.iter().zip(cb.as_chunks::<16>().0);
        let groups = groups.zip(cr.as_chunks::<16>().0);
        let mut done = 0;
        for (((y, cb), cr), out) in groups.zip(out.as_chunks_mut::<48>().0) {
            let load = |bytes: &[u8; 16]| {
                // SAFETY: `bytes` is 16 bytes long.
                _mm256_cvtepu8_epi16(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
            };
            let centre = _mm256_set1_epi16(128);
            let y = load(y);
            let cb = _mm256_sub_epi16(load(cb), centre);
            let cr = _mm256_sub_epi16(load(cr), centre);
            let red = _mm256_add_epi16(_mm256_add_epi16(y, cr), scaled(cr, 26345));
            let blue = _mm256_add_epi16(_mm256_add_epi16(y, cb), cb);
            let blue = _mm256_add_epi16(blue, scaled(cb, -14942));
            let by = _mm256_set1_epi32((-22554 & 0xffff) | 18734 << 16);
            let half = _mm256_set1_epi32(1 << 15);
            let part = |pairs: __m256i| {
                _mm256_srai_epi32::<16>(_mm256_add_epi32(_mm256_madd_epi16(pairs, by), half))
            };
            let green = _mm256_packs_epi32(
                part(_mm256_unpacklo_epi16(cb, cr)),
                part(_mm256_unpackhi_epi16(cb, cr)),
            );
            let green = _mm256_add_epi16(_mm256_sub_epi16(y, cr), green);
            interleave(bytes(red), bytes(green), bytes(blue), out);
            done += 16;
        }
        done
    }

    /// `(a * factor + 2^15) >> 16`.
    #[target_feature(enable = "avx2")]
    fn scaled(a: __m256i, factor: i16) -> __m256i {
        let factor = _mm256_set1_epi16(factor);
        let half_bit = _mm256_srli_epi16::<15>(_mm256_mullo_epi16(a, factor));
        _mm256_add_epi16(_mm256_mulhi_epi16(a, factor), half_bit)
    }

    /// 16 numbers clamped to bytes.
    #[target_feature(enable = "avx2")]
    fn bytes(a: __m256i) -> __m128i {
        _mm_packus_epi16(_mm256_castsi256_si128(a), _mm256_extracti128_si256::<1>(a))
    }

    /// Three rows of 16 bytes to 16 RGB pixels.
    #[target_feature(enable = "avx2")]
    fn interleave(r: __m128i, g: __m128i, b: __m128i, out: &mut [u8; 48]) {
        // Which byte of its channel goes to byte `i` of the third `part`, or none (high bit).
        const fn order(part: usize, channel: usize) -> [u8; 16] {
            let mut order = [0x80; 16];
            let mut i = 0;
            while i < 16 {
                let at = part * 16 + i;
                if at % 3 == channel {
                    order[i] = (at / 3) as u8;
                }
                i += 1;
            }
            order
        }
        const ORDERS: [[[u8; 16]; 3]; 3] = [
            [order(0, 0), order(0, 1), order(0, 2)],
            [order(1, 0), order(1, 1), order(1, 2)],
            [order(2, 0), order(2, 1), order(2, 2)],
        ];
        for (part, orders) in out.as_chunks_mut::<16>().0.iter_mut().zip(&ORDERS) {
            let pick = |from: __m128i, order: &[u8; 16]| {
                // SAFETY: `order` is 16 bytes long.
                _mm_shuffle_epi8(from, unsafe { _mm_loadu_si128(order.as_ptr().cast()) })
            };
            let mixed = _mm_or_si128(pick(r, &orders[0]), pick(g, &orders[1]));
            let mixed = _mm_or_si128(mixed, pick(b, &orders[2]));
            // SAFETY: `part` is 16 bytes long.
            unsafe { _mm_storeu_si128(part.as_mut_ptr().cast(), mixed) };
        }
    }
}
