//! Test-time inference: from an image to one class per pixel of its own size.

use super::recipe::{Inference, Recipe};
use crate::Result;
use crate::heads::{LinearSegHead, upsample};
use crate::runtime::guard;
use crate::tasks::sliding::starts;
use crate::tasks::spatial::SpatialFeatures;
use tch::{Device, Kind, Tensor};

/// Windows per forward pass.
const WINDOWS: usize = 8;

/// Predictions of several heads: by image, by head, uint8 of the image's own size.
///
/// `pixels`: [B,3,h,w], images as the test pipeline resized them; `sizes`: (height, width) of
/// their labels.
pub fn predict(
    features: &SpatialFeatures,
    heads: &[&LinearSegHead],
    recipe: &Recipe,
    pixels: &Tensor,
    sizes: &[(i64, i64)],
) -> Result<Vec<Vec<Tensor>>> {
    let logits = match recipe.inference {
        Some(Inference::Slide) => slide(features, heads, recipe, pixels)?,
        Some(Inference::Whole) => whole(features, heads, pixels)?,
        _ => {
            let map = features.map(pixels)?;
            guard(|| Ok(heads.iter().map(|head| head.logits(&map)).collect()))?
        }
    };
    let classes = |image: usize, height: i64, width: i64| {
        let of_head = |logits: &Tensor| {
            upsample::argmax(&logits.select(0, image as i64), height, width).to_device(Device::Cpu)
        };
        logits.iter().map(of_head).collect()
    };
    guard(|| {
        let images = sizes.iter().enumerate();
        Ok(tch::no_grad(|| {
            images
                .map(|(i, &(height, width))| classes(i, height, width))
                .collect()
        }))
    })
}

/// Logits at the size of the padded input. Resizing them to the image's own size keeps the
/// padding in, as mmseg's pipeline of the RADIO config does (spec/radio.md §6).
fn whole(
    features: &SpatialFeatures,
    heads: &[&LinearSegHead],
    pixels: &Tensor,
) -> Result<Vec<Tensor>> {
    let (_, _, height, width) = pixels.size4()?;
    let (to_height, to_width) = (features.padded(height), features.padded(width));
    let padded = pad(pixels, to_height, to_width)?;
    let map = features.map(&padded)?;
    guard(|| {
        let enlarged = |head: &&LinearSegHead| {
            tch::no_grad(|| upsample::bilinear(&head.logits(&map), to_height, to_width))
        };
        Ok(heads.iter().map(enlarged).collect())
    })
}

/// [B,3,h,w] with black to the right and below.
pub fn pad(pixels: &Tensor, height: i64, width: i64) -> Result<Tensor> {
    let (_, _, h, w) = pixels.size4()?;
    Ok(pixels.f_constant_pad_nd([0, width - w, 0, height - h])?)
}

/// Logits at the size of the input, averaged over windows that overlap.
fn slide(
    features: &SpatialFeatures,
    heads: &[&LinearSegHead],
    recipe: &Recipe,
    pixels: &Tensor,
) -> Result<Vec<Tensor>> {
    let (batch, _, height, width) = pixels.size4()?;
    let crop = recipe.crop();
    let stride = recipe.stride.unwrap_or(crop);
    // A side shorter than the crop makes a smaller window; the network sees it padded.
    let (window_h, window_w) = (crop.min(height), crop.min(width));
    let fixed = features.model.backbone.info().fixed;
    let (net_h, net_w) = fixed.unwrap_or((features.padded(window_h), features.padded(window_w)));
    let places: Vec<(i64, i64)> = starts(height, crop, stride)
        .into_iter()
        .flat_map(|y| starts(width, crop, stride).into_iter().map(move |x| (y, x)))
        .collect();
    let options = (Kind::Float, pixels.device());
    let mut sums = Vec::new();
    for head in heads {
        sums.push(Tensor::f_zeros(
            [batch, head.classes(), height, width],
            options,
        )?);
    }
    let counts = Tensor::f_zeros([1, 1, height, width], options)?;
    for places in places.chunks(WINDOWS) {
        let mut windows = Vec::new();
        for &(y, x) in places {
            let window = pixels.f_narrow(2, y, window_h)?.f_narrow(3, x, window_w)?;
            windows.push(pad(&window, net_h, net_w)?);
        }
        let maps = features.map(&Tensor::f_cat(&windows, 0)?)?;
        guard(|| {
            tch::no_grad(|| {
                for (sum, head) in sums.iter().zip(heads) {
                    let small = head.logits(&maps);
                    for (i, &(y, x)) in places.iter().enumerate() {
                        let large = upsample::bilinear(
                            &small.narrow(0, i as i64 * batch, batch),
                            net_h,
                            net_w,
                        );
                        let inside = large.narrow(2, 0, window_h).narrow(3, 0, window_w);
                        let mut target = sum.narrow(2, y, window_h).narrow(3, x, window_w);
                        target += inside;
                    }
                }
                for &(y, x) in places {
                    let mut target = counts.narrow(2, y, window_h).narrow(3, x, window_w);
                    target += 1.0;
                }
            });
            Ok(())
        })?;
    }
    let mut averages = Vec::with_capacity(sums.len());
    for sum in sums {
        averages.push(sum.f_div(&counts)?);
    }
    Ok(averages)
}
