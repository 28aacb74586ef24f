//! PNG and WebP through the `image` crate, brought to RGB as Pillow does; equal to Pillow 11.3 for
//! every form that the fixtures hold, lossy WebP included.

use super::{Limits, RgbImage};
use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageFormat, ImageReader};
use std::io::Cursor;

pub fn decode(bytes: &[u8], limits: &Limits) -> Result<RgbImage, String> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let reader = reader.map_err(|e| e.to_string())?;
    let Some(format) = reader.format() else {
        return Err("not an image of a known format (JPEG, PNG, WebP, BMP, GIF, TIFF, PNM)".into());
    };
    let decoder = reader.into_decoder().map_err(|e| e.to_string())?;
    let (width, height) = decoder.dimensions();
    let (width, height) = (width as usize, height as usize);
    limits.check(width, height)?;
    // A transparent colour makes `image` report alpha where the file stores plain grey.
    let grey16 = match format {
        ImageFormat::Png => {
            matches!(decoder.original_color_type(), ExtendedColorType::L16)
                || bytes.get(PNG_COLOUR_TYPE) == Some(&0)
        }
        _ => true,
    };
    let image = DynamicImage::from_decoder(decoder).map_err(|e| e.to_string())?;
    Ok(RgbImage {
        width,
        height,
        data: to_rgb(image, grey16)?,
    })
}

/// Where a PNG's header says which channels it has.
const PNG_COLOUR_TYPE: usize = 25;

/// Alpha is dropped, not blended. Of 16 bits per channel Pillow keeps the upper 8, except that it
/// clips 16-bit grey at 255.
fn to_rgb(image: DynamicImage, grey16: bool) -> Result<Vec<u8>, String> {
    let clip = |value: u16| value.min(255) as u8;
    let high = |value: u16| (value >> 8) as u8;
    let grey = |values: Vec<u8>| values.into_iter().flat_map(|v| [v; 3]).collect();
    Ok(match image {
        DynamicImage::ImageLuma16(image) => grey(image.into_raw().into_iter().map(clip).collect()),
        DynamicImage::ImageLumaA16(image) => {
            let narrow = if grey16 { clip } else { high };
            grey(image.pixels().map(|p| narrow(p.0[0])).collect())
        }
        DynamicImage::ImageRgb16(image) => image.into_raw().into_iter().map(high).collect(),
        DynamicImage::ImageRgba16(image) => image
            .pixels()
            .flat_map(|p| [p.0[0], p.0[1], p.0[2]].map(high))
            .collect(),
        DynamicImage::ImageLuma8(_)
        | DynamicImage::ImageLumaA8(_)
        | DynamicImage::ImageRgb8(_)
        | DynamicImage::ImageRgba8(_) => image.to_rgb8().into_raw(),
        _ => return Err("floating-point pixels are not supported".into()),
    })
}
