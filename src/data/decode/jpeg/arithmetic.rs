//! Arithmetic-coded sequential scans (ITU T.81 Annexes D and F.2.4), with libjpeg's treatment of
//! impossible codes: what follows in the restart interval stays empty.

use super::bits::Segment;
use super::header::{NATURAL, Scan, Tables};
use super::scan::Block;

/// States of the estimate of a probability (T.81 table D.3): its size, the next state after the less
/// and after the more probable symbol, and whether the two change places.
#[rustfmt::skip]
const STATES: [(u16, u8, u8, bool); 114] = [
    (0x5a1d, 1, 1, true), (0x2586, 14, 2, false), (0x1114, 16, 3, false), (0x080b, 18, 4, false),
    (0x03d8, 20, 5, false), (0x01da, 23, 6, false), (0x00e5, 25, 7, false), (0x006f, 28, 8, false),
    (0x0036, 30, 9, false), (0x001a, 33, 10, false), (0x000d, 35, 11, false), (0x0006, 9, 12, false),
    (0x0003, 10, 13, false), (0x0001, 12, 13, false), (0x5a7f, 15, 15, true), (0x3f25, 36, 16, false),
    (0x2cf2, 38, 17, false), (0x207c, 39, 18, false), (0x17b9, 40, 19, false), (0x1182, 42, 20, false),
    (0x0cef, 43, 21, false), (0x09a1, 45, 22, false), (0x072f, 46, 23, false), (0x055c, 48, 24, false),
    (0x0406, 49, 25, false), (0x0303, 51, 26, false), (0x0240, 52, 27, false), (0x01b1, 54, 28, false),
    (0x0144, 56, 29, false), (0x00f5, 57, 30, false), (0x00b7, 59, 31, false), (0x008a, 60, 32, false),
    (0x0068, 62, 33, false), (0x004e, 63, 34, false), (0x003b, 32, 35, false), (0x002c, 33, 9, false),
    (0x5ae1, 37, 37, true), (0x484c, 64, 38, false), (0x3a0d, 65, 39, false), (0x2ef1, 67, 40, false),
    (0x261f, 68, 41, false), (0x1f33, 69, 42, false), (0x19a8, 70, 43, false), (0x1518, 72, 44, false),
    (0x1177, 73, 45, false), (0x0e74, 74, 46, false), (0x0bfb, 75, 47, false), (0x09f8, 77, 48, false),
    (0x0861, 78, 49, false), (0x0706, 79, 50, false), (0x05cd, 48, 51, false), (0x04de, 50, 52, false),
    (0x040f, 50, 53, false), (0x0363, 51, 54, false), (0x02d4, 52, 55, false), (0x025c, 53, 56, false),
    (0x01f8, 54, 57, false), (0x01a4, 55, 58, false), (0x0160, 56, 59, false), (0x0125, 57, 60, false),
    (0x00f6, 58, 61, false), (0x00cb, 59, 62, false), (0x00ab, 61, 63, false), (0x008f, 61, 32, false),
    (0x5b12, 65, 65, true), (0x4d04, 80, 66, false), (0x412c, 81, 67, false), (0x37d8, 82, 68, false),
    (0x2fe8, 83, 69, false), (0x293c, 84, 70, false), (0x2379, 86, 71, false), (0x1edf, 87, 72, false),
    (0x1aa9, 87, 73, false), (0x174e, 72, 74, false), (0x1424, 72, 75, false), (0x119c, 74, 76, false),
    (0x0f6b, 74, 77, false), (0x0d51, 75, 78, false), (0x0bb6, 77, 79, false), (0x0a40, 77, 48, false),
    (0x5832, 80, 81, true), (0x4d1c, 88, 82, false), (0x438e, 89, 83, false), (0x3bdd, 90, 84, false),
    (0x34ee, 91, 85, false), (0x2eae, 92, 86, false), (0x299a, 93, 87, false), (0x2516, 86, 71, false),
    (0x5570, 88, 89, true), (0x4ca9, 95, 90, false), (0x44d9, 96, 91, false), (0x3e22, 97, 92, false),
    (0x3824, 99, 93, false), (0x32b4, 99, 94, false), (0x2e17, 93, 86, false), (0x56a8, 95, 96, true),
    (0x4f46, 101, 97, false), (0x47e5, 102, 98, false), (0x41cf, 103, 99, false), (0x3c3d, 104, 100, false),
    (0x375e, 99, 93, false), (0x5231, 105, 102, false), (0x4c0f, 106, 103, false), (0x4639, 107, 104, false),
    (0x415e, 103, 99, false), (0x5627, 105, 106, true), (0x50e7, 108, 107, false), (0x4b85, 109, 103, false),
    (0x5597, 110, 109, false), (0x504f, 111, 107, false), (0x5a10, 110, 111, true), (0x5522, 112, 109, false),
    (0x59eb, 112, 111, true),
    // Not of the standard: one half, for ever.
    (0x5a1d, 113, 113, false),
];
/// The state that never changes.
const FIXED: u8 = 113;
/// Bins of statistics per table (T.81 F.1.4.4: 49 for DC, 245 for AC).
const DC_BINS: usize = 64;
const AC_BINS: usize = 256;
/// Where magnitudes begin in the bins (T.81 tables F.4 and F.5).
const DC_MAGNITUDES: usize = 20;
const AC_LOW: usize = 189;
const AC_HIGH: usize = 217;
/// From a magnitude's bin to that of its bits.
const BITS: usize = 14;

/// What a scan keeps from block to block.
pub struct Arithmetic<'a> {
    file: &'a [u8],
    segment: Segment,
    coder: Coder,
    components: Vec<Component>,
    dc: [[u8; DC_BINS]; 4],
    ac: [[u8; AC_BINS]; 4],
    fixed: u8,
    /// Smallest and largest size of a small difference, per DC table; the last low frequency, per AC
    /// table.
    small: [(u8, u8); 4],
    low: [u8; 4],
    restart_interval: usize,
    until_restart: usize,
    next_restart: u8,
    /// An impossible code: blocks stay empty until the next restart marker.
    lost: bool,
}

struct Component {
    dc: usize,
    ac: usize,
    /// Last DC value, and the bins that its difference chose.
    last: i32,
    context: usize,
}

/// The interval and the code in it.
#[derive(Default)]
struct Coder {
    code: i64,
    interval: i64,
    /// Bits left of the code; below zero while it is filled.
    left: i32,
    /// Next byte of the segment.
    at: usize,
    /// Bytes were asked for that the segment does not have.
    behind: bool,
}

impl Coder {
    fn new() -> Self {
        Coder {
            left: -16,
            ..Coder::default()
        }
    }

    /// One decision (T.81 figures D.14 to D.19), with `state` moved on.
    fn decide(&mut self, bytes: &[u8], state: &mut u8) -> bool {
        while self.interval < 0x8000 {
            self.left -= 1;
            if self.left < 0 {
                let byte = bytes.get(self.at).copied();
                self.behind |= byte.is_none();
                self.at += 1;
                self.code = self.code << 8 | i64::from(byte.unwrap_or(0));
                self.left += 8;
                if self.left < 0 {
                    self.left += 1;
                    if self.left == 0 {
                        self.interval = 0x8000;
                    }
                }
            }
            self.interval <<= 1;
        }
        let likely = *state & 0x80;
        let (size, after_less, after_more, exchange) = STATES[usize::from(*state & 0x7f)];
        let size = i64::from(size);
        self.interval -= size;
        let edge = self.interval << self.left;
        let less = if self.code >= edge {
            self.code -= edge;
            let less = self.interval >= size;
            self.interval = size;
            less
        } else if self.interval < 0x8000 {
            self.interval < size
        } else {
            return likely != 0;
        };
        *state = match less {
            true => likely ^ after_less ^ if exchange { 0x80 } else { 0 },
            false => likely ^ after_more,
        };
        (likely != 0) != less
    }
}

impl<'a> Arithmetic<'a> {
    /// Prepares the scan whose data begin at `position`.
    pub fn new(file: &'a [u8], position: usize, scan: &Scan, tables: &Tables) -> Self {
        let mut segment = Segment::default();
        segment.read(file, position);
        let component = |&(_, dc, ac): &(usize, usize, usize)| Component {
            dc,
            ac,
            last: 0,
            context: 0,
        };
        let (mut small, mut low) = ([(0, 1); 4], [5; 4]);
        for &(table, value) in &tables.conditioning {
            match table {
                0..=3 => small[usize::from(table)] = (value & 15, value >> 4),
                16..=19 => low[usize::from(table - 16)] = value,
                _ => {}
            }
        }
        Arithmetic {
            file,
            segment,
            coder: Coder::new(),
            components: scan.components.iter().map(component).collect(),
            dc: [[0; DC_BINS]; 4],
            ac: [[0; AC_BINS]; 4],
            fixed: FIXED,
            small,
            low,
            restart_interval: tables.restart_interval,
            until_restart: tables.restart_interval,
            next_restart: 0,
            lost: false,
        }
    }

    /// To be called before each MCU: passes a restart marker where one is due.
    pub fn begin_mcu(&mut self) -> Result<(), String> {
        if self.restart_interval > 0 {
            if self.until_restart == 0 {
                self.restart()?;
            }
            self.until_restart -= 1;
        }
        Ok(())
    }

    fn restart(&mut self) -> Result<(), String> {
        if self.segment.marker != Some(0xd0 + self.next_restart) {
            return Err("a restart marker of an arithmetic-coded scan is missing".into());
        }
        self.segment.read(self.file, self.segment.position);
        self.next_restart = (self.next_restart + 1) % 8;
        self.until_restart = self.restart_interval;
        self.coder = Coder::new();
        self.dc = [[0; DC_BINS]; 4];
        self.ac = [[0; AC_BINS]; 4];
        self.lost = false;
        for component in &mut self.components {
            (component.last, component.context) = (0, 0);
        }
        Ok(())
    }

    /// To be called after each MCU: an error where the file ended within it.
    pub fn end_mcu(&self) -> Result<(), String> {
        match self.coder.behind && self.segment.marker.is_none() {
            true => Err("the file is truncated".into()),
            false => Ok(()),
        }
    }

    /// To be called after the last MCU: where in the file to look for the next marker.
    pub fn end(&self) -> usize {
        self.segment.position - if self.segment.marker.is_some() { 2 } else { 0 }
    }

    /// One whole block; `block` is zero before.
    pub fn sequential(&mut self, slot: usize, block: &mut Block) {
        if !self.lost && self.decode(slot, block).is_none() {
            self.lost = true;
        }
    }

    /// `None` at an impossible code.
    fn decode(&mut self, slot: usize, block: &mut Block) -> Option<()> {
        let bytes = &self.segment.bytes[..];
        let coder = &mut self.coder;
        let component = &mut self.components[slot];
        let bins = &mut self.dc[component.dc];
        let base = component.context;
        if coder.decide(bytes, &mut bins[base]) {
            let negative = coder.decide(bytes, &mut bins[base + 1]);
            let mut bin = base + 2 + usize::from(negative);
            let mut size = i32::from(coder.decide(bytes, &mut bins[bin]));
            if size != 0 {
                bin = DC_MAGNITUDES;
                size = magnitude(coder, bytes, bins, &mut bin, size)?;
            }
            let (smallest, largest) = self.small[component.dc];
            component.context = match size {
                _ if size < 1 << smallest >> 1 => 0,
                _ if size > 1 << largest >> 1 => 12 + 4 * usize::from(negative),
                _ => 4 + 4 * usize::from(negative),
            };
            let value = value(coder, bytes, bins, bin + BITS, size);
            component.last += if negative { -value } else { value };
        } else {
            component.context = 0;
        }
        block[0] = component.last as i16;
        let bins = &mut self.ac[component.ac];
        let mut k = 1;
        while k < 64 {
            let mut bin = 3 * (k - 1);
            // End of block.
            if coder.decide(bytes, &mut bins[bin]) {
                break;
            }
            while !coder.decide(bytes, &mut bins[bin + 1]) {
                bin += 3;
                k += 1;
                if k > 63 {
                    return None;
                }
            }
            let negative = coder.decide(bytes, &mut self.fixed);
            bin += 2;
            let mut size = i32::from(coder.decide(bytes, &mut bins[bin]));
            if size != 0 && coder.decide(bytes, &mut bins[bin]) {
                bin = match k <= usize::from(self.low[component.ac]) {
                    true => AC_LOW,
                    false => AC_HIGH,
                };
                size = magnitude(coder, bytes, bins, &mut bin, 2)?;
            }
            let value = value(coder, bytes, bins, bin + BITS, size);
            block[usize::from(NATURAL[k])] = if negative { -value } else { value } as i16;
            k += 1;
        }
        Some(())
    }
}

/// Doubles `size` while the bins say so; `bin` ends at the last that was asked.
fn magnitude(
    coder: &mut Coder,
    bytes: &[u8],
    bins: &mut [u8],
    bin: &mut usize,
    mut size: i32,
) -> Option<i32> {
    while coder.decide(bytes, &mut bins[*bin]) {
        size <<= 1;
        if size == 0x8000 {
            return None;
        }
        *bin += 1;
    }
    Some(size)
}

/// The value of which `size` is the leading bit (T.81 figure F.24), plus one.
fn value(coder: &mut Coder, bytes: &[u8], bins: &mut [u8], bin: usize, size: i32) -> i32 {
    let mut value = size;
    let mut bit = size >> 1;
    while bit != 0 {
        if coder.decide(bytes, &mut bins[bin]) {
            value |= bit;
        }
        bit >>= 1;
    }
    value + 1
}
