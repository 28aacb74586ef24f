//! Markers of a JPEG file: frame, tables, scans (ITU T.81 Annex B).

use super::huffman::HuffmanTable;

/// Zigzag order to rows and columns. A damaged run may lead past 63: those land on the last one,
/// as in libjpeg.
pub static NATURAL: [u8; 256] = {
    let mut natural = [63; 256];
    let (head, _) = natural.split_at_mut(64);
    head.copy_from_slice(&ZIGZAG);
    natural
};

const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// Quantisation steps in rows and columns.
pub type Quant = [u16; 64];

/// One colour component of the frame.
pub struct Component {
    pub id: u8,
    /// Sampling factors.
    pub h: usize,
    pub v: usize,
    pub quant: usize,
    /// Samples that carry the image.
    pub width: usize,
    pub height: usize,
    /// 8x8 blocks that carry the image, as a scan of this component alone stores them.
    pub blocks_x: usize,
    pub blocks_y: usize,
    /// Blocks in memory: whole MCUs.
    pub padded_x: usize,
    pub padded_y: usize,
}

/// What a start-of-frame segment says.
pub struct Frame {
    pub progressive: bool,
    /// Arithmetic instead of Huffman codes.
    pub arithmetic: bool,
    pub width: usize,
    pub height: usize,
    pub components: Vec<Component>,
    /// Largest sampling factors.
    pub max_h: usize,
    pub max_v: usize,
    /// MCUs per row and column of an interleaved scan.
    pub mcus_x: usize,
    pub mcus_y: usize,
}

/// What a start-of-scan segment says.
pub struct Scan {
    /// Component index, DC table, AC table.
    pub components: Vec<(usize, usize, usize)>,
    /// Spectral selection and successive approximation.
    pub start: usize,
    pub end: usize,
    pub high: u32,
    pub low: u32,
}

/// Tables and settings that hold from where they stand.
#[derive(Default)]
pub struct Tables {
    pub quant: [Option<Quant>; 4],
    pub dc: [Option<Box<HuffmanTable>>; 4],
    pub ac: [Option<Box<HuffmanTable>>; 4],
    pub restart_interval: usize,
    /// HuffmanTable and value of arithmetic conditioning segments.
    pub conditioning: Vec<(u8, u8)>,
    pub jfif: bool,
    /// Colour transform of an Adobe segment.
    pub adobe: Option<u8>,
}

impl Tables {
    /// Takes in one segment other than frames and scans.
    pub fn read(&mut self, marker: u8, segment: &[u8]) -> Result<(), String> {
        match marker {
            0xc4 => self.read_huffman(segment),
            0xdb => self.read_quant(segment),
            0xcc => {
                let pairs = segment.as_chunks::<2>().0.iter();
                self.conditioning
                    .extend(pairs.map(|&[table, value]| (table, value)));
                Ok(())
            }
            0xdd => {
                let [a, b] = *segment else {
                    return Err("the restart interval is damaged".into());
                };
                self.restart_interval = usize::from(u16::from_be_bytes([a, b]));
                Ok(())
            }
            0xe0 => {
                self.jfif |= segment.len() >= 14 && segment.starts_with(b"JFIF\0");
                Ok(())
            }
            0xee if segment.len() >= 12 && segment.starts_with(b"Adobe") => {
                self.adobe = Some(segment[11]);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn read_huffman(&mut self, mut segment: &[u8]) -> Result<(), String> {
        let damaged = || String::from("a Huffman table is damaged");
        while let Some((&class, rest)) = segment.split_first() {
            let counts = rest.get(..16).ok_or_else(damaged)?;
            let total: usize = counts.iter().map(|&n| usize::from(n)).sum();
            let symbols = rest.get(16..16 + total).ok_or_else(damaged)?;
            let slot = usize::from(class & 15);
            if total > 256 || slot > 3 || class >> 4 > 1 {
                return Err(damaged());
            }
            let table = Box::new(HuffmanTable::new(counts, symbols)?);
            let tables = if class >> 4 == 0 {
                &mut self.dc
            } else {
                &mut self.ac
            };
            tables[slot] = Some(table);
            segment = &rest[16 + total..];
        }
        Ok(())
    }

    fn read_quant(&mut self, mut segment: &[u8]) -> Result<(), String> {
        let damaged = || String::from("a quantisation table is damaged");
        while let Some((&class, rest)) = segment.split_first() {
            let (wide, slot) = (class >> 4 != 0, usize::from(class & 15));
            let length = if wide { 128 } else { 64 };
            let values = rest.get(..length).ok_or_else(damaged)?;
            let table = self.quant.get_mut(slot).ok_or_else(damaged)?;
            let table = table.insert([0; 64]);
            for (i, &at) in ZIGZAG.iter().enumerate() {
                table[usize::from(at)] = if wide {
                    u16::from_be_bytes([values[2 * i], values[2 * i + 1]])
                } else {
                    u16::from(values[i])
                };
            }
            segment = &rest[length..];
        }
        Ok(())
    }
}

impl Frame {
    /// Reads the start-of-frame segment of `marker`: SOF0, SOF1, SOF2 or SOF9.
    pub fn read(segment: &[u8], marker: u8) -> Result<Frame, String> {
        let damaged = || String::from("the frame header is damaged");
        let (head, list) = segment.split_at_checked(6).ok_or_else(damaged)?;
        if head[0] != 8 {
            return Err(format!("{} bits per sample; 8 are supported", head[0]));
        }
        let height = usize::from(u16::from_be_bytes([head[1], head[2]]));
        let width = usize::from(u16::from_be_bytes([head[3], head[4]]));
        let count = usize::from(head[5]);
        if list.len() != 3 * count || width == 0 || height == 0 {
            return Err(damaged());
        }
        if ![1, 3, 4].contains(&count) {
            return Err(format!(
                "{count} colour components; 1, 3 or 4 are supported"
            ));
        }
        let factors = |c: &[u8]| (usize::from(c[1] >> 4), usize::from(c[1] & 15));
        if list.chunks_exact(3).any(|c| {
            let (h, v) = factors(c);
            !(1..=4).contains(&h) || !(1..=4).contains(&v) || c[2] > 3
        }) {
            return Err(damaged());
        }
        let max_h = list
            .chunks_exact(3)
            .map(|c| factors(c).0)
            .max()
            .unwrap_or(1);
        let max_v = list
            .chunks_exact(3)
            .map(|c| factors(c).1)
            .max()
            .unwrap_or(1);
        let mcus_x = width.div_ceil(8 * max_h);
        let mcus_y = height.div_ceil(8 * max_v);
        let mut components = Vec::with_capacity(count);
        for c in list.chunks_exact(3) {
            let (h, v) = factors(c);
            if max_h % h != 0 || max_v % v != 0 {
                return Err("fractional chroma sampling is not supported (nor by libjpeg)".into());
            }
            components.push(Component {
                id: c[0],
                h,
                v,
                quant: usize::from(c[2]),
                width: (width * h).div_ceil(max_h),
                height: (height * v).div_ceil(max_v),
                blocks_x: (width * h).div_ceil(8 * max_h),
                blocks_y: (height * v).div_ceil(8 * max_v),
                padded_x: mcus_x * h,
                padded_y: mcus_y * v,
            });
        }
        Ok(Frame {
            progressive: marker == 0xc2,
            arithmetic: marker == 0xc9,
            width,
            height,
            components,
            max_h,
            max_v,
            mcus_x,
            mcus_y,
        })
    }
}

impl Scan {
    /// Reads a start-of-scan segment.
    pub fn read(segment: &[u8], frame: &Frame) -> Result<Scan, String> {
        let damaged = || String::from("a scan header is damaged");
        let (&count, rest) = segment.split_first().ok_or_else(damaged)?;
        let count = usize::from(count);
        if rest.len() != 2 * count + 3 || !(1..=4).contains(&count) {
            return Err(damaged());
        }
        let (list, tail) = rest.split_at(2 * count);
        let mut components: Vec<(usize, usize, usize)> = Vec::with_capacity(count);
        for c in list.chunks_exact(2) {
            let find = |f: &Component| f.id == c[0];
            let index = frame.components.iter().position(find).ok_or_else(damaged)?;
            let (dc, ac) = (usize::from(c[1] >> 4), usize::from(c[1] & 15));
            if dc > 3 || ac > 3 || components.iter().any(|&(other, ..)| other == index) {
                return Err(damaged());
            }
            components.push((index, dc, ac));
        }
        let scan = Scan {
            components,
            start: usize::from(tail[0]),
            end: usize::from(tail[1]),
            high: u32::from(tail[2] >> 4),
            low: u32::from(tail[2] & 15),
        };
        if !frame.progressive {
            // libjpeg takes whatever a sequential scan says here for the whole block.
            return Ok(Scan {
                start: 0,
                end: 63,
                high: 0,
                low: 0,
                ..scan
            });
        }
        let dc = scan.start == 0;
        let bad_band = if dc {
            scan.end != 0
        } else {
            scan.start > scan.end || count != 1
        };
        let refines = scan.high != 0 && scan.high - 1 != scan.low;
        if bad_band || scan.end > 63 || refines || scan.low > 13 {
            return Err(damaged());
        }
        Ok(scan)
    }
}
