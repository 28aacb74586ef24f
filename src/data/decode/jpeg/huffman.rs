//! Huffman codes (ITU T.81 Annexes C and F).

use super::bits::{Bits, REFILLED};

/// Bits looked at at once; longer codes take the slow path.
const LOOK: u32 = 10;

/// How many steps may follow a refill: a quick one, then one that may be slow.
pub const STEPS_PER_REFILL: usize = 2;
const _: () = assert!(LOOK + LONGEST_MAGNITUDE + 16 + LONGEST_MAGNITUDE <= REFILLED);
const LONGEST_MAGNITUDE: u32 = 15;

/// One Huffman table, ready for decoding.
pub struct HuffmanTable {
    /// By the next [`LOOK`] bits.
    codes: [Code; 1 << LOOK],
    /// Largest code of each length, left-aligned to 16 bits, plus one; index 1..=16.
    limit: [u32; 18],
    /// Index of a length's first symbol minus its first code.
    offset: [i32; 17],
    symbols: [u8; 256],
}

/// What the next bits begin with.
#[derive(Clone, Copy, Default)]
struct Code {
    symbol: u8,
    /// Bits of the code; 0 where it is longer than [`LOOK`].
    length: u8,
    /// Bits of the code and the magnitude behind it.
    whole: u8,
    /// What [`Step::advance`] says.
    advance: u8,
}

/// A coefficient in the stream.
pub struct Step {
    pub value: i16,
    /// From the coefficient before to this one, in zigzag order; [`END_OF_BLOCK`] behind the last.
    pub advance: u8,
}

/// Leads behind every coefficient.
const END_OF_BLOCK: u8 = 128;

impl Code {
    fn new(symbol: u8, length: u8) -> Code {
        let (run, size) = (symbol >> 4, symbol & 15);
        Code {
            symbol,
            length,
            whole: length + size,
            advance: if size > 0 || run == 15 {
                run + 1
            } else {
                END_OF_BLOCK
            },
        }
    }
}

impl HuffmanTable {
    /// From the 16 counts per length and the symbols in code order.
    pub fn new(counts: &[u8], symbols: &[u8]) -> Result<HuffmanTable, String> {
        let mut table = HuffmanTable {
            codes: [Code::default(); 1 << LOOK],
            limit: [0; 18],
            offset: [0; 17],
            symbols: [0; 256],
        };
        table.symbols[..symbols.len()].copy_from_slice(symbols);
        let (mut code, mut index) = (0u32, 0usize);
        for length in 1..=16u32 {
            table.offset[length as usize] = index as i32 - code as i32;
            for _ in 0..counts[length as usize - 1] {
                if length <= LOOK {
                    let start = (code << (LOOK - length)) as usize;
                    let end = start + (1 << (LOOK - length));
                    let codes = table.codes.get_mut(start..end).ok_or(DAMAGED)?;
                    codes.fill(Code::new(symbols[index], length as u8));
                }
                code += 1;
                index += 1;
            }
            if code > 1 << length {
                return Err(DAMAGED.into());
            }
            table.limit[length as usize] = code << (16 - length);
            code <<= 1;
        }
        table.limit[17] = u32::MAX;
        Ok(table)
    }

    /// The next code and its magnitude; up to [`STEPS_PER_REFILL`] times after a refill.
    #[inline(always)]
    pub fn step(&self, bits: &mut Bits, bytes: &[u8]) -> Step {
        let code = self.codes[bits.peek(LOOK) as usize];
        if code.length == 0 {
            let (step, after) = self.slow_step(*bits, bytes);
            *bits = after;
            return step;
        }
        let magnitude = bits.peek_behind(u32::from(code.length));
        bits.skip(u32::from(code.whole));
        Step {
            value: extended(magnitude, u32::from(code.symbol & 15)) as i16,
            advance: code.advance,
        }
    }

    /// [`HuffmanTable::step`] for a code longer than [`LOOK`].
    #[cold]
    fn slow_step(&self, mut bits: Bits, bytes: &[u8]) -> (Step, Bits) {
        let symbol = self.symbol(&mut bits);
        let size = u32::from(symbol & 15);
        let step = Step {
            value: extended(bits.peek_behind(0), size) as i16,
            advance: Code::new(symbol, 0).advance,
        };
        bits.skip(size);
        bits.refill(bytes);
        (step, bits)
    }

    /// The next symbol; needs 16 bits. A code that the table does not have reads as 0, as libjpeg
    /// takes it.
    #[inline(always)]
    pub fn symbol(&self, bits: &mut Bits) -> u8 {
        let code = self.codes[bits.peek(LOOK) as usize];
        if code.length != 0 {
            bits.skip(u32::from(code.length));
            return code.symbol;
        }
        let next = bits.peek(16);
        let mut length = LOOK as usize + 1;
        while next >= self.limit[length] {
            length += 1;
        }
        if length > 16 {
            bits.skip(16);
            return 0;
        }
        bits.skip(length as u32);
        let code = (next >> (16 - length)) as i32;
        let index = code + self.offset[length];
        self.symbols[(index & 0xff) as usize]
    }
}

const DAMAGED: &str = "a Huffman table is damaged";

/// The magnitude in the first `size` (0..=15) of `bits` as a signed number (T.81 F.2.2.1 EXTEND):
/// where the first bit is 0, all of them complemented and negative. No branch: signs are random.
#[inline(always)]
pub fn extended(bits: u64, size: u32) -> i32 {
    let negative = !(bits as i64 >> 63);
    // Two shifts, because one by 64 is none.
    let absolute = ((bits ^ negative as u64) >> 1 >> (63 - size)) as i32;
    (absolute ^ negative as i32) - negative as i32
}
