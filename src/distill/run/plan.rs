//! A configuration made exact: which steps, which pictures at which sizes, which teachers.

use crate::distill::config::{DistillConfig, StageConfig};
use crate::distill::schedule::CosineSchedule;
use crate::distill::stream::{Layout, View};
use crate::distill::teacher::Teacher;
use crate::models::BackboneInfo;
use crate::{Error, Result};

/// The course of a run.
pub struct Plan {
    pub stages: Vec<StagePlan>,
}

pub struct StagePlan {
    /// Steps of the run before it.
    pub first_step: u64,
    pub steps: u64,
    /// Pictures of the run before it.
    pub first_position: usize,
    pub partitions: Vec<PartitionPlan>,
    pub layout: Layout,
    pub schedule: CosineSchedule,
}

pub struct PartitionPlan {
    /// ω_g / (B_g Σ ω)
    pub share: f64,
    /// Per teacher the view it sees; `None` where it sees nothing.
    pub views: Vec<Option<usize>>,
}

impl Plan {
    /// # Errors
    /// A stage names a teacher that there is not, or a resolution that a network does not take.
    pub fn new(
        config: &DistillConfig,
        student: &BackboneInfo,
        teachers: &[Teacher],
    ) -> Result<Self> {
        let mut stages = Vec::new();
        let (mut first_step, mut first_position) = (0, 0);
        for stage in &config.stages {
            let planned = StagePlan::new(
                config,
                stage,
                student,
                teachers,
                (first_step, first_position),
            )?;
            first_step += planned.steps;
            let images = planned.layout.images();
            first_position += usize::try_from(planned.steps)
                .unwrap_or(usize::MAX)
                .saturating_mul(images);
            stages.push(planned);
        }
        Ok(Plan { stages })
    }

    /// The stage of step `step`, or the last one.
    pub fn stage(&self, step: u64) -> Option<&StagePlan> {
        let within = |stage: &&StagePlan| step < stage.first_step + stage.steps;
        self.stages.iter().find(within).or(self.stages.last())
    }

    /// The sizes (height, width) at which a teacher sees pictures, each once.
    pub fn sizes(&self, teacher: usize) -> Vec<(i64, i64)> {
        let mut sizes = Vec::new();
        for stage in &self.stages {
            let both = stage.partitions.iter().zip(&stage.layout.partitions);
            for (partition, (_, views)) in both {
                let Some(view) = partition.views[teacher] else {
                    continue;
                };
                let size = (views[view].height as i64, views[view].width as i64);
                if !sizes.contains(&size) {
                    sizes.push(size);
                }
            }
        }
        sizes
    }

    pub fn steps(&self) -> u64 {
        self.stages.iter().map(|stage| stage.steps).sum()
    }

    /// Pictures of all steps.
    pub fn images(&self) -> usize {
        let of_stage = |stage: &StagePlan| stage.steps as usize * stage.layout.images();
        self.stages.iter().map(of_stage).sum()
    }
}

impl StagePlan {
    fn new(
        config: &DistillConfig,
        stage: &StageConfig,
        student: &BackboneInfo,
        teachers: &[Teacher],
        (first_step, first_position): (u64, usize),
    ) -> Result<Self> {
        let parts = stage.parts();
        let omega: f64 = parts.iter().map(|part| part.omega()).sum();
        let listed = parts.iter().filter_map(|part| part.teachers.as_ref());
        let sized = parts.iter().flat_map(|part| part.resolutions.keys());
        for name in listed.chain(&stage.teachers).flatten().chain(sized) {
            if teachers.iter().all(|teacher| &teacher.name != name) {
                let names: Vec<_> = teachers.iter().map(|t| t.name.as_str()).collect();
                return Err(Error::usage(format!(
                    "a stage names the teacher `{name}`; there are {}",
                    names.join(", ")
                )));
            }
        }
        let (mut partitions, mut layout) = (Vec::new(), Vec::new());
        for part in &parts {
            let size = part.resolution.size();
            student.check_resolution(size.0, size.1)?;
            for window in &config.student.vitdet_windows {
                let step = window * student.patch;
                if size.0 % step != 0 || size.1 % step != 0 {
                    return Err(Error::usage(format!(
                        "{}x{} pixels do not divide into windows of {window} patches (student.vitdet_windows)",
                        size.0, size.1
                    )));
                }
            }
            for teacher in teachers {
                if let Some(side) = part.resolutions.get(&teacher.name) {
                    let (height, width) = side.size();
                    let info = teacher.model.backbone.info();
                    info.check_resolution(height, width)?;
                }
            }
            let mut views = vec![View::new(size)];
            let seen = teachers.iter().map(|teacher| {
                stage.shows(part, &teacher.name).then(|| {
                    let given = part.resolutions.get(&teacher.name);
                    let view = View::new(given.map_or(teacher.size(size), |side| side.size()));
                    let known = views.iter().position(|known| *known == view);
                    known.unwrap_or_else(|| {
                        views.push(view);
                        views.len() - 1
                    })
                })
            });
            let seen: Vec<Option<usize>> = seen.collect();
            if seen.iter().all(Option::is_none) {
                return Err(Error::usage(
                    "a partition without any teacher teaches nothing",
                ));
            }
            partitions.push(PartitionPlan {
                share: part.omega() / (part.batch as f64 * omega),
                views: seen,
            });
            layout.push((part.batch, views));
        }
        Ok(StagePlan {
            first_step,
            steps: stage.steps,
            first_position,
            partitions,
            layout: Layout { partitions: layout },
            schedule: CosineSchedule {
                base: stage.lr.unwrap_or(config.optimiser.lr),
                floor: config.optimiser.min_lr,
                warmup: stage.warmup,
                total: stage.steps,
            },
        })
    }

    /// Position of the first picture of step `step` of the run.
    pub fn position(&self, step: u64) -> usize {
        let steps = usize::try_from(step - self.first_step).unwrap_or(usize::MAX);
        let before = steps.saturating_mul(self.layout.images());
        self.first_position.saturating_add(before)
    }

    /// Position behind its last picture.
    pub fn end(&self) -> usize {
        self.position(self.first_step + self.steps)
    }

    pub fn rate(&self, step: u64) -> f64 {
        self.schedule.rate(step - self.first_step)
    }
}
