//! Training on features computed once: images squashed to one size, no augmentation.

use super::features::SpatialFeatures;
use super::probe::{Probe, StateFile};
use super::recipe::Recipe;
use crate::data::Source;
use crate::data::image::RgbImage;
use crate::data::loader::{self, LoaderOptions};
use crate::data::resize::{Filter, resize};
use crate::data::segmentation::{LabelMap, PairSet};
use crate::data::transform::Transform;
use crate::runtime::{Runtime, interrupt, progress};
use crate::{Error, Result};
use std::sync::Arc;
use tch::{Kind, Tensor};

/// Images per forward pass.
const BATCH: usize = 32;
/// Features are held in memory; more than this needs a lower `train_limit`.
const MOST_BYTES: i64 = 8 << 30;

/// The train split, ready for the head.
pub struct Cached {
    /// [n,C,h,w] fp32, on the runtime's device
    features: Tensor,
    /// uint8 [n,size,size]
    labels: Tensor,
    /// Which samples of the split.
    pub indices: Vec<usize>,
}

/// At most `limit` indices of 0..n (0: all), spread evenly.
pub fn spread(n: usize, limit: usize) -> Vec<usize> {
    match limit {
        0 => (0..n).collect(),
        limit if limit >= n => (0..n).collect(),
        limit => (0..limit).map(|i| i * n / limit).collect(),
    }
}

/// Pillow's nearest neighbour on labels.
pub fn resize_labels(map: &LabelMap, width: usize, height: usize) -> Vec<u8> {
    let image = RgbImage {
        width: map.width,
        height: map.height,
        data: map.labels.iter().flat_map(|&l| [l, l, l]).collect(),
    };
    let resized = resize(&image, width, height, Filter::Nearest);
    resized.data.iter().step_by(3).copied().collect()
}

/// Computes the features of the train split, all at once in memory.
pub fn extract(
    features: &SpatialFeatures,
    train: &PairSet,
    recipe: &Recipe,
    runtime: &Runtime,
    show: bool,
) -> Result<Cached> {
    let indices = spread(train.len(), recipe.train_limit);
    let options = LoaderOptions {
        batch_size: BATCH,
        workers: runtime.workers,
        device: runtime.device,
        ..LoaderOptions::default()
    };
    let source: Arc<dyn Source> = Arc::new(train.clone());
    let side = recipe.crop() as usize;
    let bar = progress::bar(show, "features", "images", indices.len() as u64, 0);
    let mut store: Option<Tensor> = None;
    let mut row = 0;
    for batch in loader::load(source, indices.clone(), Transform::squash(side), options) {
        let map = features.map(&batch?.pixels)?;
        let (n, channels, rows, columns) = map.size4()?;
        let store = match &store {
            Some(store) => store,
            None => {
                let bytes = indices.len() as i64 * channels * rows * columns * 4;
                if bytes > MOST_BYTES {
                    return Err(Error::usage(format!(
                        "the cached features of {} images would take {} GiB; use --train-limit, or a preset with live features",
                        indices.len(),
                        bytes >> 30
                    )));
                }
                let shape = [indices.len() as i64, channels, rows, columns];
                store.insert(Tensor::f_empty(shape, (Kind::Float, runtime.device))?)
            }
        };
        store.f_narrow(0, row, n)?.f_copy_(&map)?;
        row += n;
        bar.inc(n as u64);
    }
    bar.finish_and_clear();
    let size = recipe.label_size as usize;
    let mut labels = Vec::with_capacity(indices.len() * size * size);
    for &index in &indices {
        interrupt::check()?;
        labels.extend(resize_labels(&train.labels(index)?, size, size));
    }
    let shape = [indices.len() as i64, size as i64, size as i64];
    Ok(Cached {
        features: store.ok_or_else(|| Error::model("the train split is empty"))?,
        labels: Tensor::f_from_slice(&labels)?
            .f_view(shape)?
            .f_to_device(runtime.device)?,
        indices,
    })
}

impl Cached {
    pub fn channels(&self) -> i64 {
        self.features.size()[1]
    }

    /// Trains one head. The order of images is that of the miniature world's protocol: the first
    /// `batch_size` of a fresh permutation in each iteration, from the generator that also drew
    /// the head's weights. A resumed run draws the permutations of the iterations it has behind
    /// it again, so that it sees what an uninterrupted one sees.
    pub fn train(
        &self,
        recipe: &Recipe,
        seed: u64,
        classes: i64,
        state: &StateFile,
        runtime: &Runtime,
        show: bool,
    ) -> Result<Probe> {
        let device = runtime.device;
        let mut probe = Probe::new(recipe, seed, self.channels(), classes, device)?;
        probe.resume(state, device)?;
        let n = self.features.size()[0];
        let batch = (recipe.batch_size as i64).min(n);
        let bar = progress::bar(
            show,
            &format!("seed {seed}"),
            "iterations",
            recipe.iterations,
            probe.iteration,
        );
        let done = probe.iteration;
        for iteration in 0..recipe.iterations {
            let order = Tensor::f_randperm(n, (Kind::Int64, tch::Device::Cpu))?;
            if iteration < done {
                continue;
            }
            if let Err(stop) = interrupt::check() {
                probe.save(state)?;
                return Err(stop);
            }
            let chosen = order.f_narrow(0, 0, batch)?.f_to_device(device)?;
            let features = self.features.f_index_select(0, &chosen)?;
            let labels = self.labels.f_index_select(0, &chosen)?;
            let seen = probe.step(recipe, &features, &labels)?;
            bar.set_message(format!(
                "seed {seed}, loss {:.3}, accuracy {:.1} %",
                seen.loss,
                100.0 * seen.accuracy
            ));
            bar.inc(1);
            if probe.iteration % recipe.checkpoint_every == 0
                || probe.iteration == recipe.iterations
            {
                probe.save(state)?;
            }
        }
        bar.finish_and_clear();
        Ok(probe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_shrink_as_pillows_nearest() {
        // Pillow takes the pixel under (x + 0.5) * 5 / 2: columns 1 and 3.
        let map = LabelMap {
            width: 5,
            height: 1,
            labels: vec![0, 1, 2, 3, 4],
        };
        assert_eq!(resize_labels(&map, 2, 1), [1, 3]);
        assert_eq!(spread(10, 4), [0, 2, 5, 7]);
        assert_eq!(spread(3, 0), [0, 1, 2]);
    }
}
