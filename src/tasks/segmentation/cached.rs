//! Training on features computed once: images squashed to one size, no augmentation.

use super::batches;
use super::course::{Course, Run};
use crate::tasks::spatial::SpatialFeatures;
use super::recipe::Recipe;
use crate::data::Source;
use crate::data::segmentation::PairSet;
use crate::data::subset::evenly_spread;
use crate::runtime::device::upload;
use crate::runtime::{Runtime, progress};
use crate::{Error, Result};
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

/// The samples that a recipe uses of a train split of `images`.
pub fn indices(recipe: &Recipe, images: usize) -> Vec<usize> {
    let limit = (recipe.train_limit > 0).then_some(recipe.train_limit);
    evenly_spread(images, limit)
}

/// Computes the features of the train split, all at once in memory.
pub fn extract(
    features: &SpatialFeatures,
    train: &PairSet,
    recipe: &Recipe,
    runtime: &Runtime,
    show: bool,
) -> Result<Cached> {
    let indices = indices(recipe, train.len());
    let (side, size) = (recipe.crop() as usize, recipe.label_size as usize);
    let label_bytes = (size as u64).pow(2).saturating_mul(indices.len() as u64);
    if label_bytes > MOST_BYTES as u64 {
        return Err(Error::usage(format!(
            "the labels of {} images at {size}x{size} would take {} GiB; use a smaller --label-size, or --train-limit",
            indices.len(),
            label_bytes >> 30
        )));
    }
    let batches = batches::squashed(train, &indices, (side, size), BATCH, runtime);
    let bar = progress::bar(show, "features", "images", indices.len() as u64, 0);
    let mut store: Option<Tensor> = None;
    let mut labels = Vec::with_capacity(indices.len().div_ceil(BATCH));
    let mut row = 0;
    for batch in batches {
        let batch = batch?;
        labels.push(batches::label_tensor(&batch.annotations)?);
        let map = features.map(&batch.pixels)?;
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
    Ok(Cached {
        features: store.ok_or_else(|| Error::model("the train split is empty"))?,
        labels: Tensor::f_cat(&labels, 0)?.f_to_device(runtime.device)?,
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
    pub fn train<'a>(&self, run: &'a Run<'a>) -> Result<Course<'a>> {
        let mut course = Course::begin(run, self.channels())?;
        let device = run.runtime.device;
        let n = self.features.size()[0];
        let batch = (run.recipe.batch_size as i64).min(n);
        let done = course.iteration();
        for iteration in 0..run.recipe.iterations {
            let order = Tensor::f_randperm(n, (Kind::Int64, tch::Device::Cpu))?;
            if iteration < done {
                continue;
            }
            course.check_interrupt()?;
            let chosen = upload(order.f_narrow(0, 0, batch)?, device)?;
            let features = self.features.f_index_select(0, &chosen)?;
            let labels = self.labels.f_index_select(0, &chosen)?;
            course.step(&features, &labels)?;
        }
        Ok(course)
    }
}
