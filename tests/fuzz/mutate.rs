//! Random damage to a file.

/// A small generator (Steele et al., SplitMix64): the same numbers for the same start, everywhere.
pub struct Dice(u64);

impl Dice {
    /// `name` and `number` decide every throw.
    pub fn new(name: &str, number: u64) -> Self {
        // FNV-1a.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        let mut dice = Dice(hash ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        dice.draw();
        dice
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0..bound; 0 where `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.draw() % bound.max(1) as u64) as usize
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Numbers at the edges of what fields hold.
const EDGES: [u64; 18] = [
    0,
    1,
    2,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0x8000,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    i64::MAX as u64,
    i64::MIN as u64,
    u64::MAX,
];

/// The same as text, and what else breaks readers of text.
const WORDS: [&str; 34] = [
    "-1",
    "0",
    "255",
    "256",
    "65535",
    "65536",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "18446744073709551616",
    "1e308",
    "1e-400",
    "nan",
    "inf",
    "-0.0",
    "\0",
    "\n",
    "\r\n",
    "\t",
    ",",
    "\"",
    "\\",
    "{",
    "}",
    "{}",
    "[",
    "]",
    "..",
    "/",
    "é",
    "\u{feff}",
    "\u{1f600}",
    "𝔘",
];

/// Most bytes of a damaged file.
const LONGEST: usize = 1 << 16;

/// One to eight pieces of damage to `bytes`; `other` lends pieces of itself.
pub fn damage(bytes: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    let pieces = 1 + dice.below(8).min(dice.below(8));
    for _ in 0..pieces {
        piece(bytes, other, dice);
    }
    bytes.truncate(LONGEST.max(other.len()));
}

fn piece(bytes: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    let at = dice.below(bytes.len());
    match dice.below(12) {
        0 | 1 if !bytes.is_empty() => bytes[at] ^= 1 << dice.below(8),
        2 if !bytes.is_empty() => bytes[at] = dice.draw() as u8,
        3 | 4 => overwrite(bytes, at, &number(dice)),
        5 => insert(bytes, at, &number(dice)),
        6 => insert(bytes, at, dice.pick(&WORDS).as_bytes()),
        7 => {
            // Text's numbers and words are replaced whole.
            let word = word_around(bytes, at);
            bytes.splice(word, dice.pick(&WORDS).bytes());
        }
        8 => {
            let end = (at + 1 + dice.below(32)).min(bytes.len());
            bytes.drain(at..end);
        }
        9 => {
            let end = (at + 1 + dice.below(64)).min(bytes.len());
            let piece = bytes[at..end].to_vec();
            let to = dice.below(bytes.len());
            insert(bytes, to, &piece);
        }
        10 => {
            let from = dice.below(other.len());
            let end = (from + 1 + dice.below(128)).min(other.len());
            match dice.below(2) {
                0 => insert(bytes, at, &other[from..end]),
                _ => overwrite(bytes, at, &other[from..end]),
            }
        }
        11 if dice.below(4) == 0 => bytes.truncate(at),
        _ => overwrite(bytes, at, &[dice.draw() as u8, dice.draw() as u8]),
    }
}

/// A number at an edge, in one to eight bytes of either order.
fn number(dice: &mut Dice) -> Vec<u8> {
    let value = dice
        .pick(&EDGES)
        .wrapping_add(dice.below(3) as u64)
        .wrapping_sub(1);
    let width = *dice.pick(&[1, 2, 4, 8]);
    match dice.below(2) {
        0 => value.to_le_bytes()[..width].to_vec(),
        _ => value.to_be_bytes()[8 - width..].to_vec(),
    }
}

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    for (byte, new) in bytes.iter_mut().skip(at).zip(with) {
        *byte = *new;
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    bytes.splice(at..at, piece.iter().copied());
}

fn word_around(bytes: &[u8], at: usize) -> std::ops::Range<usize> {
    let inside = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let start = bytes[..at]
        .iter()
        .rposition(|b| !inside(b))
        .map_or(0, |i| i + 1);
    let end = bytes[at..]
        .iter()
        .position(|b| !inside(b))
        .map_or(bytes.len(), |i| at + i);
    start..end
}
