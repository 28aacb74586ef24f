//! What a configuration cannot ask for.

use super::{DistillConfig, StageConfig};
use crate::distill::balance::Balancing;
use crate::runtime::Precision;

/// Most steps, pictures of a step, and pixels per side that make sense to anyone.
const MAX_STEPS: u64 = 1_000_000_000;
const MAX_BATCH: usize = 1 << 20;
const MAX_SIDE: i64 = 16_384;

impl DistillConfig {
    /// A sentence about the first setting that cannot be obeyed.
    pub fn check(&self) -> Result<(), String> {
        if self.teachers.is_empty() {
            return Err("has no teacher; write [[teachers]] with a `model`".into());
        }
        if self.data.is_empty() {
            return Err("has no data; write [[data]] with a `path`".into());
        }
        if self.stages.is_empty() {
            return Err(
                "has no stage; write [[stages]] with `steps`, `batch`, `resolution`".into(),
            );
        }
        for stage in &self.stages {
            check_stage(stage)?;
        }
        self.check_teachers()?;
        let positive = |name: &str, value: f64| match value > 0.0 && value.is_finite() {
            true => Ok(()),
            false => Err(format!("`{name}` must be positive, it is {value}")),
        };
        let share = |name: &str, value: f64| match (0.0..=1.0).contains(&value) {
            true => Ok(()),
            false => Err(format!("`{name}` must lie between 0 and 1, it is {value}")),
        };
        for data in &self.data {
            positive("data.weight", data.weight)?;
        }
        let augment = &self.augment;
        positive("augment.scale", augment.scale.0)?;
        share("augment.scale", augment.scale.1)?;
        positive("augment.ratio", augment.ratio.0)?;
        share("augment.flip", augment.flip)?;
        if augment.scale.0 > augment.scale.1 || augment.ratio.0 > augment.ratio.1 {
            return Err(
                "`augment.scale` and `augment.ratio` go from the smaller to the larger".into(),
            );
        }
        let loss = &self.loss;
        positive("loss.smooth_l1_beta", loss.smooth_l1_beta)?;
        share("loss.teacher_dropping", loss.teacher_dropping)?;
        if loss.teacher_dropping > 0.0 && loss.balancing != Balancing::Manual {
            return Err("`loss.teacher_dropping` goes with balancing `manual` only".into());
        }
        let optimiser = &self.optimiser;
        positive("optimiser.lr", optimiser.lr)?;
        for (name, beta) in [("betas", optimiser.betas.0), ("betas", optimiser.betas.1)] {
            if !(0.0..1.0).contains(&beta) {
                return Err(format!(
                    "`optimiser.{name}` must be in [0,1), one is {beta}"
                ));
            }
        }
        if !(0.0..1.0).contains(&optimiser.ema) {
            return Err(format!(
                "`optimiser.ema` must be in [0,1), it is {}",
                optimiser.ema
            ));
        }
        if optimiser.min_lr > optimiser.lr || optimiser.min_lr < 0.0 {
            return Err("`optimiser.min_lr` must lie between 0 and `lr`".into());
        }
        if optimiser.weight_decay < 0.0 || optimiser.clip_norm < 0.0 {
            return Err("`optimiser.weight_decay` and `clip_norm` must not be negative".into());
        }
        if self.run.precision == Precision::Fp16 {
            return Err(
                "`run.precision` fp16 needs gradients to be scaled, which is not done; use bf16"
                    .into(),
            );
        }
        if self.run.log_every == 0 || self.run.checkpoint_every == 0 || self.run.checkpoints == 0 {
            return Err(
                "`run.log_every`, `checkpoint_every` and `checkpoints` must be at least 1".into(),
            );
        }
        if self.student.spectral_reparam && optimiser.ema > 0.0 {
            return Err(
                "`optimiser.ema` would average the parts of spectral weights, not the weights; leave one of them out"
                    .into(),
            );
        }
        if self.student.vitdet_windows.iter().any(|window| *window < 1) {
            return Err("`student.vitdet_windows` are positive numbers of patches".into());
        }
        if self.run.cache.is_some() {
            self.check_cache()?;
        }
        match self
            .evaluate
            .iter()
            .any(|one| one.every == 0 || one.command.is_empty())
        {
            true => Err("an [[evaluate]] needs `every` (steps) and a `command`".into()),
            false => Ok(()),
        }
    }

    /// Crops are fixed only where they do not depend on the partition.
    fn check_cache(&self) -> Result<(), String> {
        if self.run.cache_crops == 0 {
            return Err("`run.cache_crops` must be at least 1".into());
        }
        let parts = self.stages.iter().flat_map(StageConfig::parts);
        let mut shapes = parts.map(|part| part.resolution.size());
        let first = shapes.next().unwrap_or((1, 1));
        match shapes.all(|(height, width)| height * first.1 == width * first.0) {
            true => Ok(()),
            false => Err(
                "`run.cache` needs one aspect ratio of the student's resolutions, there are several"
                    .into(),
            ),
        }
    }

    fn check_teachers(&self) -> Result<(), String> {
        for teacher in &self.teachers {
            let model = &teacher.model;
            let weights = [
                teacher.summary_weight,
                teacher.feature_weight,
                teacher.relation_weight,
            ];
            if weights.iter().any(|w| *w < 0.0 || !w.is_finite()) {
                return Err(format!("teacher `{model}`: a weight is negative"));
            }
            if weights == [0.0; 3] {
                return Err(format!(
                    "teacher `{model}`: all weights are 0; leave it out"
                ));
            }
            if teacher.upsample < 1 || teacher.upsample > 16 {
                return Err(format!(
                    "teacher `{model}`: `upsample` must be between 1 and 16"
                ));
            }
            if teacher.batch == Some(0) {
                return Err(format!("teacher `{model}`: `batch` must be at least 1"));
            }
            if teacher
                .dispersion
                .is_some_and(|d| d <= 0.0 || !d.is_finite())
            {
                return Err(format!("teacher `{model}`: `dispersion` must be positive"));
            }
        }
        Ok(())
    }
}

fn check_stage(stage: &StageConfig) -> Result<(), String> {
    if stage.steps == 0 || stage.steps > MAX_STEPS {
        return Err(format!(
            "a stage's `steps` must be between 1 and {MAX_STEPS}"
        ));
    }
    match (stage.resolution, stage.partitions.is_empty(), stage.batch) {
        (Some(_), true, 1..) | (None, false, 0) => {}
        _ => {
            return Err(
                "a stage has either `batch` and `resolution`, or [[stages.partitions]]".into(),
            );
        }
    }
    for partition in stage.parts() {
        let (height, width) = partition.resolution.size();
        if height < 1 || width < 1 || height > MAX_SIDE || width > MAX_SIDE {
            return Err(format!("a resolution must be between 1 and {MAX_SIDE}"));
        }
        if partition.batch == 0 || partition.batch > MAX_BATCH {
            return Err(format!("a `batch` must be between 1 and {MAX_BATCH}"));
        }
        if partition.omega() <= 0.0 || !partition.omega().is_finite() {
            return Err("a partition's `weight` must be positive".into());
        }
    }
    if stage.warmup >= stage.steps {
        return Err("a stage's `warmup` must be shorter than the stage".into());
    }
    match stage.lr {
        Some(lr) if lr <= 0.0 || !lr.is_finite() => Err("a stage's `lr` must be positive".into()),
        _ => Ok(()),
    }
}
