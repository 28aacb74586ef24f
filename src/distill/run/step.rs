//! The pictures of one step through teachers and student.

use super::plan::StagePlan;
use crate::Result;
use crate::distill::cache::Cache;
use crate::distill::learner::{Gathered, Learner, MicroBatch};
use crate::distill::objective::Target;
use crate::distill::stream::PartitionPixels;
use crate::distill::teacher::Teacher;
use crate::hash::sha256;
use crate::rng::Rng;
use crate::weights::Uniform;
use std::ops::Range;
use std::time::Instant;
use tch::Tensor;

/// The streams of random numbers, out of a seed's.
const UNIFORM: u64 = 31;
const DROPPING: u64 = 32;
const WINDOW: u64 = 33;

/// How a step is run.
pub struct StepRun<'a> {
    pub teachers: &'a [Teacher],
    pub stage: &'a StagePlan,
    pub cache: Option<&'a Cache>,
    pub seed: u64,
    /// Pictures that pass the student at once; 0: a whole partition.
    pub micro_batch: usize,
}

/// Seconds of a step. On CUDA the host's, which waits at readings only.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spent {
    pub teachers: f64,
    pub student: f64,
}

impl StepRun<'_> {
    /// Gathers losses and gradients of all partitions.
    pub fn gather(
        &self,
        learner: &Learner,
        pixels: &[PartitionPixels],
    ) -> Result<(Gathered, Spent)> {
        let mut gathered = learner.begin();
        let mut spent = Spent::default();
        for (partition, pixels) in pixels.iter().enumerate() {
            let count = pixels.positions.len();
            let at_once = match self.micro_batch {
                0 => count,
                n => n,
            };
            for start in (0..count).step_by(at_once.max(1)) {
                let rows = start..count.min(start + at_once);
                let positions = &pixels.positions[rows.clone()];
                let started = Instant::now();
                let targets = self.targets(partition, pixels, rows.clone())?;
                spent.teachers += started.elapsed().as_secs_f64();
                let started = Instant::now();
                if let Some(trainable) = learner.backbone.trainable() {
                    trainable.set_uniform(Some(uniform(self.seed, positions)));
                }
                let batch = MicroBatch {
                    partition,
                    share: self.stage.partitions[partition].share,
                    images: pixels.views[0].rows(&rows)?.1,
                    targets,
                    drop_draws: match learner.dropping {
                        Some(_) => Some(self.drop_draws(positions)?.to_device(learner.device)),
                        None => None,
                    },
                };
                learner.gather(&mut gathered, &batch)?;
                spent.student += started.elapsed().as_secs_f64();
            }
        }
        Ok((gathered, spent))
    }

    /// What the teachers that see a partition say about some of its pictures.
    pub fn targets(
        &self,
        partition: usize,
        pixels: &PartitionPixels,
        rows: Range<usize>,
    ) -> Result<Vec<Option<Target>>> {
        let views = &self.stage.partitions[partition].views;
        let each = self.teachers.iter().zip(views).enumerate();
        each.map(|(number, (teacher, view))| {
            let Some(view) = view else { return Ok(None) };
            let view = &pixels.views[*view];
            let Some(cache) = self.cache else {
                return teacher.run(&view.rows(&rows)?.1).map(Some);
            };
            let slots = &pixels.slots[rows.clone()];
            let (there, pictures) = view.rows(&rows)?;
            let missing: Vec<usize> = (there.iter().enumerate())
                .filter(|(_, row)| !cache.has(number, pixels.slots[**row]))
                .map(|(place, _)| place)
                .collect();
            if !missing.is_empty() {
                let places: Vec<i64> = missing.iter().map(|place| *place as i64).collect();
                let places = Tensor::f_from_slice(&places)?.to_device(pictures.device());
                let target = teacher.run(&pictures.f_index_select(0, &places)?)?;
                let slots: Vec<usize> = missing.iter().map(|p| pixels.slots[there[*p]]).collect();
                cache.write(number, &slots, &target)?;
            }
            // What was just computed is read back too: the same bits as in every later pass.
            let target = cache.read(number, slots)?;
            Ok(Some(target.on(pictures.device())?))
        })
        .collect()
    }

    /// One number per picture and teacher.
    fn drop_draws(&self, positions: &[usize]) -> Result<Tensor> {
        let teachers = self.teachers.len();
        let values: Vec<f32> = positions
            .iter()
            .flat_map(|position| {
                let mut rng = Rng::new(&[self.seed, DROPPING, *position as u64]);
                (0..teachers)
                    .map(|_| rng.uniform(0.0, 1.0) as f32)
                    .collect::<Vec<_>>()
            })
            .collect();
        let shape = [positions.len() as i64, teachers as i64];
        Ok(Tensor::f_from_slice(&values)?.f_view(shape)?)
    }
}

/// The side of the windows of step `step`: one of those configured, or none.
pub fn window(windows: &[i64], seed: u64, step: u64) -> Option<i64> {
    let chosen = Rng::new(&[seed, WINDOW, step]).below(windows.len() + 1);
    windows.get(chosen).copied()
}

/// Numbers of train mode that follow from the positions of the pictures, whatever the batches.
fn uniform(seed: u64, positions: &[usize]) -> Uniform {
    let positions = positions.to_vec();
    Box::new(move |name, size| {
        let digest = sha256(name);
        let key = u64::from_str_radix(&digest[..16], 16).unwrap_or(0);
        let each: i64 = size.iter().skip(1).product();
        let values: Vec<f32> = positions
            .iter()
            .flat_map(|position| {
                let mut rng = Rng::new(&[seed, UNIFORM, key, *position as u64]);
                (0..each)
                    .map(|_| below_one(rng.uniform(0.0, 1.0)))
                    .collect::<Vec<_>>()
            })
            .collect();
        Ok(Tensor::f_from_slice(&values)?.f_view(size)?)
    })
}

/// As fp32, never rounded up to 1.
fn below_one(value: f64) -> f32 {
    (value as f32).min(1.0 - f32::EPSILON / 2.0)
}
