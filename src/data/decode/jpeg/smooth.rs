//! A progressive file that ends before its last scans: coefficients that are missing, guessed from
//! the averages of the blocks around, as libjpeg-turbo does (`jdcoefct.c`, after ITU T.81 K.8) and
//! Pillow therefore shows.
//!
//! The weights below are those of libjpeg-turbo since 2.1: of the averages of 5 x 5 blocks, times
//! 256.

use super::header::{Component, Quant};
use super::scan::Block;

/// Coefficients that are guessed, with the DC first: their places in zigzag order are 0 to 9, these
/// are the places in rows and columns.
const PLACES: [usize; 10] = [0, 1, 8, 16, 9, 2, 3, 10, 17, 24];
/// How many coefficients [`Known`] tells of.
pub const COEFFICIENTS: usize = PLACES.len();

/// Bits still missing of the first coefficients in zigzag order, -1 where nothing is known.
pub type Known = [i8; COEFFICIENTS];

type Kernel = [[i32; 5]; 5];

const NONE: [i32; 5] = [0; 5];

/// Where some AC coefficients are known: the first five.
const SHARP: [Kernel; 5] = [
    [NONE, NONE, [-7, 50, 0, -50, 7], NONE, NONE],
    [
        [0, 0, -7, 0, 0],
        [0, 0, 50, 0, 0],
        NONE,
        [0, 0, -50, 0, 0],
        [0, 0, 7, 0, 0],
    ],
    [
        [0, 0, -1, 0, 0],
        [0, 0, 13, 0, 0],
        [0, 0, -24, 0, 0],
        [0, 0, 13, 0, 0],
        [0, 0, -1, 0, 0],
    ],
    [
        [0, -1, 0, 1, 0],
        [-1, 10, 0, -10, 1],
        NONE,
        [1, -10, 0, 10, -1],
        [0, 1, 0, -1, 0],
    ],
    [NONE, NONE, [-1, 13, -24, 13, -1], NONE, NONE],
];

/// Where only averages are known: all nine, and the average itself.
const SOFT: [Kernel; 9] = [
    [
        [-1, -1, 0, 1, 1],
        [-3, 13, 0, -13, 3],
        [-3, 38, 0, -38, 3],
        [-3, 13, 0, -13, 3],
        [-1, -1, 0, 1, 1],
    ],
    [
        [-1, -3, -3, -3, -1],
        [-1, 13, 38, 13, -1],
        NONE,
        [1, -13, -38, -13, 1],
        [1, 3, 3, 3, 1],
    ],
    [
        [0, 0, 1, 0, 0],
        [0, 2, 7, 2, 0],
        [0, -5, -14, -5, 0],
        [0, 2, 7, 2, 0],
        [0, 0, 1, 0, 0],
    ],
    [
        [-1, 0, 0, 0, 1],
        [0, 9, 0, -9, 0],
        NONE,
        [0, -9, 0, 9, 0],
        [1, 0, 0, 0, -1],
    ],
    [
        NONE,
        [0, 2, -5, 2, 0],
        [1, 7, -14, 7, 1],
        [0, 2, -5, 2, 0],
        NONE,
    ],
    [
        NONE,
        [0, 1, 0, -1, 0],
        [0, 2, 0, -2, 0],
        [0, 1, 0, -1, 0],
        NONE,
    ],
    [NONE, [0, 1, -3, 1, 0], NONE, [0, -1, 3, -1, 0], NONE],
    [
        NONE,
        [0, 1, 0, -1, 0],
        [0, -3, 0, 3, 0],
        [0, 1, 0, -1, 0],
        NONE,
    ],
    [NONE, [0, 1, 2, 1, 0], NONE, [0, -1, -2, -1, 0], NONE],
];
const SOFT_AVERAGE: Kernel = [
    [-2, -6, -8, -6, -2],
    [-6, 6, 42, 6, -6],
    [-8, 42, 152, 42, -8],
    [-6, 6, 42, 6, -6],
    [-2, -6, -8, -6, -2],
];

/// Whether guessing is possible and of use: averages are known of every component, and some of
/// the first coefficients are not.
pub fn applies<'a>(components: impl Iterator<Item = (&'a Known, Option<&'a Quant>)>) -> bool {
    let mut useful = false;
    for (known, quant) in components {
        let divisible = quant.is_some_and(|quant| PLACES.iter().all(|&place| quant[place] != 0));
        if known[0] < 0 || !divisible {
            return false;
        }
        useful |= known[1..].iter().any(|&bits| bits != 0);
    }
    useful
}

/// Row `y` of a component's blocks with the guesses put in.
///
/// `blocks`: all of the component's, `padded_x` a row; `mcus_y`: rows of MCUs of the frame.
pub fn row(
    blocks: &[Block],
    component: &Component,
    mcus_y: usize,
    y: usize,
    known: &Known,
    quant: &Quant,
) -> Vec<Block> {
    let rows = neighbours(component, mcus_y, y);
    let last = component.blocks_x - 1;
    let soft = known[1..].iter().all(|&bits| bits == -1);
    let kernels: &[Kernel] = if soft { &SOFT } else { &SHARP };
    let stride = component.padded_x;
    let mut line = blocks[y * stride..][..stride].to_vec();
    for (x, block) in line.iter_mut().enumerate().take(component.blocks_x) {
        let sum = |kernel: &Kernel| -> i64 {
            let mut sum = 0;
            for (&row, weights) in rows.iter().zip(kernel) {
                for (dx, &weight) in weights.iter().enumerate() {
                    let column = (x + dx).saturating_sub(2).min(last);
                    let average = blocks[row * stride + column][0];
                    sum += i64::from(weight) * i64::from(average);
                }
            }
            sum * i64::from(quant[0])
        };
        for ((&place, &bits), kernel) in PLACES[1..].iter().zip(&known[1..]).zip(kernels) {
            if bits != 0 && block[place] == 0 {
                let guess = rounded(sum(kernel), quant[place]);
                // The bits that are known are zero, which bounds the guess.
                let most = match bits {
                    1.. => (1i64 << bits) - 1,
                    _ => i64::MAX,
                };
                block[place] = guess.clamp(-most, most) as i16;
            }
        }
        if soft {
            block[0] = rounded(sum(&SOFT_AVERAGE), quant[0]) as i16;
        }
    }
    line
}

/// `value / (256 * step)`, rounded half away from zero.
fn rounded(value: i64, step: u16) -> i64 {
    let step = i64::from(step);
    ((step << 7) + value.abs()) / (step << 8) * value.signum()
}

/// The rows of blocks two and one above, at, and one and two below `y`; libjpeg counts those of the
/// last row of MCUs by the blocks that this row has.
fn neighbours(component: &Component, mcus_y: usize, y: usize) -> [usize; 5] {
    let mcu = y / component.v;
    let within = y % component.v;
    let rows = match (mcu + 1 == mcus_y, component.blocks_y % component.v) {
        (true, rest @ 1..) => rest,
        _ => component.v,
    };
    let (number, count) = (mcu * rows + within, rows * mcus_y);
    let above = if number > 0 { y - 1 } else { y };
    let below = if number + 1 < count { y + 1 } else { y };
    [
        if number > 1 { y - 2 } else { above },
        above,
        y,
        below,
        if number + 2 < count { y + 2 } else { below },
    ]
}
