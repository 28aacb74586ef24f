//! The loop over the steps.

use super::preflight::{self, Buffers};
use super::state::{self, Progress};
use super::step::{Spent, StepRun, window};
use super::{Run, evaluate, replay};
use crate::distill::learner::{StepLosses, Updated};
use crate::distill::log::{Line, Log};
use crate::distill::stream::{PartitionPixels, Stream};
use crate::distill::student::export::{Card, Export};
use crate::report::environment::device_name;
use crate::runtime::{interrupt, progress};
use crate::{Error, Result};
use indicatif::ProgressBar;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

/// What a run gave.
pub struct Finished {
    /// The exported student; `None` after a dry run.
    pub student: Option<PathBuf>,
    /// What the run costs, where it was only looked at.
    pub estimate: Option<String>,
    pub steps: u64,
    /// The last numbers that were noted.
    pub last: Option<Line>,
}

/// One session of a run.
struct Session {
    log: Log,
    /// Pictures replaced before this session.
    skipped: BTreeMap<usize, String>,
    /// Steps done, and seconds of earlier sessions.
    step: u64,
    seconds: f64,
    started: Instant,
    bar: ProgressBar,
}

/// What a step did, for its line.
pub(super) struct Done {
    losses: StepLosses,
    updated: Updated,
    lr: f64,
    spent: Spent,
}

impl Run {
    pub(super) fn train(mut self) -> Result<Finished> {
        let begun = match self.checkpoints.latest()? {
            Some(path) => {
                let (progress, _) = state::restore(&path, &mut self.learner, &self.identity)?;
                tracing::info!(
                    "going on behind step {} ({})",
                    progress.step,
                    path.display()
                );
                progress
            }
            None => Progress::default(),
        };
        let total = self.plan.steps();
        let finished = |run: &Run, estimate, student, last| Finished {
            student,
            estimate,
            steps: run.plan.steps(),
            last,
        };
        if begun.step < total || self.options.dry_run {
            let estimate = self.estimate()?;
            if self.options.dry_run {
                return Ok(finished(&self, Some(estimate), None, None));
            }
            for line in estimate.lines() {
                tracing::info!("{line}");
            }
        }
        let mut session = Session {
            log: Log::open(&self.options.out, begun.step)?,
            skipped: begun.skipped,
            step: begun.step,
            seconds: begun.seconds,
            started: Instant::now(),
            bar: progress::bar(self.options.show, "distill", "steps", total, begun.step),
        };
        while session.step < total {
            let stage_end = match self.plan.stage(session.step) {
                Some(stage) => stage.first_step + stage.steps,
                None => break,
            };
            let Some(mut stream) = self.stream(session.step, self.fixed_crops(session.step))?
            else {
                break;
            };
            let outcome = self.stage(&mut session, &mut stream, stage_end);
            session.skipped.extend(stream.skipped());
            match outcome {
                Ok(()) => {}
                Err(Error::Interrupted) => {
                    self.save(&mut session)?;
                    return Err(Error::Interrupted);
                }
                Err(error) => return Err(error),
            }
        }
        session.bar.finish_and_clear();
        let student = self.export(&session)?;
        let last = session.log.lines()?.pop();
        Ok(finished(&self, None, Some(student), last))
    }

    fn estimate(&self) -> Result<String> {
        let mut steps = Vec::new();
        for stage in &self.plan.stages {
            if let Some(mut stream) = self.stream(stage.first_step, None)? {
                steps.push(stream.next_step()?);
            }
        }
        let estimate = preflight::estimate(
            &self.learner,
            &self.teachers,
            &self.plan,
            &steps,
            self.options.config.run.micro_batch,
            self.cache.as_deref(),
        )?;
        Ok(estimate.to_string())
    }

    /// Has the teachers see every crop once, and keeps what they say; gives the crops seen.
    pub(super) fn fill_cache(self) -> Result<usize> {
        let Some(cache) = self.cache.as_deref() else {
            return Err(Error::usage(
                "--cache-only fills run.cache, which the configuration does not name",
            ));
        };
        let stage = self.plan.stages.first();
        let stage = stage.ok_or_else(|| Error::model("the run has no stage"))?;
        let crops = self.mixture.total() * self.options.config.run.cache_crops;
        let steps = crops
            .div_ceil(stage.layout.images())
            .min(stage.steps as usize);
        let mut stream = match self.stream(0, self.fixed_crops(0))? {
            Some(stream) => stream,
            None => return Ok(0),
        };
        let step_run = StepRun {
            teachers: &self.teachers,
            stage,
            cache: Some(cache),
            seed: self.options.config.run.seed,
            micro_batch: 0,
        };
        let bar = progress::bar(self.options.show, "teachers", "steps", steps as u64, 0);
        for _ in 0..steps {
            for (partition, pixels) in stream.next_step()?.iter().enumerate() {
                step_run.targets(partition, pixels, 0..pixels.positions.len())?;
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        let missing = (0..self.teachers.len()).map(|teacher| cache.missing(teacher));
        Ok(crops - missing.max().unwrap_or(0))
    }

    /// Steps up to `end`.
    fn stage(&mut self, session: &mut Session, stream: &mut Stream, end: u64) -> Result<()> {
        let run = self.options.config.run.clone();
        while session.step < end {
            interrupt::check()?;
            let waiting = Instant::now();
            let pixels = stream.next_step()?;
            let data_s = waiting.elapsed().as_secs_f64();
            let began = Instant::now();
            let done = self.step(session, &pixels)?;
            session.step += 1;
            session.bar.inc(1);
            let images: usize = pixels.iter().map(|p| p.positions.len()).sum();
            let last = session.step == self.plan.steps();
            if session.step.is_multiple_of(run.log_every) || session.step == 1 || last {
                let seconds = data_s + began.elapsed().as_secs_f64();
                let line = self.line(session.step, &done, images, (data_s, seconds));
                session.bar.set_message(told(&done));
                session.log.add(&line)?;
            }
            session.skipped.extend(stream.skipped());
            self.evaluate(session)?;
            if session.step.is_multiple_of(run.checkpoint_every) || last {
                self.save(session)?;
            }
        }
        Ok(())
    }

    /// One step. Where its numbers are not finite nothing is changed, and the step is written down
    /// so that it can be run again.
    fn step(&mut self, session: &Session, pixels: &[PartitionPixels]) -> Result<Done> {
        let step = session.step;
        self.freeze(step);
        let buffers = Buffers::copy(&self.learner);
        let outcome = self.attempt(step, pixels);
        outcome.map_err(|error| {
            buffers.restore(&self.learner);
            let progress = self.progress(session);
            match replay::write(&self.options.out, &self.learner, &progress, pixels) {
                Ok(path) => Error::model(format!(
                    "step {step}: {error}; the last checkpoint is as it was, and `--replay {}` runs this step again",
                    path.display()
                )),
                Err(also) => Error::model(format!("step {step}: {error}; and {also}")),
            }
        })
    }

    pub(super) fn attempt(&mut self, step: u64, pixels: &[PartitionPixels]) -> Result<Done> {
        let stage = self
            .plan
            .stage(step)
            .ok_or_else(|| Error::model("the run has no stage for this step"))?;
        let step_run = StepRun {
            teachers: &self.teachers,
            stage,
            cache: self.cache.as_deref(),
            seed: self.options.config.run.seed,
            micro_batch: self.options.config.run.micro_batch,
        };
        if let Some(trainable) = self.learner.backbone.trainable() {
            let windows = &self.options.config.student.vitdet_windows;
            trainable.set_window(window(windows, step_run.seed, step));
        }
        let (mut gathered, mut spent) = step_run.gather(&self.learner, pixels)?;
        let updating = Instant::now();
        let lr = stage.rate(step);
        let losses = self.learner.complete(&mut gathered)?;
        if let Some((name, value)) = losses.not_finite() {
            return Err(Error::model(format!("the loss `{name}` is {value}")));
        }
        let updated = self.learner.update(gathered, lr, step)?;
        spent.student += updating.elapsed().as_secs_f64();
        Ok(Done {
            losses,
            updated,
            lr,
            spent,
        })
    }

    /// Whether the trunk learns in step `step`.
    fn freeze(&self, step: u64) {
        let trained = step >= self.options.config.optimiser.frozen_trunk_steps;
        for (name, parameter) in &self.learner.parameters {
            if name.starts_with("base_model.") && parameter.requires_grad() != trained {
                let _ = parameter.set_requires_grad(trained);
            }
        }
    }

    fn line(&self, step: u64, done: &Done, images: usize, (data_s, seconds): (f64, f64)) -> Line {
        let mut line = Line::new(step);
        line.put("total", done.losses.total);
        line.put("lr", done.lr);
        line.put("grad_norm", done.updated.grad_norm);
        line.put("clip_factor", done.updated.clip_factor);
        for (teacher, values) in &done.losses.teachers {
            for (name, value) in values {
                line.put(format!("{teacher}.{name}"), *value);
            }
        }
        line.put("images_per_s", images as f64 / seconds.max(1e-9));
        line.put("data_s", data_s);
        line.put("teachers_s", done.spent.teachers);
        line.put("student_s", done.spent.student);
        let left = self.plan.steps().saturating_sub(step) as f64;
        line.put("eta_s", left * seconds);
        line
    }

    fn progress(&self, session: &Session) -> Progress {
        Progress {
            identity: self.identity.clone(),
            step: session.step,
            skipped: session.skipped.clone(),
            seconds: session.seconds + session.started.elapsed().as_secs_f64(),
            ..Progress::default()
        }
    }

    fn save(&self, session: &mut Session) -> Result<()> {
        self.checkpoints
            .save(&self.learner, &self.progress(session))?;
        session.log.publish(&self.name())
    }

    /// The run's name: that of its folder.
    fn name(&self) -> String {
        let name = self.options.out.file_name();
        name.map_or("student".into(), |name| name.to_string_lossy().into_owned())
    }

    fn export_as(&self) -> Export<'_> {
        let stage = self.options.config.stages.last();
        let side = stage.and_then(|stage| stage.parts().first().map(|p| p.resolution.size()));
        Export {
            args: &self.student_args,
            statistics: &self.statistics,
            resolution: side.unwrap_or(self.learner.backbone.info().preferred),
            name: "",
            precision: self.options.config.run.export,
        }
    }

    /// Evaluations that are due behind this step.
    fn evaluate(&self, session: &mut Session) -> Result<()> {
        let due: Vec<_> = (self.options.config.evaluate.iter())
            .filter(|one| {
                session.step.is_multiple_of(one.every) || session.step == self.plan.steps()
            })
            .collect();
        if due.is_empty() {
            return Ok(());
        }
        let folder = self.options.out.join("evaluations");
        let folder = folder.join(format!("step-{:09}", session.step));
        let model = folder.join("student");
        let name = self.name();
        Export {
            name: &name,
            ..self.export_as()
        }
        .write(&self.learner, &model)?;
        let mut line = Line::new(session.step);
        for (number, one) in due.into_iter().enumerate() {
            evaluate::run(
                one,
                &model,
                &folder.join(format!("records-{number}")),
                &mut line,
            )?;
        }
        std::fs::remove_dir_all(&model).map_err(|e| Error::file(&model, e))?;
        for (name, value) in &line.values {
            tracing::info!("step {}: {name} {value}", session.step);
        }
        session.log.add(&line)
    }

    /// The finished student with its card.
    fn export(&self, session: &Session) -> Result<PathBuf> {
        let folder = self.options.out.join("student");
        let name = self.name();
        let export = Export {
            name: &name,
            ..self.export_as()
        };
        export.write(&self.learner, &folder)?;
        let curves = self.options.out.join("curves.svg");
        if curves.is_file() {
            let copy = folder.join("curves.svg");
            std::fs::copy(&curves, &copy).map_err(|e| Error::file(&copy, e))?;
        }
        let teachers = self.teachers.iter().map(|teacher| {
            let sha256 = teacher.model.checkpoint.sha256()?;
            Ok((teacher.name.clone(), teacher.model.name.clone(), sha256))
        });
        let info = self.learner.backbone.info();
        let parameters = self.learner.parameters.iter();
        let card = Card {
            name: &name,
            architecture: &info.architecture,
            parameters: (
                info.parameters,
                parameters.map(|(_, p)| p.numel() as i64).sum(),
            ),
            config: &self.options.config,
            teachers: &teachers.collect::<Result<Vec<_>>>()?,
            pictures: (self.mixture.total(), self.plan.images()),
            replaced: session.skipped.len(),
            seconds: session.seconds + session.started.elapsed().as_secs_f64(),
            device: &device_name(self.options.device),
            lines: &session.log.lines()?,
        };
        card.write(&folder.join("README.md"))?;
        Ok(folder)
    }
}

impl Done {
    /// The numbers of the step.
    pub(super) fn losses(&self) -> serde_json::Value {
        serde_json::json!({
            "total": self.losses.total,
            "teachers": self.losses.teachers,
            "grad_norm": self.updated.grad_norm,
        })
    }
}

/// The losses, for the bar.
fn told(done: &Done) -> String {
    let teachers = done.losses.teachers.iter().map(|(name, values)| {
        let values = ["summary", "features"]
            .iter()
            .filter_map(|what| values.get(what));
        let values: Vec<String> = values.map(|v| format!("{v:.3}")).collect();
        format!("{name} {}", values.join("/"))
    });
    let teachers: Vec<String> = teachers.collect();
    format!("loss {:.4} ({})", done.losses.total, teachers.join(", "))
}
