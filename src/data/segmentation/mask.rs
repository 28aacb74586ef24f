//! PNG masks: the stored number of each pixel, never a colour.

use crate::data::decode::Limits;
use png::{BitDepth, Transformations};
use std::io::Cursor;

/// What a mask file stores: grey values or palette indices, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMask {
    pub width: usize,
    pub height: usize,
    pub values: Vec<u16>,
}

/// Decodes an 8- or 16-bit grey, or a palette PNG of 1 to 8 bits, of no more pixels than
/// `limits` allow. A PNG in colour will do where every pixel is grey (alpha counts nowhere). The
/// error is a sentence without the file's name.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<StoredMask, String> {
    if bytes.starts_with(&[0xff, 0xd8, 0xff]) {
        return Err("is a JPEG, which changes the numbers of classes; masks must be lossless, so make PNGs from the original masks (not from these files)".into());
    }
    let broken = |e: png::DecodingError| format!("is not a readable PNG ({e})");
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(broken)?;
    let info = reader.info();
    let (width, height) = (info.width as usize, info.height as usize);
    if width as u64 * height as u64 > limits.max_pixels {
        return Err(format!(
            "has {width}x{height} pixels, more than the limit of {}",
            limits.max_pixels
        ));
    }
    let (depth, samples) = (info.bit_depth, info.color_type.samples());
    let colours = samples > 2;
    let size = reader
        .output_buffer_size()
        .ok_or_else(|| format!("is too large ({width}x{height})"))?;
    let mut buffer = vec![0; size];
    let frame = reader.next_frame(&mut buffer).map_err(broken)?;
    let mut values = Vec::new();
    let mut pixels = Vec::new();
    for row in buffer.chunks_exact(frame.line_size).take(height) {
        if samples == 1 {
            unpack(row, depth, width, &mut values);
            continue;
        }
        pixels.clear();
        unpack(row, depth, width * samples, &mut pixels);
        for pixel in pixels.chunks_exact(samples) {
            if colours && (pixel[0] != pixel[1] || pixel[0] != pixel[2]) {
                return Err(format!(
                    "is a mask in colours (the first is {}, {}, {}); the numbers of classes must be grey values or palette indices, so convert it by the data set's table of colours",
                    pixel[0], pixel[1], pixel[2]
                ));
            }
            values.push(pixel[0]);
        }
    }
    Ok(StoredMask {
        width,
        height,
        values,
    })
}

/// Appends the `width` numbers of one line, most significant bits first.
fn unpack(row: &[u8], depth: BitDepth, width: usize, values: &mut Vec<u16>) {
    match depth {
        BitDepth::Eight => values.extend(row.iter().take(width).map(|&v| u16::from(v))),
        BitDepth::Sixteen => {
            let pairs = row.as_chunks::<2>().0;
            values.extend(pairs.iter().take(width).map(|&p| u16::from_be_bytes(p)));
        }
        BitDepth::One | BitDepth::Two | BitDepth::Four => {
            let bits = depth as usize;
            let each = 8 / bits;
            let mask = (1u16 << bits) - 1;
            values.extend((0..width).map(|x| {
                let shift = 8 - bits * (x % each + 1);
                u16::from(row[x / each]) >> shift & mask
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use png::ColorType;

    fn most(max_pixels: u64) -> Limits {
        Limits { max_pixels }
    }

    fn encode(width: u32, height: u32, color: ColorType, depth: BitDepth, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(color);
        encoder.set_depth(depth);
        if color == ColorType::Indexed {
            encoder.set_palette(vec![9; 3 * 256]);
        }
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(data).unwrap();
        drop(writer);
        bytes
    }

    #[test]
    fn palette_gives_indices() {
        let bytes = encode(2, 2, ColorType::Indexed, BitDepth::Eight, &[0, 15, 255, 3]);
        assert_eq!(decode(&bytes, &most(100)).unwrap().values, [0, 15, 255, 3]);
    }

    #[test]
    fn packed_and_wide_greys() {
        let bytes = encode(
            3,
            2,
            ColorType::Grayscale,
            BitDepth::Four,
            &[0x12, 0x30, 0xab, 0xc0],
        );
        assert_eq!(
            decode(&bytes, &most(100)).unwrap().values,
            [1, 2, 3, 10, 11, 12]
        );
        let bytes = encode(1, 2, ColorType::Grayscale, BitDepth::Sixteen, &[1, 2, 0, 7]);
        assert_eq!(decode(&bytes, &most(100)).unwrap().values, [258, 7]);
    }

    #[test]
    fn colours_and_bombs_are_refused() {
        let grey = encode(1, 2, ColorType::Rgb, BitDepth::Eight, &[7, 7, 7, 0, 0, 0]);
        assert_eq!(decode(&grey, &most(100)).unwrap().values, [7, 0]);
        let alpha = encode(
            2,
            1,
            ColorType::GrayscaleAlpha,
            BitDepth::Eight,
            &[7, 255, 3, 0],
        );
        assert_eq!(decode(&alpha, &most(100)).unwrap().values, [7, 3]);
        let jpeg = decode(&[0xff, 0xd8, 0xff, 0xe0], &most(100)).unwrap_err();
        assert!(jpeg.contains("masks must be lossless"), "{jpeg}");
        let bytes = encode(1, 1, ColorType::Rgb, BitDepth::Eight, &[1, 2, 3]);
        assert!(
            decode(&bytes, &most(100))
                .unwrap_err()
                .contains("palette indices")
        );
        let bytes = encode(2, 2, ColorType::Grayscale, BitDepth::Eight, &[0; 4]);
        assert!(
            decode(&bytes, &most(3))
                .unwrap_err()
                .contains("more than the limit")
        );
        assert!(
            decode(b"GIF89a", &most(3))
                .unwrap_err()
                .contains("not a readable PNG")
        );
    }
}
