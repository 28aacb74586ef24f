//! Entropy-coded segments to coefficients: sequential and progressive (ITU T.81 Annexes F and G).

use super::header::{Frame, NATURAL, Scan, Tables};
use super::huffman::{Bits, Table, extend};
use std::rc::Rc;

/// 64 coefficients in rows and columns.
pub type Block = [i16; 64];

/// What a scan keeps from block to block.
pub struct Decoder<'a> {
    pub bits: Bits<'a>,
    scan: &'a Scan,
    dc: Vec<Option<Rc<Table>>>,
    ac: Vec<Option<Rc<Table>>>,
    /// Last DC value per component of the scan.
    last: Vec<i32>,
    /// Blocks left of an end-of-band run.
    band_run: u32,
    restart_interval: usize,
    until_restart: usize,
    next_restart: u8,
    /// Data ended before its time: blocks stay as they are until the next restart marker.
    starved: bool,
}

impl<'a> Decoder<'a> {
    /// Prepares the scan whose data begin at `position`.
    pub fn new(
        data: &'a [u8],
        position: usize,
        scan: &'a Scan,
        frame: &Frame,
        tables: &Tables,
    ) -> Result<Self, String> {
        let needs_dc = scan.start == 0 && scan.high == 0;
        let needs_ac = scan.end > 0;
        let missing = || String::from("a scan uses a Huffman table that the file does not define");
        let mut decoder = Decoder {
            bits: Bits::new(data, position),
            scan,
            dc: Vec::new(),
            ac: Vec::new(),
            last: vec![0; scan.components.len()],
            band_run: 0,
            restart_interval: tables.restart_interval,
            until_restart: tables.restart_interval,
            next_restart: 0,
            starved: false,
        };
        for &(index, dc, ac) in &scan.components {
            debug_assert!(index < frame.components.len());
            decoder.dc.push(tables.dc[dc].clone());
            decoder.ac.push(tables.ac[ac].clone());
        }
        if (needs_dc && decoder.dc.iter().any(Option::is_none))
            || (needs_ac && decoder.ac.iter().any(Option::is_none))
        {
            return Err(missing());
        }
        Ok(decoder)
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
            if self.bits.at_end_of_file() {
                return Err("the file is truncated".into());
            }
            self.starved = true;
        }
        Ok(())
    }

    /// libjpeg's `process_restart` and `jpeg_resync_to_restart`.
    fn restart(&mut self) -> Result<(), String> {
        self.bits.align();
        loop {
            let marker = match self.bits.marker {
                Some(marker) => marker,
                None => self.find_marker()?,
            };
            let expected = 0xd0 + self.next_restart;
            let ahead = |n: u8| 0xd0 + (self.next_restart + n) % 8;
            if marker == expected {
                self.bits.marker = None;
                break;
            } else if marker < 0xc0 || marker == ahead(7) || marker == ahead(6) {
                // Damaged, or a marker that was passed already: look for the next one.
                self.bits.marker = None;
            } else if !(0xd0..=0xd7).contains(&marker) || marker == ahead(1) || marker == ahead(2) {
                // What follows belongs to a later interval: this one stays empty.
                break;
            } else {
                self.bits.marker = None;
                break;
            }
        }
        self.next_restart = (self.next_restart + 1) % 8;
        self.last.fill(0);
        self.band_run = 0;
        self.until_restart = self.restart_interval;
        if self.bits.marker.is_none() {
            self.starved = false;
        }
        Ok(())
    }

    /// Passes whatever stands before the next marker, as libjpeg does.
    pub fn find_marker(&mut self) -> Result<u8, String> {
        let data = self.bits.data();
        let marker = super::next_marker(data, &mut self.bits.position)?;
        self.bits.marker = Some(marker);
        Ok(marker)
    }

    /// One whole block of a sequential scan; `block` is zero before.
    #[inline]
    pub fn sequential(&mut self, slot: usize, block: &mut Block) {
        if self.starved {
            return;
        }
        let (Some(dc), Some(ac)) = (&self.dc[slot], &self.ac[slot]) else {
            return;
        };
        self.bits.refill();
        let size = u32::from(self.bits.symbol(dc)) & 15;
        let magnitude = self.bits.take(size);
        self.last[slot] = self.last[slot].wrapping_add(extend(magnitude, size));
        block[0] = self.last[slot] as i16;
        let mut k = 1;
        while k < 64 {
            self.bits.refill();
            if let Some((run, value)) = self.bits.short_value(ac) {
                k += run;
                block[usize::from(NATURAL[k])] = value;
                k += 1;
                continue;
            }
            let symbol = self.bits.symbol(ac);
            let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
            if size > 0 {
                k += run;
                let magnitude = self.bits.take(size);
                block[usize::from(NATURAL[k])] = extend(magnitude, size) as i16;
                k += 1;
            } else if run == 15 {
                k += 16;
            } else {
                break;
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
                if self.bits.bit() {
                    block[0] |= 1 << self.scan.low;
                }
            }
            (_, 0) => self.ac_first(slot, block),
            _ => self.ac_refine(slot, block),
        }
    }

    fn dc_first(&mut self, slot: usize, block: &mut Block) {
        let Some(table) = &self.dc[slot] else { return };
        self.bits.refill();
        let size = u32::from(self.bits.symbol(table)) & 15;
        let magnitude = self.bits.take(size);
        self.last[slot] = self.last[slot].wrapping_add(extend(magnitude, size));
        block[0] = (self.last[slot] << self.scan.low) as i16;
    }

    fn ac_first(&mut self, slot: usize, block: &mut Block) {
        if self.band_run > 0 {
            self.band_run -= 1;
            return;
        }
        let Some(table) = &self.ac[slot] else { return };
        let mut k = self.scan.start;
        while k <= self.scan.end {
            self.bits.refill();
            let symbol = self.bits.symbol(table);
            let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
            if size > 0 {
                k += run as usize;
                let value = extend(self.bits.take(size), size) << self.scan.low;
                block[usize::from(NATURAL[k])] = value as i16;
                k += 1;
            } else if run == 15 {
                k += 16;
            } else {
                self.band_run = (1 << run) + self.bits.take(run) - 1;
                break;
            }
        }
    }

    fn ac_refine(&mut self, slot: usize, block: &mut Block) {
        let Some(table) = self.ac[slot].clone() else {
            return;
        };
        let (plus, minus) = (1i16 << self.scan.low, -1i16 << self.scan.low);
        let mut k = self.scan.start;
        if self.band_run == 0 {
            while k <= self.scan.end {
                self.bits.refill();
                let symbol = self.bits.symbol(&table);
                let (mut run, size) = (u32::from(symbol >> 4), symbol & 15);
                let mut value = 0;
                if size > 0 {
                    value = if self.bits.take(1) == 1 { plus } else { minus };
                } else if run != 15 {
                    self.band_run = (1 << run) + self.bits.take(run);
                    break;
                }
                // Passes `run` coefficients that are still zero, refining the others on the way.
                while k <= self.scan.end {
                    let coefficient = &mut block[usize::from(NATURAL[k])];
                    if *coefficient != 0 {
                        refine(&mut self.bits, coefficient, plus, minus);
                    } else if run == 0 {
                        break;
                    } else {
                        run -= 1;
                    }
                    k += 1;
                }
                if value != 0 {
                    block[usize::from(NATURAL[k.min(63 + 16)])] = value;
                }
                k += 1;
            }
        }
        if self.band_run > 0 {
            while k <= self.scan.end {
                let coefficient = &mut block[usize::from(NATURAL[k])];
                if *coefficient != 0 {
                    refine(&mut self.bits, coefficient, plus, minus);
                }
                k += 1;
            }
            self.band_run -= 1;
        }
    }
}

/// One correction bit for a coefficient known to be non-zero.
fn refine(bits: &mut Bits, coefficient: &mut i16, plus: i16, minus: i16) {
    if bits.bit() && *coefficient & plus == 0 {
        *coefficient = coefficient.wrapping_add(if *coefficient >= 0 { plus } else { minus });
    }
}
