//! Detections over the photograph: boxes, masks, names and scores.

use super::evaluate::Detection;
use crate::data::Source;
use crate::data::coco::{CocoSet, mask};
use crate::data::decode::{Limits, decode};
use crate::files::{inside, write_atomically};
use crate::tasks::font;
use crate::tasks::palette::colour;
use crate::{Error, Result};
use image::{ImageEncoder, ImageFormat, Rgb, RgbImage};
use std::io::Cursor;
use std::path::{Path, PathBuf};

/// Detections of a lower score are not drawn.
const LEAST_SCORE: f64 = 0.3;
/// Share of the class's colour over the pixels of a mask.
const OPACITY: f32 = 0.45;
/// Side of a letter, and the height of a label.
const LETTER: u32 = 8;
const LABEL: u32 = LETTER + 3;
/// Pictures are enlarged by whole numbers until their short side has this many pixels, so that
/// labels can be read.
const READABLE: u32 = 400;

/// Draws image `index` and what was found in it into `folder`; returns the file's path.
pub fn draw(
    set: &CocoSet,
    index: usize,
    detections: &[Detection],
    folder: &Path,
) -> Result<PathBuf> {
    let path = set.image_path(index);
    let stored =
        decode(&set.read(index)?, &Limits::default()).map_err(|e| Error::file(&path, e))?;
    let (width, height) = (stored.width as u32, stored.height as u32);
    let photo = RgbImage::from_raw(width, height, stored.data)
        .ok_or_else(|| Error::file(&path, "has fewer pixels than it says"))?;
    let shown = |d: &&Detection| d.image == index && d.score >= LEAST_SCORE;
    let mut found: Vec<&Detection> = detections.iter().filter(shown).collect();
    // The best on top.
    found.reverse();
    let enlarged = (READABLE / width.min(height).max(1)).clamp(1, 4);
    let mut picture = RgbImage::from_fn(width * enlarged, height * enlarged, |x, y| {
        *photo.get_pixel(x / enlarged, y / enlarged)
    });
    for detection in &found {
        paint(&mut picture, detection, enlarged);
    }
    for detection in &found {
        frame(&mut picture, set, detection, enlarged);
    }
    let key = set.key(index);
    let stem = key.rsplit_once('.').map_or(key, |(stem, _)| stem);
    let place = inside(folder, &format!("{stem}.png"))?;
    let mut bytes = Cursor::new(Vec::new());
    let encoder = image::codecs::png::PngEncoder::new(&mut bytes);
    let (w, h) = picture.dimensions();
    encoder
        .write_image(picture.as_raw(), w, h, image::ExtendedColorType::Rgb8)
        .map_err(|e| Error::file(&place, format!("{:?}: {e}", ImageFormat::Png)))?;
    write_atomically(&place, &bytes.into_inner())?;
    Ok(place)
}

fn paint(picture: &mut RgbImage, detection: &Detection, enlarged: u32) {
    let Some(runs) = &detection.mask else { return };
    let rows = mask::raster(runs);
    let tint = colour(detection.category);
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        let at = (y / enlarged) as usize * runs.width as usize + (x / enlarged) as usize;
        if rows.get(at).is_some_and(|&inside| inside != 0) {
            for (value, tint) in pixel.0.iter_mut().zip(tint) {
                let mixed = f32::from(*value) * (1.0 - OPACITY) + f32::from(tint) * OPACITY;
                *value = mixed as u8;
            }
        }
    }
}

fn frame(picture: &mut RgbImage, set: &CocoSet, detection: &Detection, enlarged: u32) {
    let tint = Rgb(colour(detection.category));
    let (width, height) = picture.dimensions();
    let scaled = |v: f64, most: u32| ((v * f64::from(enlarged)) as u32).min(most.saturating_sub(1));
    let bounds = &detection.bounds;
    let (x0, x1) = (scaled(bounds.x0, width), scaled(bounds.x1, width));
    let (y0, y1) = (scaled(bounds.y0, height), scaled(bounds.y1, height));
    for x in x0..=x1 {
        picture.put_pixel(x, y0, tint);
        picture.put_pixel(x, y1, tint);
    }
    for y in y0..=y1 {
        picture.put_pixel(x0, y, tint);
        picture.put_pixel(x1, y, tint);
    }
    let category = set.categories.iter().find(|c| c.id == detection.category);
    let name = category.map_or("?", |c| c.name.as_str());
    let label = format!("{name} {:.2}", detection.score);
    // Above the box where there is room, else in it; never beyond the right edge.
    let top = if y0 >= LABEL { y0 - LABEL } else { y0 + 1 };
    let wide = label.chars().count() as u32 * LETTER + 4;
    let left = x0.min(width.saturating_sub(wide));
    for y in top..(top + LABEL).min(height) {
        for x in left..(left + wide).min(width) {
            // Pale enough for black letters.
            let pale = tint.0.map(|v| 160 + (u16::from(v) * 95 / 255) as u8);
            picture.put_pixel(x, y, Rgb(pale));
        }
    }
    font::draw(picture, left + 2, top + 2, &label);
}
