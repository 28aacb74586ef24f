//! The first picture of a GIF, as Pillow's `GifImagePlugin` shows it.
//!
//! The screen grows to hold a frame that is larger; what the frame leaves free has the index that
//! means "transparent", else index 0; transparency itself is dropped.

use super::{Limits, RgbImage};
use gif::{ColorOutput, DecodeOptions, MemoryLimit};
use std::borrow::Cow;
use std::io::Cursor;

/// Bytes of the screen's header, before the global palette.
const HEADER: usize = 13;
/// Where the header says whether there is one.
const FLAGS: usize = 10;

pub fn recognises(bytes: &[u8]) -> bool {
    bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a")
}

pub fn decode(bytes: &[u8], limits: &Limits) -> Result<RgbImage, String> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    // The frame's size is checked below, before it is decoded.
    options.set_memory_limit(MemoryLimit::Unlimited);
    let bytes = with_palette(bytes);
    let reader = Cursor::new(bytes.as_ref());
    let mut decoder = options.read_info(reader).map_err(|e| e.to_string())?;
    let (screen_width, screen_height) = (decoder.width(), decoder.height());
    let global = decoder.global_palette().map(<[u8]>::to_vec);
    let frame = decoder.next_frame_info().map_err(|e| e.to_string())?;
    let frame = frame.ok_or("the GIF holds no picture")?.clone();
    let (left, top) = (usize::from(frame.left), usize::from(frame.top));
    let (inner, lines) = (usize::from(frame.width), usize::from(frame.height));
    let width = usize::from(screen_width).max(left + inner);
    let height = usize::from(screen_height).max(top + lines);
    limits.check(width, height)?;
    let mut indices = vec![0; inner * lines];
    if !indices.is_empty() {
        decoder
            .read_into_buffer(&mut indices)
            .map_err(|e| e.to_string())?;
    }
    let palette = frame.palette.or(global).unwrap_or_default();
    let palette = palette.as_chunks::<3>().0;
    let ramp = |(grey, colour): (usize, &[u8; 3])| *colour == [grey as u8; 3];
    // A palette that changes nothing is none: the picture is grey. Else what lies beyond is black.
    let grey = palette.iter().enumerate().all(ramp);
    let rgb = |index: u8| match palette.get(usize::from(index)) {
        Some(colour) => *colour,
        None if grey => [index; 3],
        None => [0; 3],
    };
    let free = rgb(frame.transparent.unwrap_or(0));
    let mut data: Vec<u8> = free
        .iter()
        .copied()
        .cycle()
        .take(width * height * 3)
        .collect();
    for (y, line) in indices.chunks_exact(inner.max(1)).enumerate() {
        let start = ((top + y) * width + left) * 3;
        let target = data[start..start + inner * 3].as_chunks_mut::<3>().0;
        for (pixel, &index) in target.iter_mut().zip(line) {
            *pixel = rgb(index);
        }
    }
    Ok(RgbImage {
        width,
        height,
        data,
    })
}

/// The file with a global palette of greys where it has none: without one, numbers are greys.
fn with_palette(bytes: &[u8]) -> Cow<'_, [u8]> {
    match bytes.get(FLAGS) {
        Some(flags) if flags & 0x80 == 0 && bytes.len() > HEADER => {
            let mut copy = bytes[..HEADER].to_vec();
            copy[FLAGS] = flags & 0x78 | 0x87;
            copy.extend((0..=255u8).flat_map(|grey| [grey; 3]));
            copy.extend(&bytes[HEADER..]);
            Cow::Owned(copy)
        }
        _ => Cow::Borrowed(bytes),
    }
}
