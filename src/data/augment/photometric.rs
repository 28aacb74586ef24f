//! mmseg's `PhotoMetricDistortion`: brightness, contrast, saturation and hue, each applied with
//! probability one half, on bytes that are truncated after every step.

use super::hsv;
use crate::data::image::RgbImage;
use crate::rng::Rng;

/// Largest change of brightness, in grey levels.
const BRIGHTNESS: f64 = 32.0;
/// Range of the factors of contrast and saturation.
const FACTOR: (f64, f64) = (0.5, 1.5);
/// Hue moves by `-HUE .. HUE`, of 180.
const HUE: usize = 18;

/// What one image gets; `None` where the coin left a step out.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Distortion {
    pub brightness: Option<f64>,
    pub contrast: Option<f64>,
    /// Whether contrast comes before saturation and hue, or after them.
    pub contrast_first: bool,
    pub saturation: Option<f64>,
    pub hue: Option<i32>,
}

impl Distortion {
    /// Draws a distortion with mmseg's probabilities.
    pub fn draw(rng: &mut Rng) -> Self {
        let mut factor = |low: f64, high: f64| rng.coin().then(|| rng.uniform(low, high));
        Distortion {
            brightness: factor(-BRIGHTNESS, BRIGHTNESS),
            contrast: factor(FACTOR.0, FACTOR.1),
            saturation: factor(FACTOR.0, FACTOR.1),
            contrast_first: rng.coin(),
            hue: rng.coin().then(|| rng.below(2 * HUE) as i32 - HUE as i32),
        }
    }

    /// Distorts the image in place.
    pub fn apply(&self, image: &mut RgbImage) {
        if let Some(delta) = self.brightness {
            levels(image, &table(1.0, delta));
        }
        if self.contrast_first {
            self.apply_contrast(image);
        }
        if let Some(factor) = self.saturation {
            let table = table(factor, 0.0);
            in_hsv(image, |[h, s, v]| [h, table[usize::from(s)], v]);
        }
        if let Some(shift) = self.hue {
            let turn = |h: u8| (i32::from(h) + shift).rem_euclid(180) as u8;
            in_hsv(image, |[h, s, v]| [turn(h), s, v]);
        }
        if !self.contrast_first {
            self.apply_contrast(image);
        }
    }

    fn apply_contrast(&self, image: &mut RgbImage) {
        if let Some(factor) = self.contrast {
            levels(image, &table(factor, 0.0));
        }
    }
}

/// mmseg's `convert`: `x * alpha + beta` in fp32, clipped and truncated, for every byte.
fn table(alpha: f64, beta: f64) -> [u8; 256] {
    let (alpha, beta) = (alpha as f32, beta as f32);
    std::array::from_fn(|x| (x as f32 * alpha + beta).clamp(0.0, 255.0) as u8)
}

fn levels(image: &mut RgbImage, table: &[u8; 256]) {
    for value in &mut image.data {
        *value = table[usize::from(*value)];
    }
}

/// One step in HSV; each converts there and back on its own, as mmseg does.
fn in_hsv(image: &mut RgbImage, change: impl Fn([u8; 3]) -> [u8; 3]) {
    for pixel in image.data.as_chunks_mut::<3>().0 {
        *pixel = hsv::to_rgb(change(hsv::from_rgb(*pixel)));
    }
}
