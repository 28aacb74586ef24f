//! Huffman codes and the bit stream of an entropy-coded segment (ITU T.81 Annex F).

/// Bits looked at at once; longer codes take the slow path.
pub const LOOK: u32 = 10;

/// One Huffman table, ready for decoding.
pub struct Table {
    /// By the next [`LOOK`] bits: code length << 8 | symbol, or 0 for a longer code.
    short: Box<[u16; 1 << LOOK]>,
    /// By the next [`LOOK`] bits, where a code and the magnitude after it fit: value << 16 |
    /// zero run << 8 | bits of both; 0 elsewhere.
    values: Box<[i32; 1 << LOOK]>,
    /// Largest code of each length, left-aligned to 16 bits, plus one; index 1..=16.
    limit: [u32; 18],
    /// Index of a length's first symbol minus its first code.
    offset: [i32; 17],
    symbols: [u8; 256],
}

impl Table {
    /// From the 16 counts per length and the symbols in code order.
    pub fn new(counts: &[u8], symbols: &[u8]) -> Result<Table, String> {
        let mut table = Table {
            short: Box::new([0; 1 << LOOK]),
            values: Box::new([0; 1 << LOOK]),
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
                    let entry = (length << 8) as u16 | u16::from(symbols[index]);
                    let end = start + (1 << (LOOK - length));
                    match table.short.get_mut(start..end) {
                        Some(entries) => entries.fill(entry),
                        None => return Err("a Huffman table is damaged".into()),
                    }
                }
                code += 1;
                index += 1;
            }
            if code > 1 << length {
                return Err("a Huffman table is damaged".into());
            }
            table.limit[length as usize] = code << (16 - length);
            code <<= 1;
        }
        table.limit[17] = u32::MAX;
        table.fill_values();
        Ok(table)
    }

    fn fill_values(&mut self) {
        for bits in 0..1u32 << LOOK {
            let entry = u32::from(self.short[bits as usize]);
            let (length, size, run) = (entry >> 8, entry & 15, (entry >> 4) & 15);
            if length == 0 || size == 0 || length + size > LOOK {
                continue;
            }
            let magnitude = (bits >> (LOOK - length - size)) & ((1 << size) - 1);
            let value = extend(magnitude, size);
            self.values[bits as usize] = value << 16 | (run << 8 | (length + size)) as i32;
        }
    }
}

/// A magnitude of `size` bits as a signed number (T.81 F.2.2.1 EXTEND).
pub fn extend(magnitude: u32, size: u32) -> i32 {
    let value = magnitude as i32;
    if size > 0 && value < 1 << (size - 1) {
        value - (1 << size) + 1
    } else {
        value
    }
}

/// Reads bits; stops at a marker, after which zero bits come.
pub struct Bits<'a> {
    data: &'a [u8],
    /// Next byte to take.
    pub position: usize,
    /// The next bits, from the top.
    buffer: u64,
    /// How many bits of `buffer` are filled, and how many of those were made up.
    filled: u32,
    made_up: u32,
    /// The marker that ended the segment; `position` is behind it.
    pub marker: Option<u8>,
}

impl<'a> Bits<'a> {
    pub fn new(data: &'a [u8], position: usize) -> Self {
        Bits {
            data,
            position,
            buffer: 0,
            filled: 0,
            made_up: 0,
            marker: None,
        }
    }

    /// The whole file.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// Drops what is left of the last byte.
    pub fn align(&mut self) {
        (self.buffer, self.filled, self.made_up) = (0, 0, 0);
    }

    /// True once bits were used that the file does not have.
    pub fn exhausted(&self) -> bool {
        self.filled < self.made_up
    }

    /// True where the file ended within the segment.
    pub fn at_end_of_file(&self) -> bool {
        self.marker.is_none() && self.position >= self.data.len()
    }

    /// Makes at least 32 bits available: a code and its magnitude.
    #[inline(always)]
    pub fn refill(&mut self) {
        if self.filled > 32 {
            return;
        }
        if let Some(bytes) = self.data.get(self.position..self.position + 4) {
            let word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            // A byte of 0xff begins a marker or is stuffed: is any byte of the complement zero?
            let inverse = !word;
            let any = inverse.wrapping_sub(0x0101_0101) & word & 0x8080_8080;
            if any == 0 && self.marker.is_none() {
                self.buffer |= u64::from(word) << (32 - self.filled);
                self.filled += 32;
                self.position += 4;
                return;
            }
        }
        self.refill_bytes();
    }

    #[cold]
    fn refill_bytes(&mut self) {
        while self.filled <= 56 {
            let byte = self.next_byte();
            if byte.is_none() {
                self.made_up += 8;
            }
            self.buffer |= u64::from(byte.unwrap_or(0)) << (56 - self.filled);
            self.filled += 8;
        }
    }

    /// The next data byte; `None` at a marker or the file's end.
    fn next_byte(&mut self) -> Option<u8> {
        if self.marker.is_some() {
            return None;
        }
        let byte = *self.data.get(self.position)?;
        self.position += 1;
        if byte != 0xff {
            return Some(byte);
        }
        // Fill bytes may come before the marker code.
        loop {
            let code = *self.data.get(self.position)?;
            self.position += 1;
            match code {
                0xff => {}
                0 => return Some(0xff),
                marker => {
                    self.marker = Some(marker);
                    return None;
                }
            }
        }
    }

    #[inline(always)]
    fn peek(&self, count: u32) -> u32 {
        (self.buffer >> (64 - count)) as u32
    }

    #[inline(always)]
    fn skip(&mut self, count: u32) {
        self.buffer <<= count;
        self.filled = self.filled.wrapping_sub(count);
    }

    /// The next `count` (0..=16) bits; after `refill`.
    #[inline(always)]
    pub fn take(&mut self, count: u32) -> u32 {
        if count == 0 {
            return 0;
        }
        let bits = self.peek(count);
        self.skip(count);
        bits
    }

    /// One bit, refilling by itself.
    #[inline(always)]
    pub fn bit(&mut self) -> bool {
        self.refill();
        self.take(1) == 1
    }

    /// A coefficient whose code and magnitude are short: (zero run, value); after `refill`.
    #[inline(always)]
    pub fn short_value(&mut self, table: &Table) -> Option<(usize, i16)> {
        let entry = table.values[self.peek(LOOK) as usize];
        if entry == 0 {
            return None;
        }
        self.skip((entry & 0xff) as u32);
        Some(((entry >> 8 & 0xff) as usize, (entry >> 16) as i16))
    }

    /// The next symbol; after `refill`. A code that the table does not have reads as 0, as
    /// libjpeg takes it.
    #[inline(always)]
    pub fn symbol(&mut self, table: &Table) -> u8 {
        let entry = table.short[self.peek(LOOK) as usize];
        if entry != 0 {
            self.skip(u32::from(entry >> 8));
            return entry as u8;
        }
        let bits = self.peek(16);
        let mut length = LOOK as usize + 1;
        while bits >= table.limit[length] {
            length += 1;
        }
        if length > 16 {
            self.skip(16);
            return 0;
        }
        self.skip(length as u32);
        let code = (bits >> (16 - length)) as i32;
        let index = code + table.offset[length];
        table.symbols[(index & 0xff) as usize]
    }
}
