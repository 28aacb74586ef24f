//! Random scale and crop and flip, the same for the student and its teachers.

use crate::data::image::{Cutout, Region, RgbImage};
use crate::data::resize::{Filter, resize};
use crate::distill::config::AugmentConfig;
use crate::rng::Rng;

/// Crops drawn before the largest that fits is taken (torchvision's `RandomResizedCrop`).
const ATTEMPTS: usize = 10;

/// A size at which a picture is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    pub height: usize,
    pub width: usize,
}

impl View {
    pub fn new((height, width): (i64, i64)) -> Self {
        View {
            height: height as usize,
            width: width as usize,
        }
    }

    /// The crop at this size, bicubic as Pillow.
    pub fn show(self, crop: &RgbImage) -> RgbImage {
        resize(crop, self.width, self.height, Filter::Bicubic)
    }
}

/// What is taken of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crop {
    pub region: Region,
    flipped: bool,
}

impl Crop {
    /// A crop of a picture of (height, width) for a student that sees `view`: area and aspect
    /// ratio drawn as torchvision's `RandomResizedCrop` draws them.
    pub fn draw(
        config: &AugmentConfig,
        (height, width): (usize, usize),
        view: View,
        rng: &mut Rng,
    ) -> Self {
        let shape = view.width as f64 / view.height as f64;
        let area = (height * width) as f64;
        let (low, high) = (config.ratio.0.ln(), config.ratio.1.ln());
        let drawn = (0..ATTEMPTS).find_map(|_| {
            let wanted = area * rng.uniform(config.scale.0, config.scale.1);
            let ratio = shape * rng.uniform(low, high).exp();
            let w = (wanted * ratio).sqrt().round() as usize;
            let h = (wanted / ratio).sqrt().round() as usize;
            let fits = (1..=width).contains(&w) && (1..=height).contains(&h);
            fits.then(|| Region {
                x: rng.below(width - w + 1),
                y: rng.below(height - h + 1),
                width: w,
                height: h,
            })
        });
        let region = drawn.unwrap_or_else(|| largest((height, width), shape));
        Crop {
            region,
            flipped: rng.uniform(0.0, 1.0) < config.flip,
        }
    }

    /// The pixels, of a part that holds them.
    pub fn cut(&self, part: &Cutout) -> RgbImage {
        let Region {
            x,
            y,
            width,
            height,
        } = self.region;
        let mut out = RgbImage::black(width, height);
        let (left, top) = (x - part.x, y - part.y);
        for (line, row) in out.data.chunks_exact_mut(width * 3).zip(top..) {
            line.copy_from_slice(&part.pixels.row(row)[left * 3..(left + width) * 3]);
            if self.flipped {
                line.as_chunks_mut::<3>().0.reverse();
            }
        }
        out
    }
}

/// The largest centred crop of width : height `shape`.
fn largest((height, width): (usize, usize), shape: f64) -> Region {
    let w = ((height as f64 * shape).round() as usize).clamp(1, width);
    let h = ((width as f64 / shape).round() as usize).clamp(1, height);
    Region {
        x: (width - w) / 2,
        y: (height - h) / 2,
        width: w,
        height: h,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crops_lie_inside_and_cover_what_was_asked() {
        let config = AugmentConfig {
            scale: (0.25, 1.0),
            ..AugmentConfig::default()
        };
        let view = View {
            height: 64,
            width: 64,
        };
        for seed in 0..500 {
            let (height, width) = (40 + seed as usize % 50, 97);
            let region = Crop::draw(&config, (height, width), view, &mut Rng::new(&[seed])).region;
            assert!(region.x + region.width <= width && region.y + region.height <= height);
            let share = (region.width * region.height) as f64 / (width * height) as f64;
            assert!(share > 0.2, "{share}");
            let ratio = region.width as f64 / region.height as f64;
            assert!((0.7..1.43).contains(&ratio), "{ratio}");
        }
    }

    #[test]
    fn a_crop_is_cut_and_flipped() {
        let image = RgbImage {
            width: 3,
            height: 1,
            data: (0..9).collect(),
        };
        let crop = |flipped| Crop {
            region: Region {
                x: 1,
                y: 0,
                width: 2,
                height: 1,
            },
            flipped,
        };
        assert_eq!(crop(false).cut(&(&image).into()).data, [3, 4, 5, 6, 7, 8]);
        assert_eq!(crop(true).cut(&(&image).into()).data, [6, 7, 8, 3, 4, 5]);
    }
}
