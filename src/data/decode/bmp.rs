//! Windows and OS/2 bitmaps, read as Pillow's `BmpImagePlugin` reads them.
//!
//! Written out because the peculiarities are the point: five and six bits widen by
//! `value * 255 / 31` (not by repeating bits), grey palettes are dropped, rows of run-length data
//! that end early are filled with index 0, and bit masks other than Pillow's list are refused.

use super::{Limits, RgbImage};

const FILE_HEADER: usize = 14;
const RAW: u32 = 0;
const RLE8: u32 = 1;
const RLE4: u32 = 2;
const BITFIELDS: u32 = 3;

pub fn recognises(bytes: &[u8]) -> bool {
    bytes.starts_with(b"BM")
}

/// What the headers say.
struct Header {
    width: usize,
    height: usize,
    /// Rows are stored from the top.
    top_down: bool,
    bits: usize,
    compression: u32,
    colours: usize,
    /// Bytes of a palette entry.
    entry: usize,
    /// Where palette and pixels begin.
    palette: usize,
    pixels: usize,
    masks: [u32; 4],
}

pub fn decode(bytes: &[u8], limits: &Limits) -> Result<RgbImage, String> {
    let header = Header::read(bytes)?;
    limits.check(header.width, header.height)?;
    let data = match (header.compression, header.bits) {
        (RLE8 | RLE4, 1 | 4 | 8) => {
            let palette = Palette::read(bytes, &header)?;
            let bottom_up = run_lengths(bytes, &header)?;
            let rgb = |index: &u8| palette.rgb(*index);
            to_top_down(&header, bottom_up.iter().flat_map(rgb).collect())
        }
        (RAW, 1 | 4 | 8) => {
            let palette = Palette::read(bytes, &header)?;
            rows(
                bytes,
                &header,
                palette.stored_bits(header.bits),
                |row, line| {
                    let bits = palette.stored_bits(header.bits);
                    (0..header.width).for_each(|x| line.extend(palette.rgb(packed(row, x, bits))));
                },
            )?
        }
        (RAW | BITFIELDS, 16 | 24 | 32) => true_colour(bytes, &header)?,
        (compression, bits) => {
            return Err(format!(
                "a BMP of {bits} bits with compression {compression} is not supported"
            ));
        }
    };
    Ok(RgbImage {
        width: header.width,
        height: header.height,
        data,
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, String> {
    let field = bytes.get(at..at + 2).and_then(|b| b.try_into().ok());
    field.map(u16::from_le_bytes).ok_or_else(truncated)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, String> {
    let field = bytes.get(at..at + 4).and_then(|b| b.try_into().ok());
    field.map(u32::from_le_bytes).ok_or_else(truncated)
}

fn truncated() -> String {
    "the BMP file ends early".to_string()
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Self, String> {
        let offset = u32_at(bytes, 10)? as usize;
        let size = u32_at(bytes, FILE_HEADER)? as usize;
        let field = |at| u32_at(bytes, FILE_HEADER + at);
        let short = |at| u16_at(bytes, FILE_HEADER + at).map(usize::from);
        let mut header = match size {
            12 => Header {
                width: short(4)?,
                height: short(6)?,
                top_down: false,
                bits: short(10)?,
                compression: RAW,
                colours: 0,
                entry: 3,
                palette: FILE_HEADER + size,
                pixels: offset,
                masks: [0; 4],
            },
            40 | 52 | 56 | 64 | 108 | 124 => {
                let (width, height) = (field(4)?, field(8)?);
                // A negative height means rows from the top.
                let top_down = height >> 24 == 0xff;
                Header {
                    width: width as usize,
                    height: if top_down {
                        height.wrapping_neg()
                    } else {
                        height
                    } as usize,
                    top_down,
                    bits: short(14)?,
                    compression: field(16)?,
                    colours: field(32)? as usize,
                    entry: 4,
                    palette: FILE_HEADER + size,
                    pixels: offset,
                    masks: [0; 4],
                }
            }
            size => return Err(format!("a BMP header of {size} bytes is not known")),
        };
        // Longer headers hold the masks, behind a short one they follow; both lie at byte 40.
        if header.compression == BITFIELDS {
            for (i, mask) in header.masks.iter_mut().enumerate().take(3) {
                *mask = field(40 + 4 * i)?;
            }
            match size {
                40 => header.palette += 12,
                52 => {}
                _ => header.masks[3] = field(52)?,
            }
        }
        if header.colours == 0 && header.bits <= 32 {
            header.colours = 1usize << header.bits;
        }
        if header.pixels == FILE_HEADER + size && header.bits <= 8 {
            header.pixels += 4 * header.colours;
        }
        if header.pixels == 0 {
            let palette = if header.bits <= 8 {
                header.entry * header.colours
            } else {
                0
            };
            header.pixels = header.palette + palette;
        }
        Ok(header)
    }

    /// Bytes of a stored row, padded to four.
    fn stride(&self) -> usize {
        (self.width * self.bits).div_ceil(32) * 4
    }
}

/// Colours of indices; what lies beyond a colour palette is black.
enum Palette {
    /// Two colours, black and white: one bit a pixel whatever the header says, as Pillow has it.
    BlackAndWhite,
    Colours(Box<[[u8; 3]; 256]>),
}

impl Palette {
    fn read(bytes: &[u8], header: &Header) -> Result<Self, String> {
        if header.colours > 256 {
            return Err(format!(
                "a BMP palette of {} colours is not possible",
                header.colours
            ));
        }
        let stored = bytes.get(header.palette..).unwrap_or_default();
        let mut colours = Box::new([[0; 3]; 256]);
        let mut whole = 0;
        let entries = stored.chunks_exact(header.entry).take(header.colours);
        for (colour, entry) in colours.iter_mut().zip(entries) {
            *colour = [entry[2], entry[1], entry[0]];
            whole += 1;
        }
        let two = header.colours == 2 && whole == 2;
        if two && colours[0] == [0; 3] && colours[1] == [255; 3] {
            return Ok(Palette::BlackAndWhite);
        }
        let ramp = |(grey, colour): (usize, &[u8; 3])| *colour == [grey as u8; 3];
        if whole == header.colours && colours[..whole].iter().enumerate().all(ramp) {
            // A grey picture: numbers beyond the palette are greys too.
            *colours = std::array::from_fn(|grey| [grey as u8; 3]);
        }
        Ok(Palette::Colours(colours))
    }

    fn stored_bits(&self, bits: usize) -> usize {
        match self {
            Palette::BlackAndWhite => 1,
            Palette::Colours(_) => bits,
        }
    }

    fn rgb(&self, index: u8) -> [u8; 3] {
        match self {
            Palette::BlackAndWhite => [if index == 0 { 0 } else { 255 }; 3],
            Palette::Colours(colours) => colours[usize::from(index)],
        }
    }
}

/// Number `x` of a row of numbers of `bits` bits, the most significant first.
fn packed(row: &[u8], x: usize, bits: usize) -> u8 {
    let each = 8 / bits;
    let shift = 8 - bits * (x % each + 1);
    (u16::from(row[x / each]) >> shift & ((1 << bits) - 1)) as u8
}

/// Turns every stored row of at least `width * bits` bits to RGB, rows from the top.
fn rows(
    bytes: &[u8],
    header: &Header,
    bits: usize,
    mut convert: impl FnMut(&[u8], &mut Vec<u8>),
) -> Result<Vec<u8>, String> {
    let stride = header.stride();
    let used = (header.width * bits).div_ceil(8);
    let mut data = Vec::new();
    for y in 0..header.height {
        let stored = if header.top_down {
            y
        } else {
            header.height - 1 - y
        };
        let start = stored
            .checked_mul(stride)
            .and_then(|at| at.checked_add(header.pixels));
        let row = start.and_then(|start| bytes.get(start..start.checked_add(used)?));
        convert(row.ok_or_else(truncated)?, &mut data);
    }
    Ok(data)
}

fn to_top_down(header: &Header, mut data: Vec<u8>) -> Vec<u8> {
    if !header.top_down {
        let row = header.width * 3;
        data = data.chunks_exact(row).rev().flatten().copied().collect();
    }
    data
}

/// Pixels of 16, 24 and 32 bits.
fn true_colour(bytes: &[u8], header: &Header) -> Result<Vec<u8>, String> {
    // Byte places of red, green and blue in 24 and 32 bits.
    let places = |bits: usize| -> Option<[usize; 3]> {
        if header.compression == RAW {
            return Some([2, 1, 0]);
        }
        match (bits, header.masks) {
            (24, [0xff0000, 0xff00, 0xff, _]) => Some([2, 1, 0]),
            (32, [0xff0000, 0xff00, 0xff, 0 | 0xff000000] | [0, 0, 0, 0]) => Some([2, 1, 0]),
            (32, [0xff000000, 0xff0000, 0xff00, 0 | 0xff]) => Some([3, 2, 1]),
            (32, [0xff000000, 0xff00, 0xff, 0 | 0xff0000]) => Some([3, 1, 0]),
            (32, [0xff, 0xff00, 0xff0000, 0xff000000]) => Some([0, 1, 2]),
            _ => None,
        }
    };
    let layout = || "a BMP with such bit masks is not supported".to_string();
    if header.bits > 16 {
        let (size, places) = (header.bits / 8, places(header.bits).ok_or_else(layout)?);
        return rows(bytes, header, header.bits, |row, line| {
            for pixel in row.chunks_exact(size) {
                line.extend(places.map(|place| pixel[place]));
            }
        });
    }
    let six_green = match (header.compression, header.masks) {
        (RAW, _) | (_, [0x7c00, 0x3e0, 0x1f, _]) => false,
        (_, [0xf800, 0x7e0, 0x1f, _]) => true,
        _ => return Err(layout()),
    };
    let widen = |value: u16, most: u16| (value * 255 / most) as u8;
    rows(bytes, header, 16, |row, line| {
        for pair in row.as_chunks::<2>().0 {
            let v = u16::from_le_bytes(*pair);
            line.extend(match six_green {
                true => [
                    widen(v >> 11, 31),
                    widen(v >> 5 & 63, 63),
                    widen(v & 31, 31),
                ],
                false => [
                    widen(v >> 10 & 31, 31),
                    widen(v >> 5 & 31, 31),
                    widen(v & 31, 31),
                ],
            });
        }
    })
}

/// Indices of run-length data in stored order: exactly one per pixel, or an error.
fn run_lengths(bytes: &[u8], header: &Header) -> Result<Vec<u8>, String> {
    let (width, four) = (header.width, header.compression == RLE4);
    let wanted = width * header.height;
    let mut data: Vec<u8> = Vec::new();
    let (mut at, mut x) = (header.pixels, 0usize);
    while data.len() < wanted {
        let Some(&[count, value]) = bytes.get(at..).and_then(|b| b.first_chunk()) else {
            break;
        };
        at += 2;
        match (count, value) {
            (0, 0) => {
                data.resize(data.len().next_multiple_of(width), 0);
                x = 0;
            }
            (0, 1) => break,
            (0, 2) => {
                // Pillow reads the two numbers and then two more, which it takes.
                let Some(&[_, _, right, up]) = bytes.get(at..).and_then(|b| b.first_chunk()) else {
                    break;
                };
                at += 4;
                let skipped = usize::from(right) + usize::from(up) * width;
                data.resize((data.len() + skipped).min(wanted), 0);
                x = data.len() % width;
            }
            (0, count) => {
                let size = usize::from(count) / if four { 2 } else { 1 };
                let Some(values) = bytes.get(at..at + size) else {
                    break;
                };
                match four {
                    true => data.extend(values.iter().flat_map(|v| [v >> 4, v & 15])),
                    false => data.extend(values),
                }
                x += usize::from(count);
                at = (at + size).next_multiple_of(2);
            }
            (count, value) => {
                // What would run over the end of the row is dropped.
                let count = usize::from(count).min(width.saturating_sub(x));
                let pair = if four {
                    [value >> 4, value & 15]
                } else {
                    [value; 2]
                };
                data.extend((0..count).map(|i| pair[i % 2]));
                x += count;
            }
        }
    }
    if data.len() < wanted {
        return Err(truncated());
    }
    data.truncate(wanted);
    Ok(data)
}
