//! Training on fresh crops: every iteration draws, augments and runs new images, as mmseg does.

use super::features::SpatialFeatures;
use super::probe::{Probe, StateFile};
use super::recipe::Recipe;
use crate::data::Source;
use crate::data::augment::{Mask, Sample, TrainPipeline};
use crate::data::decode::{Limits, decode};
use crate::data::image::RgbImage;
use crate::data::ordered::ordered;
use crate::data::pixels;
use crate::data::rng::Rng;
use crate::data::segmentation::PairSet;
use crate::runtime::{Runtime, interrupt, progress};
use crate::{Error, Result};
use std::time::Instant;
use tch::Tensor;

/// Streams of random numbers that a seed is split into.
const ORDER: u64 = 1;
const AUGMENTATION: u64 = 2;
/// Iterations between log lines.
const LOG_EVERY: u64 = 50;

/// Seconds by what they went into.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spent {
    /// Waiting for the data pipeline.
    pub data: f64,
    pub forward: f64,
    pub head: f64,
}

/// The images of iterations `first..end`, in order: one shuffled pass over the split after the
/// other (mmengine's `InfiniteSampler`). A function of the seed alone, so that a resumed run sees
/// the images that an uninterrupted one sees.
fn order(n: usize, batch: usize, first: u64, end: u64, seed: u64) -> Vec<u32> {
    let (first, end) = (first as usize * batch, end as usize * batch);
    let mut order = Vec::with_capacity(end - first);
    for pass in first / n..end.div_ceil(n) {
        let mut shuffled: Vec<u32> = (0..n as u32).collect();
        let mut rng = Rng::new(&[seed, ORDER, pass as u64]);
        for i in (1..n).rev() {
            shuffled.swap(i, rng.below(i + 1));
        }
        let from = first.saturating_sub(pass * n);
        let to = (end - pass * n).min(n);
        order.extend(&shuffled[from..to]);
    }
    order
}

/// What worker threads do.
struct TrainImages {
    set: PairSet,
    pipeline: TrainPipeline,
    /// Image of each sample.
    order: Vec<u32>,
    /// Number of the first sample within the run.
    first: u64,
    seed: u64,
}

impl TrainImages {
    fn sample(&self, item: usize) -> Result<Sample> {
        let index = self.order[item] as usize;
        let bad = |reason: String| Error::file(self.set.image_path(index), reason);
        let labels = self.set.labels(index)?;
        let image = decode(&self.set.read(index)?.bytes, &Limits::default()).map_err(bad)?;
        if (image.width, image.height) != (labels.width, labels.height) {
            return Err(bad(format!(
                "is {}x{}, but its mask is {}x{}",
                image.width, image.height, labels.width, labels.height
            )));
        }
        let sample = Sample {
            image,
            mask: Mask {
                width: labels.width,
                height: labels.height,
                data: labels.labels,
            },
        };
        let mut rng = Rng::new(&[self.seed, AUGMENTATION, self.first + item as u64]);
        Ok(self.pipeline.apply(&sample, &mut rng))
    }
}

/// Trains one head; goes on from `state` if it is of this run.
pub fn train(
    features: &SpatialFeatures,
    set: &PairSet,
    recipe: &Recipe,
    seed: u64,
    state: &StateFile,
    runtime: &Runtime,
    show: bool,
) -> Result<(Probe, Spent)> {
    let device = runtime.device;
    let crop = recipe.crop() as usize;
    let padded = features.padded(recipe.crop());
    let classes = set.rule().classes.len() as i64;
    let channels = features.channels(padded, device)?;
    let mut probe = Probe::new(recipe, seed, channels, classes, device)?;
    probe.resume(state, device)?;
    let (first, batch) = (probe.iteration, recipe.batch_size);
    let images = TrainImages {
        set: set.clone(),
        pipeline: TrainPipeline {
            scale: recipe.scale.into(),
            ratio: recipe.ratio.into(),
            crop: (crop, crop),
            cat_max_ratio: recipe.cat_max_ratio,
            photometric: recipe.photometric,
            pad: (padded as usize, padded as usize),
        },
        order: order(set.len(), batch, first, recipe.iterations, seed),
        first: first * batch as u64,
        seed,
    };
    let count = images.order.len();
    let mut samples = ordered(count, runtime.workers, 2 * batch, move |i| images.sample(i));
    let label = format!("seed {seed}");
    let bar = progress::bar(show, &label, "iterations", recipe.iterations, first);
    let mut spent = Spent::default();
    while probe.iteration < recipe.iterations {
        if let Err(stop) = interrupt::check() {
            probe.save(state)?;
            return Err(stop);
        }
        let started = Instant::now();
        let mut group = Vec::with_capacity(batch);
        for sample in samples.by_ref().take(batch) {
            group.push(sample?);
        }
        if group.len() < batch {
            return Err(Error::file(
                set.describe(),
                "a loader thread ended unexpectedly",
            ));
        }
        let (pixels, labels) = collate(group, padded)?;
        let (pixels, labels) = (pixels.f_to_device(device)?, labels.f_to_device(device)?);
        let loaded = Instant::now();
        let map = features.map(&pixels)?;
        let forwarded = Instant::now();
        let seen = probe.step(recipe, &map, &labels)?;
        spent.data += (loaded - started).as_secs_f64();
        spent.forward += (forwarded - loaded).as_secs_f64();
        spent.head += forwarded.elapsed().as_secs_f64();
        let told = format!(
            "{label}, loss {:.3}, accuracy {:.1} %",
            seen.loss,
            100.0 * seen.accuracy
        );
        if probe.iteration % LOG_EVERY == 0 {
            tracing::debug!("iteration {}: {told}", probe.iteration);
        }
        bar.set_message(told);
        bar.inc(1);
        if probe.iteration % recipe.checkpoint_every == 0 || probe.iteration == recipe.iterations {
            probe.save(state)?;
        }
    }
    bar.finish_and_clear();
    Ok((probe, spent))
}

/// Pixels [B,3,side,side] in [0,1] and labels uint8 [B,side,side].
fn collate(samples: Vec<Sample>, side: i64) -> Result<(Tensor, Tensor)> {
    let batch = samples.len() as i64;
    let mut labels = Vec::with_capacity((batch * side * side) as usize);
    let mut images: Vec<RgbImage> = Vec::with_capacity(samples.len());
    for sample in samples {
        labels.extend(sample.mask.data);
        images.push(sample.image);
    }
    let labels = Tensor::f_from_slice(&labels)?.f_view([batch, side, side])?;
    Ok((pixels::to_float(&images), labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pass_shuffles_all_images_and_a_resumed_run_goes_on() {
        let whole = order(5, 2, 0, 10, 3);
        assert_eq!(whole.len(), 20);
        for pass in whole.chunks(5) {
            let mut sorted = pass.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4]);
        }
        assert_ne!(whole[..5], whole[5..10]);
        assert_eq!(order(5, 2, 4, 10, 3), whole[8..]);
        assert_ne!(order(5, 2, 0, 10, 4), whole);
    }
}
