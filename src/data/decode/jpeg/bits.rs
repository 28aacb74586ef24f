//! The bit stream of an entropy-coded segment.

/// Bits that [`Bits::refill`] makes available at least.
pub const REFILLED: u32 = 56;

/// The data bytes between two markers, without the zeros stuffed behind each 0xff.
#[derive(Default)]
pub struct Segment {
    pub bytes: Vec<u8>,
    /// The marker that ended the data; `None` where the file ended before.
    pub marker: Option<u8>,
    /// Behind the marker, in the file.
    pub position: usize,
}

impl Segment {
    /// Reads on from `position`.
    pub fn read(&mut self, file: &[u8], position: usize) {
        self.bytes.clear();
        self.marker = None;
        self.position = file.len();
        let mut rest = file.get(position..).unwrap_or_default();
        while let Some(at) = memchr::memchr(0xff, rest) {
            self.bytes.extend_from_slice(&rest[..at]);
            // Fill bytes may come before the code.
            let code = rest[at..].iter().position(|&byte| byte != 0xff);
            let Some(code) = code.map(|fill| at + fill) else {
                return;
            };
            let marker = rest[code];
            rest = &rest[code + 1..];
            if marker != 0 {
                self.marker = Some(marker);
                self.position = file.len() - rest.len();
                return;
            }
            self.bytes.push(0xff);
        }
        self.bytes.extend_from_slice(rest);
    }
}

/// Where in a segment's bytes the decoder is. Small enough to live in registers: the byte slice is
/// handed in, and the inner loops work on a copy.
#[derive(Clone, Copy, Default)]
pub struct Bits {
    /// Next byte to take.
    at: usize,
    /// The next bits, from the top.
    buffer: u64,
    /// How many bits of `buffer` count, and how many of those were made up behind the end.
    filled: u32,
    made_up: u32,
}

impl Bits {
    /// True once bits were used that the segment does not have.
    pub fn exhausted(&self) -> bool {
        self.filled < self.made_up
    }

    /// Makes at least [`REFILLED`] bits available, zeros behind the end.
    #[inline(always)]
    pub fn refill(&mut self, bytes: &[u8]) {
        let Some(next) = bytes
            .get(self.at..self.at + 8)
            .and_then(|b| b.first_chunk())
        else {
            *self = self.refilled_at_end(bytes);
            return;
        };
        // Bits below the last whole byte are set twice, to the same values.
        self.buffer |= u64::from_be_bytes(*next) >> self.filled;
        self.at += ((63 - self.filled) / 8) as usize;
        self.filled |= REFILLED;
    }

    #[cold]
    fn refilled_at_end(mut self, bytes: &[u8]) -> Self {
        while self.filled <= REFILLED {
            match bytes.get(self.at) {
                Some(&byte) => {
                    self.buffer |= u64::from(byte) << (56 - self.filled);
                    self.at += 1;
                }
                None => self.made_up += 8,
            }
            self.filled += 8;
        }
        self
    }

    /// The next `count` (1..=32) bits, left where they are.
    #[inline(always)]
    pub fn peek(&self, count: u32) -> u32 {
        (self.buffer >> (64 - count)) as u32
    }

    /// All bits from `start` (0..=16) on, from the top.
    #[inline(always)]
    pub fn peek_behind(&self, start: u32) -> u64 {
        self.buffer << start
    }

    #[inline(always)]
    pub fn skip(&mut self, count: u32) {
        self.buffer <<= count;
        self.filled = self.filled.wrapping_sub(count);
    }

    /// The next `count` (0..=16) bits.
    #[inline(always)]
    pub fn take(&mut self, count: u32) -> u32 {
        // Two shifts, because one by 64 is none.
        let bits = (self.buffer >> 1 >> (63 - count)) as u32;
        self.skip(count);
        bits
    }
}
