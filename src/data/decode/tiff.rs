//! TIFF with the pixels of Pillow's `TiffImagePlugin`: turned as its orientation says, palettes
//! read by their upper bytes, 16-bit colours cut to 8 bits, other wide numbers clipped at 255.
//!
//! Which forms are read follows Pillow's table `OPEN_INFO`; what it does not list is refused.
//! Not equal to Pillow: JPEG inside TIFF (another inverse DCT).

use super::orient::orient;
use super::{Limits, RgbImage};
use std::borrow::Cow;
use std::io::Cursor;
use tiff::decoder::{Decoder, DecodingResult};
use tiff::tags::Tag;

const PHOTOMETRIC: u16 = 262;
const BLACK_IS_ZERO: u16 = 1;

pub fn recognises(bytes: &[u8]) -> bool {
    matches!(
        bytes,
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..]
    )
}

/// What the tags say about the pixels.
struct Form {
    width: usize,
    height: usize,
    /// 0 white is zero, 1 black is zero, 2 RGB, 3 palette, 5 CMYK, 6 YCbCr.
    photometric: u16,
    /// 1 unsigned, 2 signed, 3 floating point.
    format: u16,
    bits: u16,
    samples: usize,
    /// 0 unspecified, 1 premultiplied alpha, 2 alpha.
    extra: Vec<u16>,
    planar: bool,
    big_endian: bool,
    palette: Vec<u16>,
    orientation: u16,
}

pub fn decode(bytes: &[u8], limits: &Limits) -> Result<RgbImage, String> {
    let bytes = plain_numbers(bytes);
    let sentence = |e: tiff::TiffError| e.to_string();
    let mut decoder = Decoder::new(Cursor::new(bytes.0.as_ref())).map_err(sentence)?;
    let mut unlimited = tiff::decoder::Limits::default();
    // Sizes were checked in pixels; a pixel has at most 32 bytes here.
    unlimited.decoding_buffer_size = usize::MAX;
    unlimited.intermediate_buffer_size = usize::MAX;
    let form = Form::read(&mut decoder, bytes.1).map_err(sentence)?;
    limits.check(form.width, form.height)?;
    form.check()?;
    let mut decoder = decoder.with_limits(unlimited);
    let mut stored = DecodingResult::U8(Vec::new());
    decoder
        .read_image_to_buffer(&mut stored)
        .map_err(sentence)?;
    let samples = form.interleave(form.to_bytes(stored)?)?;
    let image = RgbImage {
        width: form.width,
        height: form.height,
        data: form.to_rgb(&samples),
    };
    Ok(orient(image, form.orientation))
}

/// The file with a palette or "white is zero" declared as plain greys, which the decoder hands out
/// as they are stored; and what it was declared as.
fn plain_numbers(bytes: &[u8]) -> (Cow<'_, [u8]>, Option<u16>) {
    match photometric_at(bytes) {
        Some((at, value @ (0 | 3))) => {
            let mut copy = bytes.to_vec();
            let plain = match bytes[0] {
                b'I' => BLACK_IS_ZERO.to_le_bytes(),
                _ => BLACK_IS_ZERO.to_be_bytes(),
            };
            copy[at..at + 2].copy_from_slice(&plain);
            (Cow::Owned(copy), Some(value))
        }
        _ => (Cow::Borrowed(bytes), None),
    }
}

/// Where the first directory keeps the photometric interpretation, and its value.
fn photometric_at(bytes: &[u8]) -> Option<(usize, u16)> {
    let little = bytes.first()? == &b'I';
    let number = |at: usize, size: usize| -> Option<usize> {
        let field = bytes.get(at..at.checked_add(size)?)?;
        let value = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        let number = match little {
            true => field.iter().rev().fold(0, value),
            false => field.iter().fold(0, value),
        };
        usize::try_from(number).ok()
    };
    let big = number(2, 2)? == 43;
    let (start, count_size, entry, value_at) = match big {
        true => (number(8, 8)?, 8, 20, 12),
        false => (number(4, 4)?, 2, 12, 8),
    };
    let count = number(start, count_size)?;
    (0..count)
        .map_while(|i| {
            let at = start
                .checked_add(count_size)?
                .checked_add(i.checked_mul(entry)?)?;
            Some((at, number(at, 2)?))
        })
        .find(|(_, tag)| *tag == usize::from(PHOTOMETRIC))
        .and_then(|(at, _)| Some((at + value_at, number(at + value_at, 2)? as u16)))
}

impl Form {
    fn read(
        decoder: &mut Decoder<Cursor<&[u8]>>,
        declared: Option<u16>,
    ) -> Result<Self, tiff::TiffError> {
        let (width, height) = decoder.dimensions()?;
        let big_endian = matches!(decoder.byte_order(), tiff::tags::ByteOrder::BigEndian);
        let mut number = |tag: Tag, default: u16| -> Result<u16, tiff::TiffError> {
            Ok(decoder.find_tag_unsigned::<u16>(tag)?.unwrap_or(default))
        };
        let samples = number(Tag::SamplesPerPixel, 1)?;
        let photometric = match declared {
            Some(value) => value,
            None => number(Tag::PhotometricInterpretation, 0)?,
        };
        let planar = number(Tag::PlanarConfiguration, 1)? == 2;
        let orientation = number(Tag::Orientation, 1)?;
        let mut list = |tag: Tag| -> Result<Vec<u16>, tiff::TiffError> {
            Ok(decoder
                .find_tag_unsigned_vec::<u16>(tag)?
                .unwrap_or_default())
        };
        let bits = list(Tag::BitsPerSample)?;
        let formats = list(Tag::SampleFormat)?;
        // Numbers of unequal kinds have no entry in the table.
        let one = |values: &[u16]| match values {
            [] => Some(1),
            [first, rest @ ..] => rest.iter().all(|v| v == first).then_some(*first),
        };
        Ok(Form {
            width: width as usize,
            height: height as usize,
            photometric,
            format: one(&formats).unwrap_or(0),
            bits: one(&bits).unwrap_or(0),
            samples: usize::from(samples),
            extra: list(Tag::ExtraSamples)?,
            planar,
            big_endian,
            palette: list(Tag::ColorMap)?,
            orientation,
        })
    }

    /// Refuses what Pillow's table does not list.
    fn check(&self) -> Result<(), String> {
        let alpha = matches!(self.extra.as_slice(), [2]);
        let known = match (self.photometric, self.samples, self.bits, self.format) {
            (0 | 1, 1, 1 | 2 | 4, 1) => self.extra.is_empty(),
            (0 | 1, 1, 8, 1) | (1, 1, 8, 2) => self.extra.is_empty(),
            (1, 1, 12, 1) | (0, 1, 16, 1) | (1, 1, 32, 1) => !self.big_endian,
            (1, 1, 16, 1 | 2) | (1, 1, 32, 2) | (0 | 1, 1, 32, 3) => self.extra.is_empty(),
            (1, 2, 8, 1) => alpha,
            (2, 3, 8 | 16, 1) => self.extra.is_empty(),
            (2, 4, 8, 1) => matches!(self.extra.as_slice(), [] | [0..=2 | 999]),
            (2, 4, 16, 1) => matches!(self.extra.as_slice(), [] | [0..=2]),
            (2, 5 | 6, 8, 1) => {
                self.extra.len() == self.samples - 3
                    && matches!(self.extra.as_slice(), [0..=2, rest @ ..] if rest.iter().all(|&e| e == 0))
            }
            (3, 1, 1 | 2 | 4 | 8, 1) => self.extra.is_empty(),
            (3, 2, 8, 1) => alpha || (self.extra == [0] && !self.big_endian),
            (5, 4, 8 | 16, 1) => self.extra.is_empty(),
            (5, 5 | 6, 8, 1) => {
                self.extra.len() == self.samples - 4 && self.extra.iter().all(|&e| e == 0)
            }
            (6, 3, 8, 1) => true,
            _ => false,
        };
        if self.photometric == 3 && self.palette.len() < 3 {
            return Err("is a palette TIFF without a palette".into());
        }
        match known {
            true => Ok(()),
            false => Err(format!(
                "a TIFF of photometric interpretation {}, {} samples of {} bits (sample format {}, extra samples {:?}) is not supported",
                self.photometric, self.samples, self.bits, self.format, self.extra
            )),
        }
    }

    /// Every stored number as a byte, as Pillow narrows it.
    fn to_bytes(&self, stored: DecodingResult) -> Result<Vec<u8>, String> {
        let clip = |v: i64| v.clamp(0, 255) as u8;
        let inverted = self.photometric == 0;
        Ok(match stored {
            DecodingResult::U8(values) if self.bits < 8 => self.unpack(&values),
            DecodingResult::U8(values) if inverted => values.into_iter().map(|v| !v).collect(),
            DecodingResult::U8(values) => values,
            // Pillow takes signed bytes for unsigned ones.
            DecodingResult::I8(values) => values.into_iter().map(|v| v as u8).collect(),
            DecodingResult::U16(values) if self.samples > 1 => {
                values.into_iter().map(|v| (v >> 8) as u8).collect()
            }
            DecodingResult::U16(values) => values.into_iter().map(|v| v.min(255) as u8).collect(),
            DecodingResult::I16(values) => values.into_iter().map(|v| clip(v.into())).collect(),
            // Pillow takes unsigned 32-bit numbers for signed ones.
            DecodingResult::U32(values) => values
                .into_iter()
                .map(|v| clip((v as i32).into()))
                .collect(),
            DecodingResult::I32(values) => values.into_iter().map(|v| clip(v.into())).collect(),
            DecodingResult::F32(values) => values
                .into_iter()
                .map(|v| v.clamp(0.0, 255.0) as u8)
                .collect(),
            _ => return Err("a TIFF of such numbers is not supported".into()),
        })
    }

    /// Numbers of 1, 2 or 4 bits: of a palette as they are, else spread over 0..255.
    fn unpack(&self, packed: &[u8]) -> Vec<u8> {
        let bits = usize::from(self.bits);
        let (each, most) = (8 / bits, (1u16 << bits) - 1);
        let factor = if self.photometric == 3 { 1 } else { 255 / most };
        let flip = if self.photometric == 0 { 0xff } else { 0 };
        let rows = packed.chunks_exact(self.width.div_ceil(each).max(1));
        let number = |row: &[u8], x: usize| {
            let byte = u16::from(row[x / each] ^ flip);
            ((byte >> (8 - bits * (x % each + 1)) & most) * factor) as u8
        };
        rows.flat_map(|row| (0..self.width).map(move |x| number(row, x)))
            .collect()
    }

    /// Pixel by pixel, from one plane per sample.
    fn interleave(&self, values: Vec<u8>) -> Result<Vec<u8>, String> {
        let pixels = self.width * self.height;
        if !self.planar || self.samples == 1 {
            return Ok(values);
        }
        if values.len() < pixels * self.samples {
            return Err("a TIFF of such planes is not supported".into());
        }
        let pixel = |i: usize| (0..self.samples).map(move |s| s * pixels + i);
        Ok((0..pixels).flat_map(pixel).map(|at| values[at]).collect())
    }

    fn to_rgb(&self, values: &[u8]) -> Vec<u8> {
        let pixels = self.width * self.height;
        // What the decoder left of extra samples.
        let size = (values.len() / pixels.max(1)).max(1);
        let pixels = values.chunks_exact(size).take(pixels);
        match self.photometric {
            3 => {
                let entries = self.palette.len() / 3;
                let colour = |index: usize, channel: usize| match index < entries {
                    true => (self.palette[channel * entries + index] / 256) as u8,
                    false => 0,
                };
                let rgb = |p: &[u8]| [0, 1, 2].map(|c| colour(usize::from(p[0]), c));
                pixels.flat_map(rgb).collect()
            }
            2 | 6 => {
                let premultiplied = self.extra.first() == Some(&1) && size > 3;
                let rgb = |p: &[u8]| {
                    let rgb = [p[0], p[1], p[2]];
                    match premultiplied {
                        true => rgb.map(|v| unpremultiply(v, p[3])),
                        false => rgb,
                    }
                };
                pixels.flat_map(rgb).collect()
            }
            5 => pixels.flat_map(cmyk).collect(),
            _ => pixels.flat_map(|p| [p[0]; 3]).collect(),
        }
    }
}

fn unpremultiply(value: u8, alpha: u8) -> u8 {
    match alpha {
        0 => 0,
        255 => value,
        alpha => (u32::from(value) * 255 / u32::from(alpha)).min(255) as u8,
    }
}

/// Pillow's `cmyk2rgb`: what is left of the black after each ink.
fn cmyk(p: &[u8]) -> [u8; 3] {
    let left = 255 - u32::from(p[3]);
    [p[0], p[1], p[2]].map(|ink| {
        let product = u32::from(ink) * left + 128;
        left.saturating_sub(((product >> 8) + product) >> 8) as u8
    })
}
