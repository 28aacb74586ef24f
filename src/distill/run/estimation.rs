//! The estimation phase: the teachers alone, for statistics of what they say
//! (spec/distillation.md §3). Nothing of the training steps is touched.

use super::plan::{Plan, StagePlan};
use crate::distill::config::DistillConfig;
use crate::distill::losses::dispersion;
use crate::distill::objective::SummaryLoss;
use crate::distill::standardise::{Moments, Standardise, Statistics, hadamard};
use crate::distill::stream::{Mixture, Stream};
use crate::distill::teacher::Teacher;
use crate::runtime::{interrupt, progress};
use crate::weights::safetensors;
use crate::{Error, Result};
use std::collections::HashMap;
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// Summaries that a dispersion is measured over at most.
const MOST_SUMMARIES: usize = 20_000;
/// What tells a file of statistics from one of another run.
const IDENTITY: &str = "identity";

/// What was learned of the teachers.
pub struct Estimated {
    /// One per teacher, fp64.
    pub statistics: Vec<Statistics>,
    /// One per teacher; 1 where nothing asks for it.
    pub dispersions: Vec<f64>,
}

struct Watched {
    moments: Option<Moments>,
    summaries: Option<Vec<Tensor>>,
}

/// Whether the phase has anything to find out.
pub fn is_needed(teachers: &[Teacher]) -> bool {
    teachers
        .iter()
        .any(|teacher| needs_statistics(teacher) || needs_dispersion(teacher))
}

fn needs_statistics(teacher: &Teacher) -> bool {
    let config = &teacher.config;
    let reads_features = config.feature_weight != 0.0 || config.relation_weight != 0.0;
    config.standardise != Standardise::None && reads_features
}

fn needs_dispersion(teacher: &Teacher) -> bool {
    let config = &teacher.config;
    config.summary_loss == SummaryLoss::Angle
        && config.summary_weight != 0.0
        && config.dispersion.is_none()
}

/// Reads what an earlier session of the same run found, or runs the phase and keeps it in `file`.
pub fn statistics(
    file: &Path,
    identity: &str,
    config: &DistillConfig,
    teachers: &[Teacher],
    plan: &Plan,
    mixture: &Mixture,
    (workers, device, show): (usize, Device, bool),
) -> Result<Estimated> {
    if file.is_file() {
        return read(file, identity, teachers);
    }
    let mut watched: Vec<Watched> = teachers
        .iter()
        .map(|teacher| Watched {
            moments: needs_statistics(teacher).then(|| Moments::new(teacher.feature_width, device)),
            summaries: needs_dispersion(teacher).then(Vec::new),
        })
        .collect();
    if let (Some(stage), true) = (plan.stages.first(), is_needed(teachers)) {
        let steps = config.run.estimation_steps;
        watch(
            &mut watched,
            steps,
            config,
            teachers,
            stage,
            mixture,
            (workers, device, show),
        )?;
    }
    let mut found = Estimated {
        statistics: Vec::new(),
        dispersions: Vec::new(),
    };
    for (teacher, watched) in teachers.iter().zip(watched) {
        let kind = teacher.config.standardise;
        found.statistics.push(match &watched.moments {
            Some(moments) => Statistics::estimate(kind, moments)?,
            None => Statistics::None,
        });
        let width = teacher.feature_width;
        if kind == Standardise::PhiS && !hadamard::orthonormal(width).1 {
            tracing::warn!(
                "teacher `{}`: no Hadamard matrix of size {width} is known, PHI-S takes the Hartley matrix: variances are 1 in the mean, not in every channel",
                teacher.name
            );
        }
        found
            .dispersions
            .push(match (&watched.summaries, teacher.config.dispersion) {
                (Some(summaries), _) => {
                    let value = dispersion(&Tensor::f_cat(summaries, 0)?.to_kind(Kind::Double));
                    tracing::info!("teacher `{}`: dispersion {value:.4}", teacher.name);
                    value
                }
                (None, Some(given)) => given,
                (None, None) => 1.0,
            });
    }
    write(file, identity, teachers, &found)?;
    Ok(found)
}

fn watch(
    watched: &mut [Watched],
    steps: u64,
    config: &DistillConfig,
    teachers: &[Teacher],
    stage: &StagePlan,
    mixture: &Mixture,
    (workers, device, show): (usize, Device, bool),
) -> Result<()> {
    let images = stage.layout.images();
    let end = usize::try_from(steps)
        .unwrap_or(usize::MAX)
        .saturating_mul(images);
    let layout = stage.layout.clone();
    let mut stream = Stream::new(
        mixture.clone(),
        config,
        layout,
        (0, 0..end),
        None,
        (workers, device),
    )?;
    let bar = progress::bar(show, "statistics of the teachers", "steps", steps, 0);
    for _ in 0..steps {
        interrupt::check()?;
        for (partition, pixels) in stage.partitions.iter().zip(stream.next_step()?) {
            for ((teacher, watched), view) in
                teachers.iter().zip(&mut *watched).zip(&partition.views)
            {
                let Some(view) = view else { continue };
                if watched.moments.is_none() && watched.summaries.is_none() {
                    continue;
                }
                let target = teacher.run(&pixels.views[*view].pixels)?;
                if let (Some(moments), Some((map, _))) = (&mut watched.moments, &target.features) {
                    moments.add(&map.f_flatten(0, 1)?);
                }
                if let (Some(summaries), Some(summary)) = (&mut watched.summaries, &target.summary)
                {
                    let known: i64 = summaries.iter().map(|s| s.size()[0]).sum();
                    if (known as usize) < MOST_SUMMARIES {
                        summaries.push(summary.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?);
                    }
                }
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

fn write(file: &Path, identity: &str, teachers: &[Teacher], found: &Estimated) -> Result<()> {
    let mut tensors = Vec::new();
    for ((teacher, statistics), dispersion) in teachers
        .iter()
        .zip(&found.statistics)
        .zip(&found.dispersions)
    {
        for (what, tensor) in statistics.tensors() {
            let tensor = tensor.f_to_device(Device::Cpu)?.f_contiguous()?;
            tensors.push((format!("{}.{what}", teacher.name), tensor));
        }
        let dispersion = Tensor::f_from_slice(&[*dispersion])?;
        tensors.push((format!("{}.dispersion", teacher.name), dispersion));
    }
    let named = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
    let metadata = HashMap::from([(IDENTITY.to_string(), identity.to_string())]);
    safetensors::write(file, named, metadata)
}

fn read(file: &Path, identity: &str, teachers: &[Teacher]) -> Result<Estimated> {
    let (stored, metadata) = safetensors::open(file)?;
    if metadata.get(IDENTITY).map(String::as_str) != Some(identity) {
        return Err(Error::usage(format!(
            "{} is of another run; use another --out, or --restart",
            file.display()
        )));
    }
    let get = |name: String| -> Result<Tensor> {
        let tensor = stored
            .get(&name)
            .ok_or_else(|| Error::tensor(file, &name, "missing; use --restart"))?;
        tensor.read_stored()
    };
    let mut found = Estimated {
        statistics: Vec::new(),
        dispersions: Vec::new(),
    };
    for teacher in teachers {
        let kind = match needs_statistics(teacher) {
            true => teacher.config.standardise,
            false => Standardise::None,
        };
        let read = |what: &str| get(format!("{}.{what}", teacher.name));
        found.statistics.push(Statistics::restore(kind, read)?);
        found
            .dispersions
            .push(read("dispersion")?.f_double_value(&[0])?);
    }
    Ok(found)
}
