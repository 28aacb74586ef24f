//! Pillow's nearest neighbour (`Geometry.c`: `ImagingScaleAffine`).

use super::Region;
use crate::data::image::RgbImage;

/// The part `region` of `image` at `width` x `height`.
pub fn resize(image: &RgbImage, width: usize, height: usize, region: Region) -> RgbImage {
    let columns = positions(image.width, width);
    let rows = positions(image.height, height);
    let mut out = RgbImage::black(region.width, region.height);
    let lines = out.data.chunks_exact_mut(region.width * 3);
    for (line, y) in lines.zip(&rows[region.y..]) {
        let Some(y) = *y else { continue };
        let row = image.row(y);
        for (pixel, x) in line.chunks_exact_mut(3).zip(&columns[region.x..]) {
            if let Some(x) = *x {
                pixel.copy_from_slice(&row[x * 3..x * 3 + 3]);
            }
        }
    }
    out
}

/// The input under each output. Pillow steps by repeated addition, whose rounding decides ties;
/// where it drifts past the end the output stays black.
fn positions(input: usize, output: usize) -> Vec<Option<usize>> {
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
