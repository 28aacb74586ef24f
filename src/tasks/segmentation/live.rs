//! Training on fresh crops: every iteration draws, augments and runs new images, as mmseg does.

use super::batches;
use super::course::{Course, Run};
use crate::data::segmentation::PairSet;
use crate::runtime::device::upload;
use crate::tasks::spatial::SpatialFeatures;
use crate::{Error, Result};
use std::time::Instant;

/// Seconds by what they went into. On CUDA the forward's are those of the host, which hands work
/// to the device and waits for it only where the head's loss is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spent {
    /// Waiting for the data pipeline.
    pub data: f64,
    pub forward: f64,
}

/// Trains one head; goes on from the run's saved state.
pub fn train<'a>(
    features: &SpatialFeatures,
    set: &PairSet,
    run: &'a Run<'a>,
) -> Result<(Course<'a>, Spent)> {
    let side = features.padded(run.recipe.crop());
    let channels = features.channels(side, run.runtime.device)?;
    let mut course = Course::begin(run, channels)?;
    let (seed, first) = (run.seed, course.iteration());
    let mut batches = batches::training(set, run.recipe, seed, first, side, run.runtime);
    let mut spent = Spent::default();
    while !course.is_done() {
        course.check_interrupt()?;
        let started = Instant::now();
        let batch = match batches.next() {
            Some(Ok(batch)) => batch,
            Some(Err(stop)) => return course.stop(stop),
            None => return course.stop(Error::model("the train images ended too early")),
        };
        let labels = upload(
            batches::label_tensor(&batch.annotations)?,
            run.runtime.device,
        )?;
        let loaded = Instant::now();
        let map = features.map(&batch.pixels)?;
        spent.data += (loaded - started).as_secs_f64();
        spent.forward += loaded.elapsed().as_secs_f64();
        course.step(&map, &labels)?;
    }
    Ok((course, spent))
}
