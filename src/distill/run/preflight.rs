//! What a run will cost, measured on a step of each stage before it starts.

use super::plan::{Plan, StagePlan};
use crate::Result;
use crate::distill::cache::Cache;
use crate::distill::learner::{Learner, MicroBatch};
use crate::distill::objective::Target;
use crate::distill::stream::PartitionPixels;
use crate::distill::teacher::Teacher;
use std::fmt;
use std::time::Instant;
use tch::Tensor;

/// Passes of the student: one to warm up, the others timed.
const PASSES: usize = 3;

/// The estimate.
#[derive(Debug, Clone, Default)]
pub struct Estimate {
    /// Parameters of the trunk, and of everything that is trained.
    pub parameters: (i64, i64),
    /// Bytes of weights, gradients, optimiser and average.
    pub state_bytes: u64,
    /// Largest memory that the process has held up to now, where the system tells.
    pub peak_bytes: Option<u64>,
    /// Name and pictures per second.
    pub teachers: Vec<(String, f64)>,
    /// Pictures per second of the first stage, forward and backward.
    pub student: f64,
    /// Seconds of the whole run in teachers and student.
    pub teachers_s: f64,
    pub student_s: f64,
    pub steps: u64,
    pub images: usize,
}

/// Times teachers and student on the pictures of the first step of each stage. The student is as
/// before afterwards.
pub fn estimate(
    learner: &Learner,
    teachers: &[Teacher],
    plan: &Plan,
    steps: &[Vec<PartitionPixels>],
    micro_batch: usize,
    cache: Option<&Cache>,
) -> Result<Estimate> {
    let buffers = Buffers::copy(learner);
    let mut estimate = Estimate {
        parameters: sizes(learner),
        state_bytes: state_bytes(learner),
        steps: plan.steps(),
        images: plan.images(),
        ..Estimate::default()
    };
    // Seconds and pictures by teacher.
    let mut seen = vec![(0.0, 0); teachers.len()];
    for (stage, pixels) in plan.stages.iter().zip(steps) {
        let images: usize = pixels.iter().map(|p| p.positions.len()).sum();
        let mut stage_s = 0.0;
        let targets = time_teachers(teachers, stage, pixels, &mut seen, &mut stage_s)?;
        let student_s = time_student(learner, teachers, stage, pixels, &targets, micro_batch)?;
        buffers.restore(learner);
        if estimate.student == 0.0 {
            estimate.student = images as f64 / student_s.max(1e-9);
        }
        estimate.student_s += student_s * stage.steps as f64;
        if cache.is_none() {
            estimate.teachers_s += stage_s * stage.steps as f64;
        }
    }
    for (number, (teacher, (seconds, pictures))) in teachers.iter().zip(seen).enumerate() {
        let rate = pictures as f64 / f64::max(seconds, 1e-9);
        estimate.teachers.push((teacher.name.clone(), rate));
        if let Some(cache) = cache {
            let missing = cache.missing(number).min(plan.images());
            estimate.teachers_s += missing as f64 / rate;
        }
    }
    if let Some(trainable) = learner.backbone.trainable() {
        trainable.set_uniform(None);
    }
    estimate.peak_bytes = peak_bytes();
    Ok(estimate)
}

/// What the teachers say about the pictures of a step, by partition.
fn time_teachers(
    teachers: &[Teacher],
    stage: &StagePlan,
    pixels: &[PartitionPixels],
    seen: &mut [(f64, usize)],
    stage_s: &mut f64,
) -> Result<Vec<Vec<Option<Target>>>> {
    let mut targets: Vec<Vec<_>> = pixels.iter().map(|_| Vec::new()).collect();
    for (number, teacher) in teachers.iter().enumerate() {
        for ((partition, pixels), targets) in stage.partitions.iter().zip(pixels).zip(&mut targets)
        {
            let Some(view) = partition.views[number] else {
                targets.push(None);
                continue;
            };
            let started = Instant::now();
            let target = teacher.run(&pixels.views[view].pixels)?;
            wait(target.summary.as_ref());
            let seconds = started.elapsed().as_secs_f64();
            *stage_s += seconds;
            seen[number].0 += seconds;
            seen[number].1 += pixels.positions.len();
            targets.push(Some(target));
        }
    }
    Ok(targets)
}

/// Seconds of the student's forward and backward passes of a step.
fn time_student(
    learner: &Learner,
    teachers: &[Teacher],
    stage: &StagePlan,
    pixels: &[PartitionPixels],
    targets: &[Vec<Option<Target>>],
    micro_batch: usize,
) -> Result<f64> {
    if let Some(trainable) = learner.backbone.trainable() {
        trainable.set_uniform(None);
    }
    let mut fastest = f64::INFINITY;
    for _ in 0..PASSES {
        let started = Instant::now();
        let mut gathered = learner.begin();
        for (number, (pixels, targets)) in pixels.iter().zip(targets).enumerate() {
            let count = pixels.positions.len();
            let at_once = if micro_batch == 0 { count } else { micro_batch };
            for start in (0..count).step_by(at_once.max(1)) {
                let length = at_once.min(count - start) as i64;
                let narrow = |t: &Tensor| t.f_narrow(0, start as i64, length);
                let targets = targets.iter().map(|target| {
                    let narrowed = target.as_ref().map(|target| target.narrowed(narrow));
                    narrowed.transpose()
                });
                let batch = MicroBatch {
                    partition: number,
                    share: stage.partitions[number].share,
                    images: narrow(&pixels.views[0].pixels)?,
                    targets: targets.collect::<Result<_>>()?,
                    drop_draws: learner.dropping.map(|_| {
                        let shape = [length, teachers.len() as i64];
                        Tensor::ones(shape, (tch::Kind::Float, learner.device))
                    }),
                };
                learner.gather(&mut gathered, &batch)?;
            }
        }
        wait(learner.gradients(&gathered).iter().flatten().next());
        fastest = fastest.min(started.elapsed().as_secs_f64());
    }
    Ok(fastest)
}

/// Until the device has computed `tensor`.
fn wait(tensor: Option<&Tensor>) {
    if let Some(tensor) = tensor {
        let _ = tensor.flatten(0, -1).double_value(&[0]);
    }
}

fn sizes(learner: &Learner) -> (i64, i64) {
    let all = learner.parameters.iter().map(|(_, p)| p.numel() as i64);
    (learner.backbone.info().parameters, all.sum())
}

/// fp32 weights, gradients, two moments, and the average where one is kept.
fn state_bytes(learner: &Learner) -> u64 {
    let copies = if learner.ema.is_some() { 5 } else { 4 };
    sizes(learner).1 as u64 * 4 * copies
}

/// `VmHWM` of `/proc/self/status`.
fn peak_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Running statistics, to be put back.
pub struct Buffers(Vec<Tensor>);

impl Buffers {
    pub fn copy(learner: &Learner) -> Self {
        let buffers = learner.backbone.trainable().map(|t| t.named_buffers());
        let buffers = buffers.into_iter().flatten();
        Buffers(buffers.map(|(_, buffer)| buffer.copy()).collect())
    }

    pub fn restore(&self, learner: &Learner) {
        let _no_grad = tch::no_grad_guard();
        let buffers = learner.backbone.trainable().map(|t| t.named_buffers());
        for ((_, mut buffer), copy) in buffers.into_iter().flatten().zip(&self.0) {
            buffer.copy_(copy);
        }
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (trunk, all) = self.parameters;
        let mib = |bytes: u64| bytes as f64 / (1 << 20) as f64;
        writeln!(
            f,
            "student: {:.2} M parameters, {:.2} M with its heads; weights and optimiser {:.0} MiB",
            trunk as f64 / 1e6,
            all as f64 / 1e6,
            mib(self.state_bytes)
        )?;
        if let Some(peak) = self.peak_bytes {
            writeln!(f, "memory: {:.0} MiB at most up to now", mib(peak))?;
        }
        for (name, rate) in &self.teachers {
            writeln!(f, "teacher {name}: {rate:.1} images/s")?;
        }
        writeln!(
            f,
            "student: {:.1} images/s, forward and backward",
            self.student
        )?;
        let run = std::time::Duration::from_secs((self.teachers_s + self.student_s) as u64);
        write!(
            f,
            "run: {} steps, {} images; teachers {:.0} s, student {:.0} s, in all {}",
            self.steps,
            self.images,
            self.teachers_s,
            self.student_s,
            humantime::format_duration(run)
        )
    }
}
