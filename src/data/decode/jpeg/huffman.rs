//! Huffman codes (ITU T.81 Annexes C and F).

use super::bits::{Bits, REFILLED};

/// Bits looked at at once; longer codes take the slow path.
pub const LOOK: u32 = 11;

/// How many steps may follow a refill: all short ones but the last, which may be a long one.
pub const STEPS_PER_REFILL: usize = 3;
const _: () = assert!(2 * LOOK + LONGEST <= REFILLED);

/// Bits of the longest code and magnitude.
const LONGEST: u32 = 16 + 15;

/// One Huffman table, ready for decoding.
pub struct Table {
    /// By the next [`LOOK`] bits: code length << 8 | symbol, or 0 for a longer code.
    short: [u16; 1 << LOOK],
    /// By the next [`LOOK`] bits, where a code and the magnitude after it fit.
    steps: [Step; 1 << LOOK],
    /// Largest code of each length, left-aligned to 16 bits, plus one; index 1..=16.
    limit: [u32; 18],
    /// Index of a length's first symbol minus its first code.
    offset: [i32; 17],
    symbols: [u8; 256],
}

/// A code with its magnitude.
#[derive(Clone, Copy, Default)]
pub struct Step {
    pub value: i16,
    /// From the coefficient before to this one, in zigzag order; [`END_OF_BLOCK`] behind the last.
    pub advance: u8,
    /// Bits of code and magnitude; 0 where they do not fit.
    pub length: u8,
}

/// Leads behind every coefficient.
pub const END_OF_BLOCK: u8 = 128;

impl Step {
    /// What an AC symbol means, but for its value.
    fn new(symbol: u8) -> Step {
        let (run, size) = (symbol >> 4, symbol & 15);
        Step {
            value: 0,
            advance: if size > 0 || run == 15 {
                run + 1
            } else {
                END_OF_BLOCK
            },
            length: 0,
        }
    }
}

impl Table {
    /// From the 16 counts per length and the symbols in code order.
    pub fn new(counts: &[u8], symbols: &[u8]) -> Result<Table, String> {
        let mut table = Table {
            short: [0; 1 << LOOK],
            steps: [Step::default(); 1 << LOOK],
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
                    table.fill(code, length, symbols[index])?;
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

    /// Enters a code of at most [`LOOK`] bits.
    fn fill(&mut self, code: u32, length: u32, symbol: u8) -> Result<(), String> {
        let start = (code << (LOOK - length)) as usize;
        let end = start + (1 << (LOOK - length));
        let short = self.short.get_mut(start..end).ok_or(DAMAGED)?;
        short.fill((length << 8) as u16 | u16::from(symbol));
        let size = u32::from(symbol & 15);
        if length + size <= LOOK {
            let step = Step {
                length: (length + size) as u8,
                ..Step::new(symbol)
            };
            let same = 1 << (LOOK - length - size);
            for (magnitude, steps) in (0..).zip(self.steps[start..end].chunks_exact_mut(same)) {
                let value = extend(magnitude, size) as i16;
                steps.fill(Step { value, ..step });
            }
        }
        Ok(())
    }

    /// The next code and its magnitude; up to [`STEPS_PER_REFILL`] times after a refill.
    #[inline(always)]
    pub fn step(&self, bits: &mut Bits, bytes: &[u8]) -> Step {
        let step = self.steps[bits.peek(LOOK) as usize];
        if step.length == 0 {
            let (step, after) = self.long_step(*bits, bytes);
            *bits = after;
            return step;
        }
        bits.skip(u32::from(step.length));
        step
    }

    /// [`Table::step`] where code and magnitude are longer than [`LOOK`].
    #[inline(never)]
    fn long_step(&self, mut bits: Bits, bytes: &[u8]) -> (Step, Bits) {
        let symbol = self.symbol(&mut bits);
        let size = u32::from(symbol & 15);
        let value = extend(bits.take(size), size) as i16;
        bits.refill(bytes);
        let step = Step {
            value,
            ..Step::new(symbol)
        };
        (step, bits)
    }

    /// The next symbol; needs 16 bits. A code that the table does not have reads as 0, as libjpeg
    /// takes it.
    #[inline(always)]
    pub fn symbol(&self, bits: &mut Bits) -> u8 {
        let entry = self.short[bits.peek(LOOK) as usize];
        if entry != 0 {
            bits.skip(u32::from(entry >> 8));
            return entry as u8;
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

/// A magnitude of `size` bits as a signed number (T.81 F.2.2.1 EXTEND).
#[inline(always)]
pub fn extend(magnitude: u32, size: u32) -> i32 {
    let value = magnitude as i32;
    if size > 0 && value < 1 << (size - 1) {
        value - (1 << size) + 1
    } else {
        value
    }
}
