//! The accurate integer inverse DCT of libjpeg (`jidctint.c`), as its SIMD version rounds and
//! saturates: 16-bit inputs and intermediates, 32-bit products.

use super::header::Quant;
use super::scan::Block;

/// Fractional bits of the constants, and those kept between the passes.
const CONST_BITS: u32 = 13;
const PASS1_BITS: u32 = 2;

// Constants of the rotations, times 2^13 (Loeffler, Ligtenberg and Moschytz, figure 1).
const F_0_298: i32 = 2446;
const F_0_390: i32 = 3196;
const F_0_541: i32 = 4433;
const F_0_765: i32 = 6270;
const F_0_899: i32 = 7373;
const F_1_175: i32 = 9633;
const F_1_501: i32 = 12299;
const F_1_847: i32 = 15137;
const F_1_961: i32 = 16069;
const F_2_053: i32 = 16819;
const F_2_562: i32 = 20995;
const F_3_072: i32 = 25172;

/// Transforms a row of blocks into 8 rows of samples, `stride` apart.
///
/// `out` holds `8 * stride` bytes, `stride >= 8 * blocks.len()`.
pub fn row(blocks: &[Block], quant: &Quant, out: &mut [u8], stride: usize) {
    let mut done = 0;
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        let quant = quant.map(|q| q as i16);
        for (i, pair) in blocks.as_chunks::<2>().0.iter().enumerate() {
            // SAFETY: the processor has AVX2.
            unsafe { avx2::pair(pair, &quant, &mut out[i * 16..], stride) };
        }
        done = blocks.len() / 2 * 2;
    }
    for (i, block) in blocks.iter().enumerate().skip(done) {
        let samples = portable(block, quant);
        for (line, values) in out[i * 8..].chunks_mut(stride).zip(&samples) {
            line[..8].copy_from_slice(values);
        }
    }
}

fn portable(block: &Block, quant: &Quant) -> [[u8; 8]; 8] {
    let mut work = [[0i16; 8]; 8];
    for x in 0..8 {
        let at = |y: usize| block[8 * y + x].wrapping_mul(quant[8 * y + x] as i16);
        let column = [0, 1, 2, 3, 4, 5, 6, 7].map(at);
        let column = one_dimension(column, CONST_BITS - PASS1_BITS);
        for (line, value) in work.iter_mut().zip(column) {
            line[x] = value;
        }
    }
    work.map(|line| {
        let line = one_dimension(line, CONST_BITS + PASS1_BITS + 3);
        line.map(|value| (value.clamp(-128, 127) + 128) as u8)
    })
}

fn one_dimension(input: [i16; 8], shift: u32) -> [i16; 8] {
    let wide = input.map(i32::from);
    let sum = |a: usize, b: usize| i32::from(input[a].wrapping_add(input[b]));
    let difference = |a: usize, b: usize| i32::from(input[a].wrapping_sub(input[b]));
    let t2 = wide[2] * F_0_541 + wide[6] * (F_0_541 - F_1_847);
    let t3 = wide[2] * (F_0_541 + F_0_765) + wide[6] * F_0_541;
    let t0 = sum(0, 4) << CONST_BITS;
    let t1 = difference(0, 4) << CONST_BITS;
    let even = [
        t0.wrapping_add(t3),
        t1.wrapping_add(t2),
        t1.wrapping_sub(t2),
        t0.wrapping_sub(t3),
    ];
    let (z3, z4) = (sum(7, 3), sum(5, 1));
    let z3_turned = z3 * (F_1_175 - F_1_961) + z4 * F_1_175;
    let z4_turned = z3 * F_1_175 + z4 * (F_1_175 - F_0_390);
    let odd = [
        (wide[7] * -F_0_899 + wide[1] * (F_1_501 - F_0_899)).wrapping_add(z4_turned),
        (wide[5] * -F_2_562 + wide[3] * (F_3_072 - F_2_562)).wrapping_add(z3_turned),
        (wide[5] * (F_2_053 - F_2_562) + wide[3] * -F_2_562).wrapping_add(z4_turned),
        (wide[7] * (F_0_298 - F_0_899) + wide[1] * -F_0_899).wrapping_add(z3_turned),
    ];
    let round = 1 << (shift - 1);
    let descale = |value: i32| {
        let value = value.wrapping_add(round) >> shift;
        value.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
    };
    let mut output = [0; 8];
    for i in 0..4 {
        output[i] = descale(even[i].wrapping_add(odd[i]));
        output[7 - i] = descale(even[i].wrapping_sub(odd[i]));
    }
    output
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    //! Two blocks at once, one in each half of the registers.

    use super::*;
    use std::arch::x86_64::*;

    type Rows = [__m256i; 8];

    #[target_feature(enable = "avx2")]
    pub unsafe fn pair(blocks: &[Block; 2], quant: &[i16; 64], out: &mut [u8], stride: usize) {
        let load = |y: usize| {
            let eight = |from: &[i16; 64]| {
                let row: &[i16] = &from[8 * y..8 * y + 8];
                // SAFETY: `row` is 16 bytes long.
                unsafe { _mm_loadu_si128(row.as_ptr().cast()) }
            };
            let both = _mm256_set_m128i(eight(&blocks[1]), eight(&blocks[0]));
            _mm256_mullo_epi16(both, _mm256_broadcastsi128_si256(eight(quant)))
        };
        // Written out: a closure called through `map` would not be compiled into this function.
        let rows = [
            load(0),
            load(1),
            load(2),
            load(3),
            load(4),
            load(5),
            load(6),
            load(7),
        ];
        let rows = one_dimension::<{ (CONST_BITS - PASS1_BITS) as i32 }>(rows);
        let rows = one_dimension::<{ (CONST_BITS + PASS1_BITS + 3) as i32 }>(transpose(rows));
        let rows = transpose(rows);
        for y in (0..8).step_by(2) {
            let bytes = _mm256_packs_epi16(rows[y], rows[y + 1]);
            let bytes = _mm256_add_epi8(bytes, _mm256_set1_epi8(-128));
            // (block 0: row y, row y+1), (block 1: row y, row y+1) to whole rows.
            let bytes = _mm256_permute4x64_epi64::<0b11_01_10_00>(bytes);
            let lines = [
                _mm256_castsi256_si128(bytes),
                _mm256_extracti128_si256::<1>(bytes),
            ];
            for (i, line) in lines.into_iter().enumerate() {
                let target = &mut out[(y + i) * stride..(y + i) * stride + 16];
                // SAFETY: `target` is 16 bytes long.
                unsafe { _mm_storeu_si128(target.as_mut_ptr().cast(), line) };
            }
        }
    }

    /// `a` and `b` (16 bits each) as factors of an interleaved pair.
    #[target_feature(enable = "avx2")]
    fn factors(a: i32, b: i32) -> __m256i {
        _mm256_set1_epi32((a & 0xffff) | (b << 16))
    }

    /// `a * f + b * g` as 32-bit numbers: (lower four, upper four) of each half.
    #[target_feature(enable = "avx2")]
    fn rotate(a: __m256i, b: __m256i, f: i32, g: i32) -> [__m256i; 2] {
        let by = factors(f, g);
        [
            _mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), by),
            _mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), by),
        ]
    }

    /// 16-bit numbers times 2^13 as 32-bit ones.
    #[target_feature(enable = "avx2")]
    fn widen(a: __m256i) -> [__m256i; 2] {
        const DOWN: i32 = 16 - CONST_BITS as i32;
        let zero = _mm256_setzero_si256();
        [
            _mm256_srai_epi32::<DOWN>(_mm256_unpacklo_epi16(zero, a)),
            _mm256_srai_epi32::<DOWN>(_mm256_unpackhi_epi16(zero, a)),
        ]
    }

    #[target_feature(enable = "avx2")]
    fn add(a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        [_mm256_add_epi32(a[0], b[0]), _mm256_add_epi32(a[1], b[1])]
    }

    #[target_feature(enable = "avx2")]
    fn sub(a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        [_mm256_sub_epi32(a[0], b[0]), _mm256_sub_epi32(a[1], b[1])]
    }

    #[target_feature(enable = "avx2")]
    fn descale<const SHIFT: i32>(a: [__m256i; 2]) -> __m256i {
        let round = _mm256_set1_epi32(1 << (SHIFT - 1));
        _mm256_packs_epi32(
            _mm256_srai_epi32::<SHIFT>(_mm256_add_epi32(a[0], round)),
            _mm256_srai_epi32::<SHIFT>(_mm256_add_epi32(a[1], round)),
        )
    }

    #[target_feature(enable = "avx2")]
    fn one_dimension<const SHIFT: i32>(x: Rows) -> Rows {
        let t2 = rotate(x[2], x[6], F_0_541, F_0_541 - F_1_847);
        let t3 = rotate(x[2], x[6], F_0_541 + F_0_765, F_0_541);
        let t0 = widen(_mm256_add_epi16(x[0], x[4]));
        let t1 = widen(_mm256_sub_epi16(x[0], x[4]));
        let even = [add(t0, t3), add(t1, t2), sub(t1, t2), sub(t0, t3)];
        let (z3, z4) = (_mm256_add_epi16(x[7], x[3]), _mm256_add_epi16(x[5], x[1]));
        let z3_turned = rotate(z3, z4, F_1_175 - F_1_961, F_1_175);
        let z4_turned = rotate(z3, z4, F_1_175, F_1_175 - F_0_390);
        let odd = [
            add(rotate(x[7], x[1], -F_0_899, F_1_501 - F_0_899), z4_turned),
            add(rotate(x[5], x[3], -F_2_562, F_3_072 - F_2_562), z3_turned),
            add(rotate(x[5], x[3], F_2_053 - F_2_562, -F_2_562), z4_turned),
            add(rotate(x[7], x[1], F_0_298 - F_0_899, -F_0_899), z3_turned),
        ];
        [
            descale::<SHIFT>(add(even[0], odd[0])),
            descale::<SHIFT>(add(even[1], odd[1])),
            descale::<SHIFT>(add(even[2], odd[2])),
            descale::<SHIFT>(add(even[3], odd[3])),
            descale::<SHIFT>(sub(even[3], odd[3])),
            descale::<SHIFT>(sub(even[2], odd[2])),
            descale::<SHIFT>(sub(even[1], odd[1])),
            descale::<SHIFT>(sub(even[0], odd[0])),
        ]
    }

    /// Transposes the 8x8 numbers of each half.
    #[target_feature(enable = "avx2")]
    fn transpose(x: Rows) -> Rows {
        let pairs = |a: usize, b: usize| {
            [
                _mm256_unpacklo_epi16(x[a], x[b]),
                _mm256_unpackhi_epi16(x[a], x[b]),
            ]
        };
        let (a, b, c, d) = (pairs(0, 1), pairs(2, 3), pairs(4, 5), pairs(6, 7));
        let mut out = x;
        for i in 0..2 {
            let upper = [
                _mm256_unpacklo_epi32(a[i], b[i]),
                _mm256_unpackhi_epi32(a[i], b[i]),
            ];
            let lower = [
                _mm256_unpacklo_epi32(c[i], d[i]),
                _mm256_unpackhi_epi32(c[i], d[i]),
            ];
            for j in 0..2 {
                out[4 * i + 2 * j] = _mm256_unpacklo_epi64(upper[j], lower[j]);
                out[4 * i + 2 * j + 1] = _mm256_unpackhi_epi64(upper[j], lower[j]);
            }
        }
        out
    }
}
