//! Batches of images with a label for every pixel, for training and evaluation.

use super::recipe::{Inference, Recipe};
use crate::data::Source;
use crate::data::annotation::{Annotation, LabelMap};
use crate::data::augment::{LabelledImage, TrainPipeline, resize};
use crate::data::order::ShuffledPasses;
use crate::data::pipeline::{self, Pipeline, Prepare, Prepared, Unusable};
use crate::data::segmentation::PairSet;
use crate::data::transform::{Placement, Transform};
use crate::rng::Rng;
use crate::runtime::Runtime;
use crate::{Error, Result};
use tch::Tensor;

/// The stream of random numbers, out of a seed's, that augments; see also [`super::order`].
const AUGMENTATION: u64 = 2;

/// Every image as the pipeline wants it: nothing unreadable is left out, padding is black.
fn options(batch_size: usize, runtime: &Runtime) -> pipeline::Options {
    pipeline::Options {
        batch_size,
        workers: runtime.workers,
        skip_bad: 0,
        device: runtime.device,
        padding: [0.0; 3],
    }
}

/// Augmented images of the iterations from `first` on, padded to `side`; one batch per iteration.
pub fn training(
    set: &PairSet,
    recipe: &Recipe,
    seed: u64,
    first: u64,
    side: i64,
    runtime: &Runtime,
) -> Pipeline {
    let (crop, side, batch) = (recipe.crop() as usize, side as usize, recipe.batch_size);
    let images = TrainImages {
        set: set.clone(),
        augment: TrainPipeline {
            scale: recipe.scale.into(),
            ratio: recipe.ratio.into(),
            crop: (crop, crop),
            cat_max_ratio: recipe.cat_max_ratio,
            photometric: recipe.photometric,
            pad: (side, side),
        },
        order: ShuffledPasses::new(set.len(), seed),
        seed,
    };
    let position = |iteration: u64| (iteration as usize).saturating_mul(batch);
    let positions = position(first)..position(recipe.iterations);
    pipeline::start(images, positions, options(batch, runtime))
}

/// Images `indices` squashed to `side`, and their labels to `label_side`.
pub fn squashed(
    set: &PairSet,
    indices: &[usize],
    (side, label_side): (usize, usize),
    batch_size: usize,
    runtime: &Runtime,
) -> Pipeline {
    let images = SquashedImages {
        set: set.clone(),
        indices: indices.to_vec(),
        image: Transform::squash(side),
        labels: Transform::squash(label_side),
    };
    pipeline::start(images, 0..indices.len(), options(batch_size, runtime))
}

/// All images as the test pipeline resizes them, with labels of the image's own size.
pub fn testing(set: &PairSet, recipe: &Recipe, batch_size: usize, runtime: &Runtime) -> Pipeline {
    let images = TestImages {
        set: set.clone(),
        inference: recipe.inference,
        squash: Transform::squash(recipe.crop() as usize),
        scale: recipe.test_scale.into(),
    };
    pipeline::start(images, 0..set.len(), options(batch_size, runtime))
}

/// The label maps of a batch.
pub fn label_maps(annotations: &[Annotation]) -> Result<Vec<&LabelMap>> {
    annotations
        .iter()
        .map(|annotation| match annotation {
            Annotation::Mask(map) => Ok(map),
            other => Err(Error::model(format!(
                "a batch for segmentation carries {other:?} instead of a mask"
            ))),
        })
        .collect()
}

/// Label maps of one size as uint8 [b,H,W], on the CPU.
pub fn label_tensor(annotations: &[Annotation]) -> Result<Tensor> {
    let maps = label_maps(annotations)?;
    let (height, width) = maps.first().map_or((0, 0), |map| (map.height, map.width));
    let labels: Vec<&[u8]> = maps.iter().map(|map| map.labels.as_slice()).collect();
    let shape = [maps.len() as i64, height as i64, width as i64];
    Ok(Tensor::f_from_slice(&labels.concat())?.f_view(shape)?)
}

/// An error about image `index`, from a sentence without its name.
fn about(set: &PairSet, index: usize) -> impl Fn(String) -> Unusable {
    let path = set.image_path(index);
    move |reason| Error::file(&path, reason).into()
}

struct TrainImages {
    set: PairSet,
    augment: TrainPipeline,
    order: ShuffledPasses,
    seed: u64,
}

impl Prepare for TrainImages {
    fn describe(&self) -> String {
        self.set.describe()
    }

    fn index(&self, position: usize) -> usize {
        self.order.image(position)
    }

    fn key(&self, index: usize) -> String {
        self.set.key(index).to_string()
    }

    fn prepare(&self, position: usize, index: usize) -> Result<Prepared, Unusable> {
        let (image, labels) = self.set.pair(index)?;
        let mut rng = Rng::new(&[self.seed, AUGMENTATION, position as u64]);
        let (augmented, placement) = self
            .augment
            .apply(&LabelledImage { image, labels }, &mut rng)
            .map_err(about(&self.set, index))?;
        Ok(Prepared {
            image: augmented.image,
            annotation: Annotation::Mask(augmented.labels),
            placement,
        })
    }
}

struct SquashedImages {
    set: PairSet,
    indices: Vec<usize>,
    image: Transform,
    labels: Transform,
}

impl Prepare for SquashedImages {
    fn describe(&self) -> String {
        self.set.describe()
    }

    fn index(&self, position: usize) -> usize {
        self.indices[position]
    }

    fn key(&self, index: usize) -> String {
        self.set.key(index).to_string()
    }

    fn prepare(&self, _position: usize, index: usize) -> Result<Prepared, Unusable> {
        let (image, labels) = self.set.pair(index)?;
        let failed = about(&self.set, index);
        let placement = self.image.placement(image.height, image.width);
        Ok(Prepared {
            placement: placement.map_err(&failed)?,
            image: self.image.apply(&image).map_err(&failed)?,
            annotation: Annotation::Mask(self.labels.apply_labels(&labels).map_err(&failed)?),
        })
    }
}

struct TestImages {
    set: PairSet,
    inference: Option<Inference>,
    squash: Transform,
    /// Long and short edge.
    scale: (usize, usize),
}

impl Prepare for TestImages {
    fn describe(&self) -> String {
        self.set.describe()
    }

    fn index(&self, position: usize) -> usize {
        position
    }

    fn key(&self, index: usize) -> String {
        self.set.key(index).to_string()
    }

    fn prepare(&self, _position: usize, index: usize) -> Result<Prepared, Unusable> {
        let (image, labels) = self.set.pair(index)?;
        let original = (image.height, image.width);
        let resized = match self.inference {
            Some(Inference::Whole | Inference::Slide) => resize::test_time(&image, self.scale),
            _ => self.squash.apply(&image),
        };
        let image = resized.map_err(about(&self.set, index))?;
        Ok(Prepared {
            placement: Placement::resized(original, (image.height, image.width)),
            image,
            annotation: Annotation::Mask(labels),
        })
    }
}
