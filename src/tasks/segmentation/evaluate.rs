//! The val split through the network and the heads, into confusion matrices.

use super::features::SpatialFeatures;
use super::infer;
use super::output::Predictions;
use super::recipe::{Inference, Recipe};
use crate::data::image::RgbImage;
use crate::data::ordered::ordered;
use crate::data::pixels;
use crate::data::segmentation::{LabelMap, PairSet};
use crate::data::transform::Transform;
use crate::data::{Source, augment};
use crate::heads::LinearSegHead;
use crate::metrics::segmentation::{Confusion, ImageAreas};
use crate::runtime::{Runtime, interrupt, progress};
use crate::{Error, Result};
use std::time::Instant;
use tch::Tensor;

/// Squashed images per forward pass.
const BATCH: usize = 16;

/// What a head predicted, counted.
pub struct Evaluated {
    pub confusion: Confusion,
    /// Per image, for the interval.
    pub images: Vec<ImageAreas>,
}

/// One result per head, and the seconds it took.
pub fn evaluate(
    features: &SpatialFeatures,
    heads: &[&LinearSegHead],
    recipe: &Recipe,
    val: &PairSet,
    runtime: &Runtime,
    predictions: Option<&Predictions>,
    show: bool,
) -> Result<(Vec<Evaluated>, f64)> {
    let started = Instant::now();
    let classes = val.rule().classes.len();
    let mut results: Vec<Evaluated> = heads
        .iter()
        .map(|_| Evaluated {
            confusion: Confusion::new(classes),
            images: Vec::with_capacity(val.len()),
        })
        .collect();
    let batch = match recipe.inference {
        Some(Inference::Squash) => BATCH,
        _ => 1,
    };
    let test = TestImages {
        set: val.clone(),
        recipe: recipe.clone(),
    };
    let mut samples = ordered(
        val.len(),
        runtime.workers,
        2 * batch.max(runtime.workers),
        move |i| test.sample(i),
    );
    let bar = progress::bar(show, "evaluation", "images", val.len() as u64, 0);
    let mut done = 0;
    while done < val.len() {
        interrupt::check()?;
        let mut group = Vec::with_capacity(batch);
        for sample in samples.by_ref().take(batch) {
            group.push(sample?);
        }
        if group.is_empty() {
            return Err(Error::file(
                val.describe(),
                "a loader thread ended unexpectedly",
            ));
        }
        let images: Vec<RgbImage> = group.iter().map(|s| s.pixels.clone()).collect();
        let input = pixels::place(pixels::stage(&images, runtime.device)?, runtime.device)?;
        let sizes: Vec<(i64, i64)> = group
            .iter()
            .map(|s| (s.labels.height as i64, s.labels.width as i64))
            .collect();
        let predicted = infer::predict(features, heads, recipe, &input, &sizes)?;
        for (i, (sample, of_heads)) in group.iter().zip(&predicted).enumerate() {
            for (result, prediction) in results.iter_mut().zip(of_heads) {
                let prediction = bytes(prediction)?;
                let mut one = Confusion::new(classes);
                one.add(&sample.labels.labels, &prediction);
                result.images.push(ImageAreas::of(&one));
                result.confusion.merge(&one);
            }
            if let (Some(predictions), Some(first)) = (predictions, of_heads.first()) {
                predictions.save(val, done + i, &sample.labels, &bytes(first)?)?;
            }
        }
        done += group.len();
        bar.inc(group.len() as u64);
    }
    bar.finish_and_clear();
    Ok((results, started.elapsed().as_secs_f64()))
}

fn bytes(prediction: &Tensor) -> Result<Vec<u8>> {
    let mut bytes = vec![0; prediction.numel()];
    prediction
        .f_contiguous()?
        .f_copy_data_u8(&mut bytes, prediction.numel())?;
    Ok(bytes)
}

struct TestSample {
    pixels: RgbImage,
    labels: LabelMap,
}

/// The test pipeline, run by worker threads.
struct TestImages {
    set: PairSet,
    recipe: Recipe,
}

impl TestImages {
    fn sample(&self, index: usize) -> Result<TestSample> {
        let (image, labels) = self.set.pair(index)?;
        let pixels = match self.recipe.inference {
            Some(Inference::Whole | Inference::Slide) => {
                augment::resize::test_time(&image, self.recipe.test_scale.into())
            }
            _ => {
                let squash = Transform::squash(self.recipe.crop() as usize);
                squash
                    .apply(&image)
                    .map_err(|reason| Error::file(self.set.image_path(index), reason))?
            }
        };
        Ok(TestSample { pixels, labels })
    }
}
