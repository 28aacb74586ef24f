//! PBM, PGM, PPM and PFM, read as Pillow's `PpmImagePlugin` reads them: samples are scaled by
//! `round(value / maxval * 255)`, greys of more than 8 bits are clipped at 255.

use super::{Limits, RgbImage};

/// Pillow's limit on a number in the header or in plain text.
const LONGEST_TOKEN: usize = 10;

pub fn recognises(bytes: &[u8]) -> bool {
    matches!(bytes, [b'P', b'1'..=b'6' | b'f', space, ..] if is_space(*space))
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

pub fn decode(bytes: &[u8], limits: &Limits) -> Result<RgbImage, String> {
    let kind = *bytes.get(1).ok_or_else(ends_early)?;
    let mut reader = Reader { bytes, at: 3 };
    let (width, height) = (reader.number()?, reader.number()?);
    limits.check(width, height)?;
    let samples = width * height * if matches!(kind, b'3' | b'6') { 3 } else { 1 };
    let colour = matches!(kind, b'3' | b'6');
    let values = match kind {
        b'1' => reader.plain_bits(samples)?,
        b'4' => reader.packed_bits(width, height)?,
        b'f' => reader.floats(width, height)?,
        _ => {
            let most = reader.number()?;
            if !(1..65_536).contains(&most) {
                return Err(format!("{most} is no largest value of a PNM file"));
            }
            let stored = match kind {
                b'2' | b'3' => reader.plain(samples, most)?,
                _ => reader.binary(samples, most)?,
            };
            let scaled = stored.into_iter().map(|value| scale(value, most, colour));
            scaled.collect()
        }
    };
    Ok(RgbImage {
        width,
        height,
        data: match colour {
            true => values,
            false => values.into_iter().flat_map(|v| [v; 3]).collect(),
        },
    })
}

fn ends_early() -> String {
    "the PNM file ends early".to_string()
}

/// Python's `min(out, round(value / maxval * out))`, to 8 bits; a grey of more than 8 bits is
/// scaled to 16 and clipped at 255.
fn scale(value: u16, most: usize, colour: bool) -> u8 {
    let wide = most > 255 && !colour;
    let out = if wide { 65_535.0 } else { 255.0 };
    let scaled = f64::from(value) / most as f64 * out;
    scaled.round_ties_even().min(255.0) as u8
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    /// The next word; `#` hides the rest of a line.
    fn token(&mut self) -> Result<&str, String> {
        let mut token = (self.at, self.at);
        while token.1 - token.0 <= LONGEST_TOKEN {
            match self.bytes.get(self.at) {
                None => break,
                Some(b'#') => {
                    let rest = &self.bytes[self.at..];
                    let line = rest.iter().position(|b| matches!(b, b'\r' | b'\n'));
                    self.at += line.map_or(rest.len(), |n| n + 1);
                    if token.0 == token.1 {
                        token = (self.at, self.at);
                    }
                }
                Some(&byte) if is_space(byte) => {
                    self.at += 1;
                    if token.0 < token.1 {
                        break;
                    }
                    token = (self.at, self.at);
                }
                Some(_) => {
                    self.at += 1;
                    token.1 = self.at;
                }
            }
        }
        match std::str::from_utf8(&self.bytes[token.0..token.1]) {
            Ok("") => Err(ends_early()),
            Ok(text) if text.len() <= LONGEST_TOKEN => Ok(text),
            _ => Err("a number of the PNM file is not readable".into()),
        }
    }

    fn number(&mut self) -> Result<usize, String> {
        let token = self.token()?;
        let digits = token.bytes().all(|b| b.is_ascii_digit());
        let number = token.parse().ok().filter(|_| digits);
        number.ok_or_else(|| format!("`{token}` is no number of a PNM file"))
    }

    fn plain(&mut self, samples: usize, most: usize) -> Result<Vec<u16>, String> {
        let mut values = Vec::new();
        while values.len() < samples {
            let value = self.number()?;
            if value > most {
                return Err(format!(
                    "value {value} exceeds the PNM file's largest, {most}"
                ));
            }
            values.push(value as u16);
        }
        Ok(values)
    }

    fn binary(&mut self, samples: usize, most: usize) -> Result<Vec<u16>, String> {
        let size = if most < 256 { 1 } else { 2 };
        let stored = self.take(samples * size)?;
        Ok(match size {
            1 => stored.iter().map(|&v| u16::from(v)).collect(),
            _ => {
                let pairs = stored.as_chunks::<2>().0;
                pairs.iter().map(|&pair| u16::from_be_bytes(pair)).collect()
            }
        })
    }

    /// Bits as text, with or without space between them; 1 is black.
    fn plain_bits(&mut self, samples: usize) -> Result<Vec<u8>, String> {
        let mut values = Vec::new();
        while values.len() < samples {
            match self.bytes.get(self.at) {
                None => return Err(ends_early()),
                Some(b'#') => {
                    let rest = &self.bytes[self.at..];
                    let line = rest.iter().position(|b| matches!(b, b'\r' | b'\n'));
                    self.at += line.unwrap_or(rest.len() - 1);
                }
                Some(b'0') => values.push(255),
                Some(b'1') => values.push(0),
                Some(&byte) if is_space(byte) => {}
                Some(byte) => return Err(format!("byte {byte} is no bit of a PBM file")),
            }
            self.at += 1;
        }
        Ok(values)
    }

    fn packed_bits(&mut self, width: usize, height: usize) -> Result<Vec<u8>, String> {
        let stride = width.div_ceil(8);
        let stored = self.take(stride * height)?;
        let black = |row: &[u8], x: usize| row[x / 8] >> (7 - x % 8) & 1 == 1;
        let rows = stored.chunks_exact(stride);
        Ok(rows
            .flat_map(|row| (0..width).map(move |x| if black(row, x) { 0 } else { 255 }))
            .collect())
    }

    /// Rows from the bottom; the sign of the scale tells the byte order.
    fn floats(&mut self, width: usize, height: usize) -> Result<Vec<u8>, String> {
        let token = self.token()?;
        let scale: f64 = token.parse().unwrap_or(f64::NAN);
        if scale == 0.0 || !scale.is_finite() {
            return Err(format!("`{token}` is no scale of a PFM file"));
        }
        let stored = self.take(width * height * 4)?;
        let value = |bytes: &[u8; 4]| match scale < 0.0 {
            true => f32::from_le_bytes(*bytes),
            false => f32::from_be_bytes(*bytes),
        };
        let rows = stored.chunks_exact(width * 4).rev();
        Ok(rows
            .flat_map(|row| row.as_chunks::<4>().0)
            .map(|bytes| value(bytes).clamp(0.0, 255.0) as u8)
            .collect())
    }

    fn take(&mut self, size: usize) -> Result<&[u8], String> {
        let end = self.at.checked_add(size);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        self.at += size;
        taken.ok_or_else(ends_early)
    }
}
