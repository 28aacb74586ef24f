//! JPEG with the pixels of libjpeg-turbo as Pillow uses it: accurate integer DCT, triangle-filter
//! chroma upsampling, 16-bit fixed-point colour conversion; byte for byte.
//!
//! Sequential and progressive Huffman coding, sequential arithmetic coding, 8 bits, any whole chroma ratio, restart intervals,
//! grey, YCbCr, RGB, CMYK and YCCK. Damaged entropy data are taken as libjpeg takes them (its
//! warnings, which Pillow does not show); a file that ends early is an error, as in Pillow.
//! Written from ITU T.81 and libjpeg's documentation in plain Rust because libjpeg-turbo's own
//! speed needs an assembler at build time.

mod arithmetic;
mod bits;
mod colour;
mod header;
mod huffman;
mod idct;
mod scan;
mod smooth;
mod upsample;
mod window;

use super::{Cutout, Limits, Region, RgbImage};
use arithmetic::Arithmetic;
use header::{Frame, Quant, Scan, Tables};
use scan::{Block, Decoder};
use smooth::{COEFFICIENTS, Known};
use std::borrow::Cow;
use upsample::{Plane, Upsampler};
use window::Window;

/// Whether `bytes` begin as a JPEG file does.
pub fn recognises(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xff, 0xd8, 0xff])
}

/// Decodes at least the pixels in `needed(height, width)` of a JPEG file.
pub fn decode(
    bytes: &[u8],
    limits: &Limits,
    needed: impl Fn(usize, usize) -> Region,
) -> Result<Cutout<'static>, String> {
    let mut tables = Tables::default();
    let mut position = 2;
    let mut image: Option<Image> = None;
    while let Some((marker, segment)) = next_segment(bytes, &mut position)? {
        match marker {
            0xc0..=0xc2 | 0xc9 if image.is_some() => return Err("a second image frame".into()),
            0xc0..=0xc2 | 0xc9 => {
                let frame = Frame::read(segment, marker)?;
                limits.check(frame.width, frame.height)?;
                let needed = needed(frame.height, frame.width);
                image = Some(Image::new(frame, needed));
            }
            0xc3 | 0xc5..=0xc7 | 0xca | 0xcb | 0xcd..=0xcf => {
                return Err(
                    "lossless, hierarchical or progressive arithmetic JPEG is not supported".into(),
                );
            }
            0xda => {
                let image = image.as_mut().ok_or("a scan before the frame header")?;
                position = image.scan(bytes, position, segment, &tables)?;
            }
            _ => tables.read(marker, segment)?,
        }
    }
    image
        .ok_or("there is no image in the file")?
        .finish(&tables)
}

/// (width, height) of the frame, which is read but not what comes behind it; `None` where there
/// is none that [`decode`] takes.
pub fn size(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut position = 2;
    loop {
        match next_segment(bytes, &mut position).ok()?? {
            (marker @ (0xc0..=0xc2 | 0xc9), segment) => {
                let frame = Frame::read(segment, marker).ok()?;
                return Some((frame.width, frame.height));
            }
            // A scan before the frame.
            (0xda, _) => return None,
            _ => {}
        }
    }
}

/// The next segment from `position` on, with its marker; `None` at the end of the image.
fn next_segment<'a>(
    bytes: &'a [u8],
    position: &mut usize,
) -> Result<Option<(u8, &'a [u8])>, String> {
    loop {
        match next_marker(bytes, position)? {
            0xd9 => return Ok(None),
            // Markers without a segment.
            0x01 | 0xd0..=0xd8 => {}
            marker => return Ok(Some((marker, segment(bytes, position)?))),
        }
    }
}

/// Finds the next marker from `position` on, and moves behind it.
fn next_marker(bytes: &[u8], position: &mut usize) -> Result<u8, String> {
    let rest = bytes.get(*position..).unwrap_or_default();
    let is_marker = |w: &[u8]| w[0] == 0xff && w[1] != 0 && w[1] != 0xff;
    let at = rest
        .windows(2)
        .position(is_marker)
        .ok_or("the file is truncated")?;
    *position += at + 2;
    Ok(rest[at + 1])
}

/// The segment at `position`, without its length.
fn segment<'a>(bytes: &'a [u8], position: &mut usize) -> Result<&'a [u8], String> {
    let truncated = || String::from("the file is truncated");
    let head = bytes.get(*position..*position + 2).ok_or_else(truncated)?;
    let length = usize::from(u16::from_be_bytes([head[0], head[1]]));
    if length < 2 {
        return Err("a segment's length is damaged".into());
    }
    let end = *position + length;
    let segment = bytes.get(*position + 2..end).ok_or_else(truncated)?;
    *position = end;
    Ok(segment)
}

/// Entropy-coded data of a sequential scan, MCU by MCU.
trait Sequential {
    fn begin_mcu(&mut self) -> Result<(), String>;
    fn sequential(&mut self, slot: usize, block: &mut Block);
    fn end_mcu(&mut self) -> Result<(), String>;
}

impl Sequential for Decoder<'_> {
    fn begin_mcu(&mut self) -> Result<(), String> {
        self.begin_mcu()
    }

    fn sequential(&mut self, slot: usize, block: &mut Block) {
        self.sequential(slot, block);
    }

    fn end_mcu(&mut self) -> Result<(), String> {
        self.end_mcu()
    }
}

impl Sequential for Arithmetic<'_> {
    fn begin_mcu(&mut self) -> Result<(), String> {
        self.begin_mcu()
    }

    fn sequential(&mut self, slot: usize, block: &mut Block) {
        self.sequential(slot, block);
    }

    fn end_mcu(&mut self) -> Result<(), String> {
        Arithmetic::end_mcu(self)
    }
}

/// The frame while its scans come in.
struct Image {
    frame: Frame,
    window: Window,
    planes: Vec<Plane>,
    /// Coefficients of a progressive frame, per component.
    coefficients: Vec<Vec<Block>>,
    /// Bits still missing per component of the first coefficients; libjpeg's `coef_bits`.
    missing: Vec<Known>,
    /// The same before the last scan of the component.
    missing_before: Vec<Known>,
    /// Scans read, and the last row of MCUs that the latest of them had data for.
    scans: usize,
    last_whole_row: usize,
    /// The table in force when a component's first scan began.
    quant: Vec<Option<Quant>>,
}

impl Image {
    fn new(frame: Frame, needed: Region) -> Self {
        let window = Window::new(&frame, needed);
        let blocks = |c: &header::Component| match frame.progressive {
            true => vec![[0; 64]; c.padded_x * c.padded_y],
            false => Vec::new(),
        };
        Image {
            planes: frame.components.iter().map(|c| window.plane(c)).collect(),
            coefficients: frame.components.iter().map(blocks).collect(),
            missing: vec![[-1; COEFFICIENTS]; frame.components.len()],
            missing_before: vec![[-1; COEFFICIENTS]; frame.components.len()],
            scans: 0,
            last_whole_row: 0,
            quant: vec![None; frame.components.len()],
            frame,
            window,
        }
    }

    /// Reads the scan whose header is `segment` and whose data begin at `position`; returns where
    /// to look for the next marker.
    fn scan(
        &mut self,
        bytes: &[u8],
        position: usize,
        segment: &[u8],
        tables: &Tables,
    ) -> Result<usize, String> {
        let scan = Scan::read(segment, &self.frame)?;
        for &(index, ..) in &scan.components {
            let slot = self.frame.components[index].quant;
            if self.quant[index].is_none() {
                self.quant[index] = tables.quant[slot];
            }
            let missing = &mut self.missing[index];
            match self.scans {
                0 => self.missing_before[index][1..].fill(0),
                _ => self.missing_before[index] = *missing,
            }
            for bits in missing.iter_mut().take(scan.end + 1).skip(scan.start) {
                *bits = scan.low as i8;
            }
        }
        self.scans += 1;
        if self.frame.arithmetic {
            let mut decoder = Arithmetic::new(bytes, position, &scan, tables);
            self.sequential(&mut decoder, &scan)?;
            return Ok(decoder.end());
        }
        let mut decoder = Decoder::new(bytes, position, &scan, tables)?;
        if self.frame.progressive {
            self.progressive(&mut decoder, &scan)?;
        } else {
            self.sequential(&mut decoder, &scan)?;
        }
        Ok(decoder.end())
    }

    /// MCUs per row and column of the scan, and per component of it the blocks of an MCU.
    fn layout(&self, scan: &Scan) -> (usize, usize, Vec<(usize, usize)>) {
        if let [(index, ..)] = scan.components[..] {
            // A scan of one component has one block per MCU and no padding to whole MCUs.
            let c = &self.frame.components[index];
            return (c.blocks_x, c.blocks_y, vec![(1, 1)]);
        }
        let blocks = |&(index, ..): &(usize, usize, usize)| {
            let c = &self.frame.components[index];
            (c.h, c.v)
        };
        let blocks = scan.components.iter().map(blocks).collect();
        (self.frame.mcus_x, self.frame.mcus_y, blocks)
    }

    /// A sequential scan completes its components: each row of blocks goes to samples at once.
    fn sequential(&mut self, decoder: &mut impl Sequential, scan: &Scan) -> Result<(), String> {
        let (mcus_x, mcus_y, mcu) = self.layout(scan);
        let mut rows: Vec<Vec<Block>> = mcu
            .iter()
            .map(|&(h, v)| vec![[0; 64]; mcus_x * h * v])
            .collect();
        for mcu_y in 0..mcus_y {
            for row in &mut rows {
                row.fill([0; 64]);
            }
            for mcu_x in 0..mcus_x {
                decoder.begin_mcu()?;
                for (slot, (&(h, v), row)) in mcu.iter().zip(&mut rows).enumerate() {
                    for y in 0..v {
                        let start = y * mcus_x * h + mcu_x * h;
                        for block in &mut row[start..start + h] {
                            decoder.sequential(slot, block);
                        }
                    }
                }
                decoder.end_mcu()?;
            }
            for ((&(h, v), row), &(index, ..)) in mcu.iter().zip(&rows).zip(&scan.components) {
                for (blocks, y) in row.chunks_exact(mcus_x * h).zip(mcu_y * v..) {
                    self.samples(index, y, blocks)?;
                }
            }
        }
        Ok(())
    }

    /// Transforms what the window holds of a component's row `y` of blocks.
    fn samples(&mut self, index: usize, y: usize, blocks: &[Block]) -> Result<(), String> {
        let quant = self.quant[index].as_ref().ok_or(NO_QUANT)?;
        let (columns, rows) = self.window.blocks(&self.frame.components[index]);
        if rows.contains(&y) {
            let plane = &mut self.planes[index];
            let lines = &mut plane.samples[(y - rows.start) * 8 * plane.stride..];
            let end = columns.end.min(blocks.len());
            idct::row(&blocks[columns.start..end], quant, lines, plane.stride);
        }
        Ok(())
    }

    fn progressive(&mut self, decoder: &mut Decoder, scan: &Scan) -> Result<(), String> {
        let (mcus_x, mcus_y, mcu) = self.layout(scan);
        // Rows of one component's blocks in a row of the frame's MCUs.
        let rows = match scan.components[..] {
            [(index, ..)] => self.frame.components[index].v,
            _ => 1,
        };
        for mcu_y in 0..mcus_y {
            for mcu_x in 0..mcus_x {
                decoder.begin_mcu()?;
                if !decoder.is_starved() {
                    self.last_whole_row = mcu_y / rows;
                }
                for (slot, &(h, v)) in mcu.iter().enumerate() {
                    let index = scan.components[slot].0;
                    let stride = self.frame.components[index].padded_x;
                    for y in 0..v {
                        let start = (mcu_y * v + y) * stride + mcu_x * h;
                        for block in &mut self.coefficients[index][start..start + h] {
                            decoder.progressive(slot, block);
                        }
                    }
                }
                decoder.end_mcu()?;
            }
        }
        Ok(())
    }

    /// Samples of a progressive frame, then pixels.
    fn finish(mut self, tables: &Tables) -> Result<Cutout<'static>, String> {
        let known = self.missing.iter().zip(&self.quant);
        let smooth = self.frame.progressive
            && smooth::applies(known.map(|(known, quant)| (known, quant.as_ref())));
        if self.scans < 2 {
            self.missing_before.fill([-1; COEFFICIENTS]);
        }
        for index in 0..self.frame.components.len() {
            if self.missing[index][0] < 0 {
                return Err("a colour component has no data".into());
            }
            if !self.frame.progressive {
                continue;
            }
            let coefficients = std::mem::take(&mut self.coefficients[index]);
            let stride = self.frame.components[index].padded_x;
            for (y, blocks) in coefficients.chunks_exact(stride).enumerate() {
                if !smooth {
                    self.samples(index, y, blocks)?;
                    continue;
                }
                let component = &self.frame.components[index];
                let known = match y / component.v > self.last_whole_row {
                    true => &self.missing_before[index],
                    false => &self.missing[index],
                };
                let quant = self.quant[index].as_ref().ok_or(NO_QUANT)?;
                let mcus_y = self.frame.mcus_y;
                let blocks = smooth::row(&coefficients, component, mcus_y, y, known, quant);
                self.samples(index, y, &blocks)?;
            }
        }
        Ok(self.pixels(tables))
    }

    /// Upsamples and converts row by row.
    fn pixels(&self, tables: &Tables) -> Cutout<'static> {
        let frame = &self.frame;
        let Region {
            x,
            y,
            width,
            height,
        } = self.window.pixels;
        let mut image = RgbImage::black(width, height);
        let mut rows: Vec<Upsampler> = (frame.components.iter().zip(&self.planes))
            .map(|(component, plane)| Upsampler::new(frame, component, plane))
            .collect();
        let ids: Vec<u8> = frame.components.iter().map(|c| c.id).collect();
        // libjpeg's guess (`default_decompress_parms`), Adobe's markers included.
        let rgb = match tables.adobe {
            _ if tables.jfif => false,
            Some(transform) => transform == 0,
            None => ids == *b"RGB",
        };
        let ycck = tables.adobe.is_some_and(|transform| transform != 0);
        for (line, y) in image.data.chunks_exact_mut(width * 3).zip(y..) {
            match &mut rows[..] {
                [grey] => {
                    for (pixel, &value) in line.chunks_exact_mut(3).zip(grey.row(y)) {
                        pixel.fill(value);
                    }
                }
                [a, b, c] if rgb => {
                    let channels = a.row(y).iter().zip(b.row(y)).zip(c.row(y));
                    for (pixel, ((&r, &g), &b)) in line.chunks_exact_mut(3).zip(channels) {
                        pixel.copy_from_slice(&[r, g, b]);
                    }
                }
                [a, b, c] => colour::ycc_to_rgb(a.row(y), b.row(y), c.row(y), line),
                [a, b, c, k] => {
                    colour::cmyk_to_rgb([a.row(y), b.row(y), c.row(y), k.row(y)], ycck, line);
                }
                _ => {}
            }
        }
        Cutout {
            pixels: Cow::Owned(image),
            x,
            y,
            width: frame.width,
            height: frame.height,
        }
    }
}

const NO_QUANT: &str = "a component uses a quantisation table that the file does not define";
