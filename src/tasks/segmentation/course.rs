//! One head's way through its iterations: steps, progress, validation, saved states. Where its
//! batches come from is for the caller to say.

use super::probe::{Probe, StateFile};
use super::recipe::Recipe;
use super::validation::{Validated, Validation};
use crate::heads::LinearSegHead;
use crate::heads::linear_seg::StepLoss;
use crate::runtime::{Runtime, interrupt, progress};
use crate::{Error, Result};
use indicatif::ProgressBar;
use std::time::Instant;
use tch::Tensor;

/// Iterations between log lines.
const LOG_EVERY: u64 = 50;
/// Iterations between readings of the loss on CUDA, where a reading waits for the device.
const READ_EVERY: u64 = 10;

/// What a course is made of.
pub struct Run<'a> {
    pub recipe: &'a Recipe,
    pub seed: u64,
    pub classes: i64,
    pub state: &'a StateFile,
    pub validation: Validation<'a>,
    pub runtime: &'a Runtime,
    /// Show a progress bar.
    pub show: bool,
}

pub struct Course<'a> {
    run: &'a Run<'a>,
    probe: Probe,
    bar: ProgressBar,
    /// What the last step saw, if nobody has looked yet.
    unread: Option<StepLoss>,
    /// Seconds in the head and in validation. On CUDA the head's are those of the host, which
    /// waits for the device at readings only.
    pub head_s: f64,
    pub validation_s: f64,
}

impl<'a> Course<'a> {
    /// A fresh head for `channels` features, or the saved one of this very run. Leaves libtorch's
    /// generator just behind the draw of the head.
    pub fn begin(run: &'a Run<'a>, channels: i64) -> Result<Self> {
        let device = run.runtime.device;
        let mut probe = Probe::new(run.recipe, run.seed, channels, run.classes, device)?;
        probe.resume(run.state, device)?;
        let label = format!("seed {}", run.seed);
        let iterations = run.recipe.iterations;
        let bar = progress::bar(run.show, &label, "iterations", iterations, probe.iteration);
        let mut course = Course {
            run,
            probe,
            bar,
            unread: None,
            head_s: 0.0,
            validation_s: 0.0,
        };
        // The run may have been interrupted in the middle of a validation.
        course.validate_if_due()?;
        Ok(course)
    }

    /// Iterations done.
    pub fn iteration(&self) -> u64 {
        self.probe.iteration
    }

    pub fn is_done(&self) -> bool {
        self.iteration() >= self.run.recipe.iterations
    }

    /// Saves the state and fails if the user wants to stop.
    pub fn check_interrupt(&mut self) -> Result<()> {
        interrupt::check().or_else(|stop| self.stop(stop))
    }

    /// Saves the state and fails with `error`: what was trained before it is kept.
    pub fn stop<T>(&mut self, error: Error) -> Result<T> {
        self.save().and(Err(error))
    }

    /// One iteration: `features` [B,C,h,w] fp32, `labels` uint8 [B,H,W].
    ///
    /// # Errors
    /// A loss that is not finite, at the latest [`READ_EVERY`] iterations after it was.
    pub fn step(&mut self, features: &Tensor, labels: &Tensor) -> Result<()> {
        let started = Instant::now();
        self.unread = Some(self.probe.step(self.run.recipe, features, labels)?);
        let iteration = self.iteration();
        if !self.run.runtime.device.is_cuda() || iteration.is_multiple_of(READ_EVERY) {
            self.tell()?;
        }
        self.head_s += started.elapsed().as_secs_f64();
        self.bar.inc(1);
        self.validate_if_due()?;
        if iteration.is_multiple_of(self.run.recipe.checkpoint_every) || self.is_done() {
            self.save()?;
        }
        Ok(())
    }

    /// The trained head, and the curve.
    pub fn finish(self) -> (LinearSegHead, Vec<Validated>) {
        self.bar.finish_and_clear();
        (self.probe.head, self.probe.validated)
    }

    /// Reads what the last step saw, and shows it.
    fn tell(&mut self) -> Result<()> {
        let Some(seen) = self.unread.take() else {
            return Ok(());
        };
        let seen = seen.read()?;
        let (seed, iteration) = (self.run.seed, self.iteration());
        if !seen.loss.is_finite() {
            return Err(Error::model(format!(
                "the loss is {} at iteration {iteration}: the features are not finite, or the learning rate is too high",
                seen.loss
            )));
        }
        let told = format!(
            "seed {seed}, loss {:.3}, accuracy {:.1} %",
            seen.loss,
            100.0 * seen.accuracy
        );
        if iteration.is_multiple_of(LOG_EVERY) {
            tracing::debug!("iteration {iteration}: {told}");
        }
        self.bar.set_message(told);
        Ok(())
    }

    fn validate_if_due(&mut self) -> Result<()> {
        let iteration = self.iteration();
        let known = self
            .probe
            .validated
            .iter()
            .any(|v| v.iteration == iteration);
        if known || !self.run.validation.due(iteration) {
            return Ok(());
        }
        let started = Instant::now();
        let seed = self.run.seed;
        self.bar.set_message(format!("seed {seed}, validation"));
        let miou = match self.run.validation.miou(&self.probe.head) {
            Ok(miou) => miou,
            Err(stop) => return self.stop(stop),
        };
        self.validation_s += started.elapsed().as_secs_f64();
        tracing::info!("seed {seed}, iteration {iteration}: mIoU {miou:.2}");
        self.probe.validated.push(Validated {
            seed,
            iteration,
            miou,
        });
        Ok(())
    }

    /// Saves the state, once the last loss is known to be finite.
    fn save(&mut self) -> Result<()> {
        self.tell()?;
        self.probe.save(self.run.state)
    }
}
