//! What mmsegmentation 1.2.1 does to images and label maps on their way to a linear probe
//! (spec/radio.md §6), with OpenCV's pixels.
//!
//! - `resize.rs`: `cv2.resize`, bilinear for images and nearest for labels; `RandomResize`, and
//!   the test-time resize by keep_ratio.
//! - `crop.rs`: `RandomCrop` with `cat_max_ratio`, flip, padding.
//! - `photometric.rs` and `hsv.rs`: `PhotoMetricDistortion`.
//!
//! [`TrainPipeline`] is the whole training pipeline; the parts are public for other recipes.

pub mod crop;
pub mod hsv;
pub mod photometric;
pub mod resize;

use super::annotation::LabelMap;
use super::image::RgbImage;
use super::rng::Rng;

/// An image and its labels, of one size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledImage {
    pub image: RgbImage,
    pub labels: LabelMap,
}

/// mmseg's training pipeline for ADE20k after loading; every part of it in its order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainPipeline {
    /// Scale of `RandomResize`: (long edge, short edge).
    pub scale: (usize, usize),
    /// The scale is multiplied by a number drawn from this range.
    pub ratio: (f64, f64),
    /// Height and width of the crop.
    pub crop: (usize, usize),
    /// A crop is drawn again while one class has at least this share of it.
    pub cat_max_ratio: f64,
    pub photometric: bool,
    /// Height and width that a sample is padded to, at the right and the bottom.
    pub pad: (usize, usize),
}

impl TrainPipeline {
    /// AM-RADIO's ADE20k recipe for square crops.
    pub fn ade20k(crop: usize, pad: usize) -> Self {
        TrainPipeline {
            scale: (2048, 512),
            ratio: (0.5, 2.0),
            crop: (crop, crop),
            cat_max_ratio: 0.75,
            photometric: true,
            pad: (pad, pad),
        }
    }

    /// The augmented sample; all randomness comes from `rng`.
    pub fn apply(&self, sample: &LabelledImage, rng: &mut Rng) -> LabelledImage {
        let ratio = rng.uniform(self.ratio.0, self.ratio.1);
        let scaled = |edge: usize| (edge as f64 * ratio) as usize;
        let scale = (scaled(self.scale.0), scaled(self.scale.1));
        let (height, width) = resize::keep_ratio(sample.image.height, sample.image.width, scale);
        let labels = resize::nearest(&sample.labels, width, height);
        let place = crop::choose(&labels, self.crop, self.cat_max_ratio, rng);
        // Only the part that is kept is resampled.
        let mut out = LabelledImage {
            image: resize::bilinear_window(&sample.image, width, height, place),
            labels: crop::cut_labels(&labels, place),
        };
        if rng.coin() {
            crop::flip(&mut out);
        }
        if self.photometric {
            photometric::Distortion::draw(rng).apply(&mut out.image);
        }
        crop::pad(&out, self.pad.0, self.pad.1)
    }
}
