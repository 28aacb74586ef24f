//! Batches of pictures and their objects, for training and evaluation.

use super::jitter::{Jitter, placed};
use super::recipe::Recipe;
use crate::data::Source;
use crate::data::annotation::{Annotation, Instance, InstanceShape};
use crate::data::coco::{CocoSet, mask};
use crate::data::decode::{Limits, decode};
use crate::data::image::RgbImage;
use crate::data::order::ShuffledPasses;
use crate::data::pipeline::{self, Pipeline, Prepare, Prepared, Unusable};
use crate::data::transform::Transform;
use crate::heads::detection::Target;
use crate::rng::Rng;
use crate::runtime::Runtime;
use crate::runtime::device::upload;
use crate::{Error, Result};
use std::collections::HashMap;
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// The stream of random numbers, out of a seed's, that jitters; see also [`crate::data::order`].
const JITTER: u64 = 2;

/// How pictures come to the backbone.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    /// Side of what the backbone sees.
    pub side: usize,
    /// Side of the detector's input.
    pub resolution: usize,
    /// Colour of what is no picture.
    pub padding: [f64; 3],
}

impl Frame {
    /// Pixels of the detector's input per pixel of what the backbone sees.
    pub fn enlarged(&self) -> f64 {
        self.resolution as f64 / self.side as f64
    }
}

fn options(batch_size: usize, frame: Frame, runtime: &Runtime) -> pipeline::Options {
    pipeline::Options {
        batch_size,
        workers: runtime.workers,
        skip_bad: 0,
        device: runtime.device,
        padding: frame.padding,
    }
}

/// Jittered pictures out of `images` for the iterations from `first` to `last`, annotated with
/// objects in pixels of the detector's input.
pub fn training(
    set: &Arc<CocoSet>,
    images: &[usize],
    recipe: &Recipe,
    frame: Frame,
    (first, last): (u64, u64),
    runtime: &Runtime,
) -> Pipeline {
    let jitter = Jitter {
        side: frame.side,
        scales: recipe.jitter,
    };
    let prepare = TrainImages {
        set: Arc::clone(set),
        images: images.to_vec(),
        order: ShuffledPasses::new(images.len(), recipe.seed),
        jitter,
        frame,
        seed: recipe.seed,
    };
    let position = |iteration: u64| (iteration as usize).saturating_mul(recipe.batch_size);
    let positions = position(first)..position(last);
    pipeline::start(
        prepare,
        positions,
        options(recipe.batch_size, frame, runtime),
    )
}

/// All pictures, their long side as long as the frame, padded at the right and the bottom.
pub fn testing(set: &Arc<CocoSet>, batch: usize, frame: Frame, runtime: &Runtime) -> Pipeline {
    let prepare = TestImages {
        set: Arc::clone(set),
        transform: test_transform(frame),
    };
    pipeline::start(prepare, 0..set.len(), options(batch, frame, runtime))
}

pub fn test_transform(frame: Frame) -> Transform {
    Transform::sam_padded(frame.side)
}

fn image(set: &CocoSet, index: usize) -> Result<RgbImage, Unusable> {
    decode(&set.read(index)?, &Limits::default()).map_err(Unusable::Unreadable)
}

/// An error about image `index`, from a sentence without its name.
fn about(set: &CocoSet, index: usize) -> impl Fn(String) -> Unusable {
    let path = set.image_path(index);
    move |reason| Error::file(&path, reason).into()
}

struct TrainImages {
    set: Arc<CocoSet>,
    /// Those with objects.
    images: Vec<usize>,
    order: ShuffledPasses,
    jitter: Jitter,
    frame: Frame,
    seed: u64,
}

impl Prepare for TrainImages {
    fn describe(&self) -> String {
        self.set.describe()
    }

    fn index(&self, position: usize) -> usize {
        self.images[self.order.image(position)]
    }

    fn key(&self, index: usize) -> String {
        self.set.key(index).to_string()
    }

    fn prepare(&self, position: usize, index: usize) -> Result<Prepared, Unusable> {
        let stored = image(&self.set, index)?;
        let failed = about(&self.set, index);
        let mut rng = Rng::new(&[self.seed, JITTER, position as u64]);
        let (image, placement) = self.jitter.apply(&stored, &mut rng).map_err(&failed)?;
        let (frame, instances) = (self.frame, self.set.instances(index));
        let objects = placed(instances, &placement, frame.resolution, frame.enlarged());
        Ok(Prepared {
            image,
            annotation: Annotation::Instances(objects.map_err(&failed)?),
            placement,
        })
    }
}

struct TestImages {
    set: Arc<CocoSet>,
    transform: Transform,
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
        let stored = image(&self.set, index)?;
        let failed = about(&self.set, index);
        let placement = self.transform.placement(stored.height, stored.width);
        Ok(Prepared {
            placement: placement.map_err(&failed)?,
            image: self.transform.apply(&stored).map_err(&failed)?,
            annotation: Annotation::None,
        })
    }
}

/// Labels (from 1) of category ids.
pub type Labels = HashMap<u32, i64>;

/// Labels in the order of category ids.
pub fn labels(set: &CocoSet) -> Labels {
    let ids = set.categories.iter().map(|category| category.id);
    ids.zip(1..).collect()
}

/// The objects of a batch as tensors. `masks`: whether masks are trained.
pub fn targets(
    annotations: &[Annotation],
    labels: &Labels,
    resolution: usize,
    masks: bool,
    device: Device,
) -> Result<Vec<Target>> {
    let each = annotations.iter().map(|annotation| match annotation {
        Annotation::Instances(objects) => target(objects, labels, resolution, masks, device),
        other => Err(Error::model(format!(
            "a batch for detection carries {other:?} instead of objects"
        ))),
    });
    each.collect()
}

fn target(
    objects: &[Instance],
    labels: &Labels,
    resolution: usize,
    masks: bool,
    device: Device,
) -> Result<Target> {
    let count = objects.len() as i64;
    let corners: Vec<f32> = (objects.iter())
        .flat_map(|o| [o.bounds.x0, o.bounds.y0, o.bounds.x1, o.bounds.y1])
        .map(|v| v as f32)
        .collect();
    let label = |o: &Instance| {
        labels
            .get(&o.category)
            .copied()
            .ok_or_else(|| Error::model(format!("annotation {} is of an unknown category", o.id)))
    };
    let own = objects.iter().map(label).collect::<Result<Vec<i64>>>()?;
    let masks = match masks {
        false => None,
        true => {
            let mut pixels = Vec::with_capacity(objects.len() * resolution * resolution);
            for object in objects {
                match &object.shape {
                    Some(InstanceShape::Runs(runs)) => pixels.extend(mask::raster(runs)),
                    _ => {
                        return Err(Error::model(format!(
                            "annotation {} has no mask; use --head-type faster-rcnn",
                            object.id
                        )));
                    }
                }
            }
            let side = resolution as i64;
            let masks = Tensor::f_from_slice(&pixels)?.f_view([count, side, side])?;
            Some(upload(masks, device)?)
        }
    };
    let boxes = Tensor::f_from_slice(&corners)?.f_view([count, 4])?;
    let own = Tensor::f_from_slice(&own)?.f_to_kind(Kind::Int64)?;
    Ok(Target {
        boxes: upload(boxes, device)?,
        labels: upload(own, device)?,
        masks,
    })
}
