//! Training on features computed once: images squashed to one size, no augmentation.

use super::course::{Course, Run};
use super::features::SpatialFeatures;
use super::recipe::Recipe;
use crate::data::Source;
use crate::data::image::RgbImage;
use crate::data::ordered::ordered;
use crate::data::pixels;
use crate::data::resize::{Filter, resize};
use crate::data::segmentation::{LabelMap, PairSet};
use crate::data::transform::Transform;
use crate::runtime::device::upload;
use crate::runtime::{Runtime, interrupt, progress};
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

/// An image squashed to `side`, and its labels at `label_size`.
fn prepare(
    train: &PairSet,
    index: usize,
    side: usize,
    label_size: usize,
) -> Result<(RgbImage, Vec<u8>)> {
    let (image, labels) = train.pair(index)?;
    let image = Transform::squash(side)
        .apply(&image)
        .map_err(|reason| Error::file(train.image_path(index), reason))?;
    Ok((image, resize_labels(&labels, label_size, label_size)))
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
    let (side, size) = (recipe.crop() as usize, recipe.label_size as usize);
    let (set, chosen) = (train.clone(), indices.clone());
    let mut samples = ordered(indices.len(), runtime.workers, 2 * BATCH, move |i| {
        prepare(&set, chosen[i], side, size)
    });
    let bar = progress::bar(show, "features", "images", indices.len() as u64, 0);
    let mut store: Option<Tensor> = None;
    let mut labels = Vec::with_capacity(indices.len() * size * size);
    let mut row = 0;
    for group in indices.chunks(BATCH) {
        interrupt::check()?;
        let mut images = Vec::with_capacity(group.len());
        for sample in samples.by_ref().take(group.len()) {
            let (image, of_image) = sample?;
            images.push(image);
            labels.extend(of_image);
        }
        if images.len() < group.len() {
            return Err(Error::file(
                train.describe(),
                "a loader thread ended unexpectedly",
            ));
        }
        let pixels = pixels::place(pixels::stage(&images, runtime.device)?, runtime.device)?;
        let map = features.map(&pixels)?;
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
