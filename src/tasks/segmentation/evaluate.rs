//! The val split through the network and the heads, into confusion matrices.

use super::batches;
use super::infer;
use super::recipe::{Inference, Recipe};
use crate::Result;
use crate::data::Source;
use crate::data::segmentation::{IGNORE, PairSet, WIDE_IGNORE};
use crate::heads::LinearSegHead;
use crate::metrics::segmentation::{Confusion, ImageAreas};
use crate::runtime::{Runtime, progress};
use crate::tasks::pictures::Predictions;
use crate::tasks::spatial::SpatialFeatures;
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
    let batches = batches::testing(val, recipe, batch, runtime);
    let bar = progress::bar(show, "evaluation", "images", val.len() as u64, 0);
    for batch in batches {
        let batch = batch?;
        let maps = batches::label_maps(&batch.annotations)?;
        let sizes: Vec<(i64, i64)> = maps
            .iter()
            .map(|map| (map.height as i64, map.width as i64))
            .collect();
        let predicted = infer::predict(features, heads, recipe, &batch.pixels, &sizes)?;
        for ((index, map), of_heads) in batch.indices.iter().zip(&maps).zip(&predicted) {
            for (result, prediction) in results.iter_mut().zip(of_heads) {
                let prediction = bytes(prediction)?;
                let mut one = Confusion::new(classes);
                one.add(&map.labels, &prediction);
                result.images.push(ImageAreas::from_confusion(&one));
                result.confusion.merge(&one);
            }
            if let (Some(predictions), Some(first)) = (predictions, of_heads.first()) {
                let (labels, first) = (wide(&map.labels), wide(&bytes(first)?));
                predictions.save(val, *index, &labels, &first)?;
            }
        }
        bar.inc(maps.len() as u64);
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

fn wide(labels: &[u8]) -> Vec<u16> {
    let wide = |&label: &u8| match label {
        IGNORE => WIDE_IGNORE,
        label => u16::from(label),
    };
    labels.iter().map(wide).collect()
}
