//! `cv2.resize` on bytes: bilinear without antialiasing, and nearest neighbour.

use crate::data::annotation::LabelMap;
use crate::data::decode::Limits;
use crate::data::image::RgbImage;
use crate::data::resize::Region;

/// mmcv's `rescale_size` with keep_ratio: the (height, width) that fits `scale`'s long and short
/// edge, rounded half up.
///
/// # Errors
/// A sentence where that exceeds the pixel limit.
pub fn keep_ratio(
    height: usize,
    width: usize,
    scale: (usize, usize),
) -> Result<(usize, usize), String> {
    let long = scale.0.max(scale.1) as f64;
    let short = scale.0.min(scale.1) as f64;
    let factor = (long / height.max(width) as f64).min(short / height.min(width) as f64);
    let side = |length: usize| ((length as f64 * factor + 0.5) as usize).max(1);
    let resized = (side(height), side(width));
    Limits::default().check_resized((height, width), resized)?;
    Ok(resized)
}

/// mmseg's test-time resize: `Resize(scale, keep_ratio)` of the image alone. Errors as
/// [`keep_ratio`].
pub fn test_time(image: &RgbImage, scale: (usize, usize)) -> Result<RgbImage, String> {
    let (height, width) = keep_ratio(image.height, image.width, scale)?;
    Ok(bilinear(image, width, height))
}

/// `cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)`.
pub fn bilinear(image: &RgbImage, width: usize, height: usize) -> RgbImage {
    let all = Region {
        x: 0,
        y: 0,
        width,
        height,
    };
    bilinear_window(image, width, height, all)
}

/// The part `window` of what [`bilinear`] gives, without computing the rest.
pub fn bilinear_window(image: &RgbImage, width: usize, height: usize, window: Region) -> RgbImage {
    if (image.width, image.height) == (width, height) {
        return cut(image, window);
    }
    let columns = &taps(image.width, width)[window.x..window.x + window.width];
    // Where an exact half is asked for, OpenCV averages; the general weights come to the same.
    let rows = &taps(image.height, height)[window.y..window.y + window.height];
    let mut out = RgbImage::black(window.width, window.height);
    // The two input rows at hand, resampled along x, by their number.
    let mut lines: [(Option<usize>, Vec<i32>); 2] =
        std::array::from_fn(|_| (None, vec![0; window.width * 3]));
    for (line, row) in out.data.chunks_exact_mut(window.width * 3).zip(rows) {
        let wanted = [row.first, row.second];
        if lines[1].0 == Some(wanted[0]) {
            lines.swap(0, 1);
        }
        for ((number, values), wanted) in lines.iter_mut().zip(wanted) {
            if *number != Some(wanted) {
                horizontal(image.row(wanted), columns, values);
                *number = Some(wanted);
            }
        }
        let [near, far] = row.weights;
        for ((value, a), b) in line.iter_mut().zip(&lines[0].1).zip(&lines[1].1) {
            // OpenCV's VResizeLinear for bytes: 22 fractional bits are dropped in three steps.
            let sum = ((near * (a >> 4)) >> 16) + ((far * (b >> 4)) >> 16);
            *value = ((sum + 2) >> 2).clamp(0, 255) as u8;
        }
    }
    out
}

fn horizontal(row: &[u8], columns: &[Tap], out: &mut [i32]) {
    for (pixel, column) in out.as_chunks_mut::<3>().0.iter_mut().zip(columns) {
        let (first, second) = (&row[column.first * 3..], &row[column.second * 3..]);
        for (channel, value) in pixel.iter_mut().enumerate() {
            *value = i32::from(first[channel]) * column.weights[0]
                + i32::from(second[channel]) * column.weights[1];
        }
    }
}

fn cut(image: &RgbImage, window: Region) -> RgbImage {
    let mut out = RgbImage::black(window.width, window.height);
    for (line, y) in out.data.chunks_exact_mut(window.width * 3).zip(window.y..) {
        line.copy_from_slice(&image.row(y)[window.x * 3..(window.x + window.width) * 3]);
    }
    out
}

/// Two inputs of one output and their weights, 11 fractional bits.
struct Tap {
    first: usize,
    second: usize,
    weights: [i32; 2],
}

/// OpenCV's bilinear coefficients: half-pixel centres, positions in fp32.
fn taps(input: usize, output: usize) -> Vec<Tap> {
    const ONE: f32 = 2048.0;
    let scale = 1.0 / (output as f64 / input as f64);
    let last = input as i64 - 1;
    let tap = |o: usize| {
        let position = ((o as f64 + 0.5) * scale - 0.5) as f32;
        let floor = position.floor();
        let fraction = position - floor;
        let first = floor as i64;
        Tap {
            first: first.clamp(0, last) as usize,
            second: (first + 1).clamp(0, last) as usize,
            weights: [1.0 - fraction, fraction].map(|w| (w * ONE).round_ties_even() as i32),
        }
    };
    (0..output).map(tap).collect()
}

/// `cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)`.
pub fn nearest(map: &LabelMap, width: usize, height: usize) -> LabelMap {
    let positions = |input: usize, output: usize| -> Vec<usize> {
        let scale = 1.0 / (output as f64 / input as f64);
        let position = |o: usize| ((o as f64 * scale) as usize).min(input - 1);
        (0..output).map(position).collect()
    };
    let columns = positions(map.width, width);
    let mut labels = Vec::with_capacity(width * height);
    for y in positions(map.height, height) {
        let row = &map.labels[y * map.width..(y + 1) * map.width];
        labels.extend(columns.iter().map(|&x| row[x]));
    }
    LabelMap {
        width,
        height,
        labels,
    }
}
