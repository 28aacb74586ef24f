//! Pillow's nearest neighbour (`Geometry.c`: `ImagingScaleAffine`).

use super::{Cutout, Target};
use crate::data::image::RgbImage;

pub fn resize(part: &Cutout, target: &Target) -> RgbImage {
    let region = target.region;
    let columns = positions(part.width, target.width);
    let rows = positions(part.height, target.height);
    let mut out = RgbImage::black(region.width, region.height);
    let lines = out.data.chunks_exact_mut(region.width * 3);
    for (line, y) in lines.zip(&rows[region.y..]) {
        let Some(y) = *y else { continue };
        let row = part.pixels.row(y - part.y);
        for (pixel, x) in line.chunks_exact_mut(3).zip(&columns[region.x..]) {
            if let Some(x) = *x {
                let at = (x - part.x) * 3;
                pixel.copy_from_slice(&row[at..at + 3]);
            }
        }
    }
    out
}

/// The input under each output. Pillow steps by repeated addition, whose rounding decides ties;
/// `None` where it drifts past the end, which Pillow leaves black.
pub fn positions(input: usize, output: usize) -> Vec<Option<usize>> {
    let step = input as f64 / output as f64;
    let mut at = step * 0.5;
    (0..output)
        .map(|_| {
            let position = at as usize;
            at += step;
            (position < input).then_some(position)
        })
        .collect()
}
