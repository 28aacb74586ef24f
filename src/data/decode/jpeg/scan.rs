//! Entropy-coded segments to coefficients: sequential and progressive (ITU T.81 Annexes F and G).

use super::bits::{Bits, Segment};
use super::header::{NATURAL, Scan, Tables};
use super::huffman::{HuffmanTable, STEPS_PER_REFILL, extended};

/// 64 coefficients in rows and columns.
pub type Block = [i16; 64];

/// What a scan keeps from block to block.
pub struct Decoder<'a> {
    file: &'a [u8],
    segment: Segment,
    bits: Bits,
    scan: &'a Scan,
    components: Vec<Component<'a>>,
    /// Blocks left of an end-of-band run.
    band_run: u32,
    restart_interval: usize,
    until_restart: usize,
    next_restart: u8,
    /// Data ended before its time: blocks stay as they are until the next restart marker.
    starved: bool,
}

/// What a scan keeps of one of its components.
struct Component<'a> {
    dc: Option<&'a HuffmanTable>,
    ac: Option<&'a HuffmanTable>,
    /// Last DC value.
    last: i32,
}

impl<'a> Decoder<'a> {
    /// Prepares the scan whose data begin at `position`.
    pub fn new(
        file: &'a [u8],
        position: usize,
        scan: &'a Scan,
        tables: &'a Tables,
    ) -> Result<Self, String> {
        let needs_dc = scan.start == 0 && scan.high == 0;
        let needs_ac = scan.end > 0;
        let components: Vec<Component> = (scan.components.iter())
            .map(|&(_, dc, ac)| Component {
                dc: tables.dc[dc].as_deref(),
                ac: tables.ac[ac].as_deref(),
                last: 0,
            })
            .collect();
        let lacks = |c: &Component| (needs_dc && c.dc.is_none()) || (needs_ac && c.ac.is_none());
        if components.iter().any(lacks) {
            return Err("a scan uses a Huffman table that the file does not define".into());
        }
        let mut segment = Segment::default();
        segment.read(file, position);
        Ok(Decoder {
            file,
            segment,
            bits: Bits::default(),
            scan,
            components,
            band_run: 0,
            restart_interval: tables.restart_interval,
            until_restart: tables.restart_interval,
            next_restart: 0,
            starved: false,
        })
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

    /// To be called after each MCU: an error where the file ended within it.
    pub fn end_mcu(&mut self) -> Result<(), String> {
        if self.bits.exhausted() {
            if self.segment.marker.is_none() {
                return Err("the file is truncated".into());
            }
            self.starved = true;
        }
        Ok(())
    }

    /// Whether the data ended before the MCU that is next.
    pub fn is_starved(&self) -> bool {
        self.starved
    }

    /// To be called after the last MCU: where in the file to look for the next marker.
    pub fn end(&self) -> usize {
        self.segment.position - if self.segment.marker.is_some() { 2 } else { 0 }
    }

    /// libjpeg's `process_restart` and `jpeg_resync_to_restart`.
    fn restart(&mut self) -> Result<(), String> {
        loop {
            let marker = match self.segment.marker {
                Some(marker) => marker,
                None => self.next_marker()?,
            };
            let expected = 0xd0 + self.next_restart;
            let ahead = |n: u8| 0xd0 + (self.next_restart + n) % 8;
            let passed = marker == ahead(7) || marker == ahead(6);
            let later = marker == ahead(1) || marker == ahead(2);
            if marker != expected && (marker < 0xc0 || passed) {
                // Damaged, or a marker that was passed already: look for the next one.
                self.segment.marker = None;
            } else if marker != expected && (!(0xd0..=0xd7).contains(&marker) || later) {
                // What follows belongs to a later interval: this one stays empty.
                self.segment.bytes.clear();
                break;
            } else {
                self.segment.read(self.file, self.segment.position);
                self.starved = false;
                break;
            }
        }
        self.bits = Bits::default();
        self.next_restart = (self.next_restart + 1) % 8;
        for component in &mut self.components {
            component.last = 0;
        }
        self.band_run = 0;
        self.until_restart = self.restart_interval;
        Ok(())
    }

    /// Passes whatever stands before the next marker, as libjpeg does.
    fn next_marker(&mut self) -> Result<u8, String> {
        let marker = super::next_marker(self.file, &mut self.segment.position)?;
        self.segment.marker = Some(marker);
        Ok(marker)
    }

    /// One whole block of a sequential scan; `block` is zero before.
    #[inline(never)]
    pub fn sequential(&mut self, slot: usize, block: &mut Block) {
        let component = &mut self.components[slot];
        let (Some(dc), Some(ac), false) = (component.dc, component.ac, self.starved) else {
            return;
        };
        let (bytes, mut bits) = (&self.segment.bytes[..], self.bits);
        bits.refill(bytes);
        component.last = component
            .last
            .wrapping_add(i32::from(dc.step(&mut bits, bytes).value));
        block[0] = component.last as i16;
        let mut k = 0;
        loop {
            bits.refill(bytes);
            for _ in 0..STEPS_PER_REFILL {
                let step = ac.step(&mut bits, bytes);
                k += step.advance;
                block[usize::from(NATURAL[usize::from(k)])] = step.value;
                if k >= 63 {
                    self.bits = bits;
                    return;
                }
            }
        }
    }

    /// One block of a progressive scan.
    pub fn progressive(&mut self, slot: usize, block: &mut Block) {
        // A starved scan leaves the blocks as the scans before made them.
        if self.starved {
            return;
        }
        match (self.scan.start, self.scan.high) {
            (0, 0) => self.dc_first(slot, block),
            (0, _) => {
                self.bits.refill(&self.segment.bytes);
                if self.bits.take(1) == 1 {
                    block[0] |= 1 << self.scan.low;
                }
            }
            (_, 0) => self.ac_first(slot, block),
            _ => self.ac_refine(slot, block),
        }
    }

    fn dc_first(&mut self, slot: usize, block: &mut Block) {
        let component = &mut self.components[slot];
        let Some(table) = component.dc else { return };
        self.bits.refill(&self.segment.bytes);
        let difference = i32::from(table.step(&mut self.bits, &self.segment.bytes).value);
        component.last = component.last.wrapping_add(difference);
        block[0] = (component.last << self.scan.low) as i16;
    }

    fn ac_first(&mut self, slot: usize, block: &mut Block) {
        if self.band_run > 0 {
            self.band_run -= 1;
            return;
        }
        let Some(table) = self.components[slot].ac else {
            return;
        };
        let (bytes, mut bits) = (&self.segment.bytes[..], self.bits);
        let mut k = self.scan.start;
        while k <= self.scan.end {
            bits.refill(bytes);
            let symbol = table.symbol(&mut bits);
            let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
            if size > 0 {
                k += run as usize;
                let value = extended(bits.peek_behind(0), size) << self.scan.low;
                bits.skip(size);
                block[usize::from(NATURAL[k])] = value as i16;
                k += 1;
            } else if run == 15 {
                k += 16;
            } else {
                self.band_run = (1 << run) + bits.take(run) - 1;
                break;
            }
        }
        self.bits = bits;
    }

    fn ac_refine(&mut self, slot: usize, block: &mut Block) {
        let Some(table) = self.components[slot].ac else {
            return;
        };
        let (bytes, mut bits) = (&self.segment.bytes[..], self.bits);
        let (plus, minus) = (1i16 << self.scan.low, -1i16 << self.scan.low);
        let refine = |bits: &mut Bits, coefficient: &mut i16| {
            bits.refill(bytes);
            if bits.take(1) == 1 && *coefficient & plus == 0 {
                let step = if *coefficient >= 0 { plus } else { minus };
                *coefficient = coefficient.wrapping_add(step);
            }
        };
        let mut k = self.scan.start;
        if self.band_run == 0 {
            while k <= self.scan.end {
                bits.refill(bytes);
                let symbol = table.symbol(&mut bits);
                let (mut run, size) = (u32::from(symbol >> 4), symbol & 15);
                let mut value = 0;
                if size > 0 {
                    value = if bits.take(1) == 1 { plus } else { minus };
                } else if run != 15 {
                    self.band_run = (1 << run) + bits.take(run);
                    break;
                }
                // Passes `run` coefficients that are still zero, refining the others on the way.
                while k <= self.scan.end {
                    let coefficient = &mut block[usize::from(NATURAL[k])];
                    if *coefficient != 0 {
                        refine(&mut bits, coefficient);
                    } else if run == 0 {
                        break;
                    } else {
                        run -= 1;
                    }
                    k += 1;
                }
                if value != 0 {
                    block[usize::from(NATURAL[k])] = value;
                }
                k += 1;
            }
        }
        if self.band_run > 0 {
            while k <= self.scan.end {
                let coefficient = &mut block[usize::from(NATURAL[k])];
                if *coefficient != 0 {
                    refine(&mut bits, coefficient);
                }
                k += 1;
            }
            self.band_run -= 1;
        }
        self.bits = bits;
    }
}
