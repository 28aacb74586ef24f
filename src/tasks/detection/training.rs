//! A detector's way through its iterations: steps, progress, evaluations, saved states.

use super::ap::Settings;
use super::batches::{self, Labels};
use super::evaluate::{average_precision, detect};
use super::frozen::FrozenMap;
use super::recipe::Recipe;
use super::trainer::{StateFile, StepSeen, Trainer, Validated};
use crate::data::coco::CocoSet;
use crate::heads::detection::{DetectorOptions, Images};
use crate::runtime::{Runtime, interrupt, progress};
use crate::{Error, Result};
use hotcoco::COCO;
use indicatif::ProgressBar;
use std::sync::Arc;
use std::time::Instant;

/// Iterations between log lines.
const LOG_EVERY: u64 = 50;
/// Iterations between readings of the losses on CUDA, where a reading waits for the device.
const READ_EVERY: u64 = 10;
/// Most images per forward pass of an evaluation.
const TEST_BATCH: usize = 8;

/// Everything that training needs.
pub struct Training<'a> {
    pub frozen: &'a FrozenMap<'a>,
    pub recipe: &'a Recipe,
    pub options: DetectorOptions,
    pub train: &'a Arc<CocoSet>,
    /// The train images that have objects.
    pub images: &'a [usize],
    pub labels: &'a Labels,
    pub val: &'a Arc<CocoSet>,
    pub truth: &'a Arc<COCO>,
    pub iterations: u64,
    /// Iterations between evaluations, and between saved states.
    pub val_every: Option<u64>,
    pub checkpoint_every: u64,
    pub state: StateFile,
    pub runtime: &'a Runtime,
    pub show: bool,
}

/// Seconds spent.
#[derive(Debug, Default)]
pub struct Spent {
    pub data: f64,
    pub backbone: f64,
    pub head: f64,
    pub validation: f64,
}

/// Images per forward pass of an evaluation.
pub fn test_batch(recipe: &Recipe) -> usize {
    recipe.batch_size.min(TEST_BATCH)
}

impl Training<'_> {
    /// Trains to the end, going on from the saved state of this very run.
    pub fn run(&self) -> Result<(Trainer, Spent)> {
        let device = self.runtime.device;
        let mut trainer = Trainer::new(self.recipe, self.options.clone(), device)?;
        trainer.resume(self.recipe, &self.state, device);
        let done = trainer.iteration;
        let bar = progress::bar(self.show, "training", "iterations", self.iterations, done);
        let mut spent = Spent::default();
        // The run may have been interrupted in the middle of an evaluation.
        self.validate_if_due(&mut trainer, &bar, &mut spent)?;
        let frame = self.frozen.frame();
        let span = (trainer.iteration, self.iterations);
        let mut batches = batches::training(
            self.train,
            self.images,
            self.recipe,
            frame,
            span,
            self.runtime,
        );
        while trainer.iteration < self.iterations {
            let kept = self.one(&mut trainer, &mut batches, &bar, &mut spent);
            if let Err(stop) = kept {
                // What was trained before it is kept.
                trainer.save(&self.state)?;
                return Err(stop);
            }
        }
        bar.finish_and_clear();
        Ok((trainer, spent))
    }

    fn one(
        &self,
        trainer: &mut Trainer,
        batches: &mut crate::data::pipeline::Pipeline,
        bar: &ProgressBar,
        spent: &mut Spent,
    ) -> Result<()> {
        interrupt::check()?;
        let started = Instant::now();
        let batch = batches
            .next()
            .ok_or_else(|| Error::model("the train images ended before the training"))??;
        spent.data += started.elapsed().as_secs_f64();
        let started = Instant::now();
        let map = self.frozen.map(&batch.pixels)?;
        spent.backbone += started.elapsed().as_secs_f64();
        let started = Instant::now();
        let (resolution, device) = (self.frozen.resolution, self.runtime.device);
        let side = resolution as usize;
        let masks = self.options.masks;
        let targets = batches::targets(&batch.annotations, self.labels, side, masks, device)?;
        let images = Images {
            padded: (resolution, resolution),
            sizes: vec![(resolution, resolution); targets.len()],
        };
        let seen = trainer.step(self.recipe, self.iterations, &map, &images, &targets)?;
        let iteration = trainer.iteration;
        let is_last = iteration == self.iterations;
        if !device.is_cuda() || iteration.is_multiple_of(READ_EVERY) || is_last {
            tell(&seen, iteration, bar)?;
        }
        spent.head += started.elapsed().as_secs_f64();
        bar.inc(1);
        self.validate_if_due(trainer, bar, spent)?;
        if iteration.is_multiple_of(self.checkpoint_every) || is_last {
            trainer.save(&self.state)?;
        }
        Ok(())
    }

    fn validate_if_due(
        &self,
        trainer: &mut Trainer,
        bar: &ProgressBar,
        spent: &mut Spent,
    ) -> Result<()> {
        let iteration = trainer.iteration;
        let known = trainer.validated.iter().any(|v| v.iteration == iteration);
        let due = self
            .val_every
            .is_some_and(|every| iteration.is_multiple_of(every));
        // Not after the last: the finished detector is evaluated anyway.
        if known || !due || iteration == 0 || iteration >= self.iterations {
            return Ok(());
        }
        let started = Instant::now();
        bar.set_message("evaluation");
        let averaged = trainer.evaluated()?;
        let detector = averaged.as_ref().unwrap_or(&trainer.detector);
        let batch = test_batch(self.recipe);
        let found = detect(self.frozen, detector, self.val, batch, self.runtime, false)?;
        let settings = Settings {
            intervals: false,
            ..Settings::default()
        };
        let evaluations = average_precision(self.truth, self.val, &found, &settings)?;
        let ap = |at: usize| {
            let evaluation = evaluations.as_ref().and_then(|all| all.get(at));
            evaluation.map(|evaluation| 100.0 * evaluation.stats[0])
        };
        let point = Validated {
            iteration,
            box_ap: ap(0).unwrap_or(0.0),
            mask_ap: ap(1),
        };
        spent.validation += started.elapsed().as_secs_f64();
        tracing::info!("iteration {iteration}: box AP {:.2}", point.box_ap);
        trainer.validated.push(point);
        Ok(())
    }
}

/// Reads what a step saw, and shows it.
fn tell(seen: &StepSeen, iteration: u64, bar: &ProgressBar) -> Result<()> {
    let values = seen.read()?;
    if let Some((name, value)) = values.iter().find(|(_, value)| !value.is_finite()) {
        return Err(Error::model(format!(
            "{name} is {value} at iteration {iteration}: the features are not finite, or the learning rate is too high"
        )));
    }
    let losses = values.iter().filter(|(name, _)| *name != "norm");
    let total: f64 = losses.map(|(_, value)| value).sum();
    if iteration.is_multiple_of(LOG_EVERY) {
        let each: Vec<String> = values.iter().map(|(n, v)| format!("{n} {v:.3}")).collect();
        tracing::info!(
            "iteration {iteration}: loss {total:.3} ({})",
            each.join(", ")
        );
    }
    bar.set_message(format!("loss {total:.3}"));
    Ok(())
}
