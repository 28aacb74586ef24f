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
use super::transform::Placement;
use crate::rng::Rng;

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

    /// The augmented sample and where its image went; all randomness comes from `rng`.
    ///
    /// # Errors
    /// A sentence where the scale that was drawn makes the image exceed the pixel limit.
    pub fn apply(
        &self,
        sample: &LabelledImage,
        rng: &mut Rng,
    ) -> Result<(LabelledImage, Placement), String> {
        let ratio = rng.uniform(self.ratio.0, self.ratio.1);
        let scaled = |edge: usize| (edge as f64 * ratio) as usize;
        let scale = (scaled(self.scale.0), scaled(self.scale.1));
        let original = (sample.image.height, sample.image.width);
        let (height, width) = resize::keep_ratio(original.0, original.1, scale)?;
        let labels = resize::nearest(&sample.labels, width, height);
        let place = crop::choose(&labels, self.crop, self.cat_max_ratio, rng);
        // Only the part that is kept is resampled.
        let mut out = LabelledImage {
            image: resize::bilinear_window(&sample.image, width, height, place),
            labels: crop::cut_labels(&labels, place),
        };
        let mut placement = Placement::cut(
            original,
            (height, width),
            (place.height, place.width),
            (place.y as i64, place.x as i64),
        );
        if rng.coin() {
            crop::flip(&mut out);
            placement = placement.mirrored();
        }
        if self.photometric {
            photometric::Distortion::draw(rng).apply(&mut out.image);
        }
        let (pad_height, pad_width) = self.pad;
        Ok((
            crop::pad(&out, pad_height, pad_width),
            placement.padded(pad_height, pad_width),
        ))
    }
}
