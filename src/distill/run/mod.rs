//! A distillation run from its configuration to an exported student.

pub mod estimation;
pub mod evaluate;
pub mod plan;
pub mod preflight;
pub mod replay;
pub mod state;
pub mod step;
mod trainer;

pub use trainer::Finished;

use super::balance::Balancer;
use super::cache::Cache;
use super::config::DistillConfig;
use super::ema::Ema;
use super::learner::Learner;
use super::losses::Mixture as LossMixture;
use super::objective::{Objective, TeacherObjective};
use super::optimiser::{Optimiser, Rule, Settings};
use super::standardise::Statistics;
use super::stream::{self, FixedCrops, Mixture, Stream};
use super::student::Student;
use super::teacher::Teacher;
use crate::data::paths::expand_path;
use crate::files::write_atomically;
use crate::hash::sha256;
use crate::runtime::Precision;
use crate::{Error, Result};
use estimation::Estimated;
use plan::Plan;
use serde_json::{Value, json};
use state::Checkpoints;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tch::Device;

/// Changes where the numbers of a run would: part of its identity.
const VERSION: u32 = 1;
/// What is estimated before the first step is seen by nobody else: the draws of another stream.
const STATISTICS: &str = "statistics.safetensors";

/// How to run.
pub struct Options {
    pub config: DistillConfig,
    pub out: PathBuf,
    pub device: Device,
    /// Threads that decode and resize.
    pub workers: usize,
    /// Take away what an earlier session left in `out`.
    pub restart: bool,
    /// Stop behind the estimate.
    pub dry_run: bool,
    /// Show progress bars.
    pub show: bool,
}

/// A run, ready for its next step.
pub struct Run {
    options: Options,
    student_args: Value,
    teachers: Vec<Teacher>,
    mixture: Mixture,
    plan: Plan,
    identity: String,
    /// fp64, one per teacher.
    statistics: Vec<Statistics>,
    learner: Learner,
    checkpoints: Checkpoints,
    cache: Option<Arc<Cache>>,
}

/// Trains, from the last checkpoint on where there is one.
///
/// # Errors
/// Anything that cannot be read or obeyed; a step whose numbers are not finite; interruption, with
/// the state saved.
pub fn run(options: Options) -> Result<Finished> {
    Run::prepare(options)?.train()
}

/// Only fills the cache of the teachers' outputs; gives the crops that they have all seen.
///
/// # Errors
/// As [`run`]; there is no cache.
pub fn fill_cache(options: Options) -> Result<usize> {
    Run::prepare(options)?.fill_cache()
}

impl Run {
    /// Opens everything, estimates the statistics, and builds the student.
    fn prepare(options: Options) -> Result<Self> {
        let config = &options.config;
        let (device, out) = (options.device, options.out.clone());
        if options.restart {
            remove(&out)?;
        }
        let teachers = config.teachers.iter().map(|one| Teacher::open(one, device));
        let teachers: Vec<Teacher> = teachers.collect::<Result<_>>()?;
        distinct(&teachers)?;
        let mixture = stream::open(config)?;
        let seed = config.run.seed;
        let student = Student::new(&config.student, &teachers, seed, device)?;
        let plan = Plan::new(config, student.backbone.info(), &teachers)?;
        let identity = identity(&options, &teachers, &mixture)?;
        let description = json!({"config": config, "identity": identity});
        let text = serde_json::to_vec_pretty(&description)
            .map_err(|e| Error::file(out.join("run.json"), e))?;
        let found = estimation::statistics(
            &out.join(STATISTICS),
            &identity,
            config,
            &teachers,
            &plan,
            &mixture,
            (options.workers, device, options.show),
        )?;
        write_atomically(&out.join("run.json"), &text)?;
        let cache = cache(config, &teachers, &plan, &mixture)?;
        let learner = learner(config, &teachers, student.backbone, &found, device)?;
        Ok(Run {
            checkpoints: Checkpoints::new(&out, config.run.checkpoints),
            student_args: student.args,
            teachers,
            mixture,
            plan,
            identity,
            statistics: found.statistics,
            learner,
            cache,
            options,
        })
    }

    /// Where crops are fixed: which of them the teachers have yet to see, in the stage of `step`.
    fn fixed_crops(&self, step: u64) -> Option<FixedCrops> {
        let (cache, stage) = (self.cache.clone()?, self.plan.stage(step)?);
        let partitions = stage.partitions.iter();
        let views: Vec<Vec<Option<usize>>> = partitions.map(|p| p.views.clone()).collect();
        Some(FixedCrops {
            crops: self.options.config.run.cache_crops,
            wanted: Arc::new(move |slot, (partition, view)| {
                let teachers = views[partition].iter().enumerate();
                let mut seeing = teachers.filter(|(_, seen)| **seen == Some(view));
                seeing.any(|(teacher, _)| !cache.has(teacher, slot))
            }),
        })
    }

    /// The pictures from step `step` to the end of its stage; all views of all of them, unless
    /// `fixed` says which are asked for.
    fn stream(&self, step: u64, fixed: Option<FixedCrops>) -> Result<Option<Stream>> {
        let Some(stage) = self.plan.stage(step) else {
            return Ok(None);
        };
        let positions = stage.position(step)..stage.end();
        let stream = Stream::new(
            self.mixture.clone(),
            &self.options.config,
            stage.layout.clone(),
            (stage.first_position, positions),
            fixed,
            (self.options.workers, self.options.device),
        )?;
        Ok(Some(stream))
    }
}

/// The cache of the teachers' outputs, where the configuration asks for one.
fn cache(
    config: &DistillConfig,
    teachers: &[Teacher],
    plan: &Plan,
    mixture: &Mixture,
) -> Result<Option<Arc<Cache>>> {
    let Some(root) = &config.run.cache else {
        return Ok(None);
    };
    let root = expand_path(root)?;
    let sizes = teachers.iter().enumerate();
    let sizes = sizes.map(|(number, teacher)| {
        let sizes = plan.sizes(number);
        match sizes.as_slice() {
            [only] => Ok(*only),
            _ => Err(Error::usage(format!(
                "run.cache needs one size at which `{}` sees pictures, there are {}; set its `resolution`",
                teacher.name,
                sizes.len()
            ))),
        }
    });
    let sizes: Vec<(i64, i64)> = sizes.collect::<Result<_>>()?;
    let described = teachers.iter().map(Teacher::describe);
    let stage = config.stages.first().map(|stage| stage.parts());
    let shape = stage.and_then(|parts| parts.first().map(|part| part.resolution.size()));
    let (height, width) = shape.unwrap_or((1, 1));
    let identity = json!({
        "version": VERSION,
        "teachers": described.collect::<Result<Vec<_>>>()?,
        "data": mixture.fingerprints(),
        "augment": config.augment,
        "crops": config.run.cache_crops,
        "aspect": width as f64 / height as f64,
        "sizes": sizes,
        "seed": config.run.seed,
    });
    let slots = mixture.total() * config.run.cache_crops;
    let cache = Cache::open(
        &root,
        &sha256(identity.to_string()),
        teachers,
        &sizes,
        slots,
    )?;
    Ok(Some(Arc::new(cache)))
}

/// Takes away everything that a run leaves in its folder.
fn remove(out: &Path) -> Result<()> {
    for name in ["checkpoints", "student", "tensorboard", "evaluations"] {
        let folder = out.join(name);
        if folder.is_dir() {
            std::fs::remove_dir_all(&folder).map_err(|e| Error::file(&folder, e))?;
        }
    }
    for name in [
        "run.json",
        "metrics.jsonl",
        "metrics.csv",
        "curves.svg",
        STATISTICS,
    ] {
        let file = out.join(name);
        if file.is_file() {
            std::fs::remove_file(&file).map_err(|e| Error::file(&file, e))?;
        }
    }
    Ok(())
}

fn distinct(teachers: &[Teacher]) -> Result<()> {
    for (i, teacher) in teachers.iter().enumerate() {
        let name = &teacher.name;
        if teachers[..i].iter().any(|other| &other.name == name) {
            return Err(Error::usage(format!(
                "two teachers are called `{name}`; give one another `name`"
            )));
        }
        if name.is_empty() || name.contains(['.', '/']) || name.parse::<usize>().is_ok() {
            return Err(Error::usage(format!(
                "`{name}` cannot be the name of an adaptor: no dots, no slashes, not a number"
            )));
        }
    }
    Ok(())
}

/// Hash of everything that decides the numbers of a run.
fn identity(options: &Options, teachers: &[Teacher], mixture: &Mixture) -> Result<String> {
    let mut config = json!(options.config);
    for name in ["checkpoint_every", "checkpoints", "log_every"] {
        // Where the cache lies changes nothing; that there is one does.
        if config["run"]["cache"].is_string() {
            config["run"]["cache"] = json!(true);
        }
        if let Some(run) = config["run"].as_object_mut() {
            run.remove(name);
        }
    }
    if let Some(all) = config.as_object_mut() {
        all.remove("evaluate");
    }
    let teachers = teachers.iter().map(Teacher::describe);
    let all = json!({
        "version": VERSION,
        "config": config,
        "teachers": teachers.collect::<Result<Vec<_>>>()?,
        "data": mixture.fingerprints(),
        "device": match options.device.is_cuda() { true => "cuda", false => "cpu" },
    });
    Ok(sha256(all.to_string()))
}

/// The student with everything that its training needs.
fn learner(
    config: &DistillConfig,
    teachers: &[Teacher],
    backbone: Box<dyn crate::models::Backbone>,
    found: &Estimated,
    device: Device,
) -> Result<Learner> {
    let asked = teachers.iter().zip(&found.dispersions);
    let asked = asked.map(|(teacher, dispersion)| TeacherObjective {
        name: teacher.name.clone(),
        summary_weight: teacher.config.summary_weight,
        feature_weight: teacher.config.feature_weight,
        relation_weight: teacher.config.relation_weight,
        summary_loss: teacher.config.summary_loss,
        dispersion: *dispersion,
        feature_loss: teacher.config.feature_loss,
        standardise: teacher.config.standardise,
    });
    let objective = Objective {
        teachers: asked.collect(),
        mixture: LossMixture {
            alpha: config.loss.alpha,
            beta: config.loss.beta,
            smooth_l1_beta: config.loss.smooth_l1_beta,
        },
    };
    let weights = objective.terms().iter().map(|term| term.weight).collect();
    let balancer = Balancer::new(config.loss.balancing, weights, device);
    let parameters = Learner::parameters_of(backbone.as_ref(), &balancer)?;
    if let Some(trainable) = backbone.trainable() {
        trainable.set_train(true);
    }
    let optimiser = &config.optimiser;
    let default_eps = match optimiser.rule {
        Rule::AdamW => 1e-8,
        Rule::Lamb => 1e-6,
    };
    let settings = Settings {
        rule: optimiser.rule,
        weight_decay: optimiser.weight_decay,
        betas: optimiser.betas,
        eps: optimiser.eps.unwrap_or(default_eps),
        trust_clip: optimiser.trust_clip,
    };
    let statistics = found.statistics.iter();
    Ok(Learner {
        statistics: statistics.map(|s| s.for_training(device)).collect(),
        optimiser: Optimiser::new(settings, parameters.len()),
        ema: (optimiser.ema > 0.0)
            .then(|| Ema::new(optimiser.ema, optimiser.ema_warmup, &parameters)),
        backbone,
        parameters,
        objective,
        balancer,
        clip_norm: (optimiser.clip_norm > 0.0).then_some(optimiser.clip_norm),
        dropping: (config.loss.teacher_dropping > 0.0).then_some(config.loss.teacher_dropping),
        autocast: match config.run.precision {
            Precision::Fp32 => None,
            other => Some(other.kind()),
        },
        device,
    })
}
