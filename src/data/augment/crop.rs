//! mmseg's `RandomCrop`, horizontal flip and `Pad`.

use super::LabelledImage;
use crate::data::annotation::{IGNORE, LabelMap};
use crate::data::image::RgbImage;
use crate::data::resize::Region;
use crate::rng::Rng;

/// How often mmseg draws again before it takes what it has.
const REDRAWS: usize = 10;

/// Where to crop `labels` to at most `size` (height, width): drawn again while there is only
/// one class in it or one class has `cat_max_ratio` of it or more, ignored pixels aside.
pub fn choose(
    labels: &LabelMap,
    size: (usize, usize),
    cat_max_ratio: f64,
    rng: &mut Rng,
) -> Region {
    let mut draw = || {
        let y = rng.below(labels.height.saturating_sub(size.0) + 1);
        let x = rng.below(labels.width.saturating_sub(size.1) + 1);
        Region {
            x,
            y,
            width: size.1.min(labels.width),
            height: size.0.min(labels.height),
        }
    };
    let mut place = draw();
    if cat_max_ratio < 1.0 {
        for _ in 0..REDRAWS {
            if is_varied(labels, place, cat_max_ratio) {
                break;
            }
            place = draw();
        }
    }
    place
}

/// Whether more than one class is in `place` and the largest share is below `cat_max_ratio`.
pub fn is_varied(labels: &LabelMap, place: Region, cat_max_ratio: f64) -> bool {
    let mut counts = [0u64; 256];
    for y in place.y..place.y + place.height {
        let start = y * labels.width + place.x;
        for &label in &labels.labels[start..start + place.width] {
            counts[usize::from(label)] += 1;
        }
    }
    counts[usize::from(IGNORE)] = 0;
    let classes = counts.iter().filter(|&&count| count > 0).count();
    let total: u64 = counts.iter().sum();
    let largest = counts.into_iter().max().unwrap_or(0);
    classes > 1 && (largest as f64 / total as f64) < cat_max_ratio
}

/// The labels in `place`.
pub fn cut_labels(labels: &LabelMap, place: Region) -> LabelMap {
    let row = |y: usize| {
        let start = y * labels.width + place.x;
        &labels.labels[start..start + place.width]
    };
    LabelMap {
        width: place.width,
        height: place.height,
        labels: (place.y..place.y + place.height)
            .flat_map(row)
            .copied()
            .collect(),
    }
}

/// Left becomes right.
pub fn flip(sample: &mut LabelledImage) {
    let LabelledImage { image, labels } = sample;
    if image.width == 0 {
        return;
    }
    for line in image.data.chunks_exact_mut(image.width * 3) {
        line.as_chunks_mut::<3>().0.reverse();
    }
    for line in labels.labels.chunks_exact_mut(labels.width) {
        line.reverse();
    }
}

/// At least `height` x `width`: black and [`IGNORE`] at the right and the bottom.
pub fn pad(sample: &LabelledImage, height: usize, width: usize) -> LabelledImage {
    let image = pad_image(&sample.image, height, width);
    let labels = &sample.labels;
    let mut padded = vec![IGNORE; image.width * image.height];
    let lines = padded.chunks_exact_mut(image.width.max(1));
    for (line, row) in lines.zip(labels.labels.chunks_exact(labels.width.max(1))) {
        line[..labels.width].copy_from_slice(row);
    }
    LabelledImage {
        labels: LabelMap {
            width: image.width,
            height: image.height,
            labels: padded,
        },
        image,
    }
}

/// At least `height` x `width`: black at the right and the bottom.
pub fn pad_image(image: &RgbImage, height: usize, width: usize) -> RgbImage {
    let mut out = RgbImage::black(width.max(image.width), height.max(image.height));
    for y in 0..image.height {
        let start = y * out.width * 3;
        out.data[start..start + image.width * 3].copy_from_slice(image.row(y));
    }
    out
}

/// Both sides rounded up to multiples of `divisor` (mmseg's `size_divisor`).
pub fn pad_to_multiple(image: &RgbImage, divisor: usize) -> RgbImage {
    let up = |side: usize| side.next_multiple_of(divisor.max(1));
    pad_image(image, up(image.height), up(image.width))
}
