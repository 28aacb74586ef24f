//! A distillation case from a folder, run by the trainer's own code: how the trainer is compared
//! with independent implementations (golden/distill/README.md).

mod files;
mod phi;

pub use files::{Case, CaseConfig};

use super::balance::{Balancer, Balancing};
use super::ema::Ema;
use super::learner::{Gathered, Learner, MicroBatch, StepLosses};
use super::losses::FeatureLoss;
use super::objective::{Objective, SummaryLoss};
use super::optimiser::{Optimiser, Rule};
use super::schedule::CosineSchedule;
use super::standardise::Standardise;
use crate::files::write_atomically;
use crate::models::architecture::build;
use crate::models::{BuildOptions, Purpose};
use crate::runtime::interrupt;
use crate::weights::{Uniform, safetensors};
use crate::{Error, Result};
use indexmap::IndexMap;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// Steps that a case runs with each optimiser.
const STEPS: u64 = 3;
/// Steps behind which the parameters are kept.
const KEPT: [u64; 2] = [1, 3];
/// Elements above which only some rows of a tensor are kept, and how many about.
const WHOLE: i64 = 1024;
const ROWS: i64 = 8;

/// Runs the case in `folder` and writes its outputs into `out`.
///
/// # Errors
/// A file of the case is missing or is not as its format says.
pub fn run(folder: &Path, out: &Path) -> Result<()> {
    let phi_s = folder.join("phi_s.safetensors");
    let mut found = false;
    if phi_s.is_file() {
        phi::run(&phi_s, &out.join("phi_s.safetensors"))?;
        found = true;
    }
    if folder.join("config.json").is_file() {
        Run {
            case: Case::open(folder)?,
        }
        .write(out)?;
        found = true;
    }
    match found {
        true => Ok(()),
        false => Err(Error::file(
            folder,
            "is no distillation case: it has neither config.json nor phi_s.safetensors",
        )),
    }
}

struct Run {
    case: Case,
}

/// What three steps of an optimiser give.
struct Trained {
    log: Vec<Value>,
    first: StepLosses,
    first_norm: f64,
    /// Of the first step, unclipped.
    gradients: Vec<(String, Option<Tensor>)>,
    /// Parameters and buffers before the first step, and behind it.
    start: IndexMap<String, Tensor>,
    kept: Vec<(u64, IndexMap<String, Tensor>)>,
    ema: IndexMap<String, Tensor>,
    buffers: IndexMap<String, Tensor>,
}

impl Run {
    fn write(&self, out: &Path) -> Result<()> {
        std::fs::create_dir_all(out).map_err(|e| Error::file(out, e))?;
        let adamw = self.train(Rule::AdamW)?;
        let lamb = self.train(Rule::Lamb)?;
        let mut after = Vec::new();
        let mut moved = Map::new();
        for (name, trained) in [("adamw", &adamw), ("lamb", &lamb)] {
            let mut steps = Map::new();
            for (step, parameters) in &trained.kept {
                let mut norms = Map::new();
                for (key, value) in parameters {
                    after.push((format!("{name}.{step}.{key}"), thinned(value)?));
                    let wide = |t: &Tensor| t.f_to_kind(Kind::Double);
                    let distance = wide(value)?.f_sub(&wide(&trained.start[key])?)?;
                    norms.insert(key.clone(), json!(distance.f_norm()?.f_double_value(&[])?));
                }
                steps.insert(step.to_string(), Value::Object(norms));
            }
            moved.insert(name.into(), Value::Object(steps));
        }
        for (key, value) in &adamw.ema {
            after.push((format!("adamw.ema3.{key}"), thinned(value)?));
        }
        let gradients = || {
            let all = adamw.gradients.iter();
            all.filter_map(|(key, gradient)| Some((key, gradient.as_ref()?)))
        };
        let mut norms = Map::new();
        for (key, gradient) in gradients() {
            let norm = gradient.f_to_kind(Kind::Double)?.f_norm()?;
            norms.insert(key.clone(), json!(norm.f_double_value(&[])?));
        }
        let mut without: Vec<&String> = (adamw.gradients.iter())
            .filter(|(_, gradient)| gradient.is_none())
            .map(|(key, _)| key)
            .collect();
        without.sort();
        let losses = json!({
            "total": adamw.first.total,
            "teachers": adamw.first.teachers,
            "grad_norm": adamw.first_norm,
            "grad_norms": norms,
            "without_gradient": without,
            "adamw": adamw.log,
            "lamb": lamb.log,
            "variants": self.variants()?,
            "update_norm": moved,
        });
        let text = serde_json::to_vec_pretty(&losses)
            .map_err(|e| Error::file(out.join("losses.json"), e))?;
        write_atomically(&out.join("losses.json"), &text)?;
        let named = gradients().map(|(key, gradient)| (key.clone(), gradient.shallow_clone()));
        save(&out.join("grads.safetensors"), named.collect())?;
        save(&out.join("after_steps.safetensors"), after)?;
        self.write_forward(&adamw, out)
    }

    /// What the first pass gave and left behind, of a student with running statistics.
    fn write_forward(&self, trained: &Trained, out: &Path) -> Result<()> {
        let is_statistic =
            |key: &str| key.ends_with("running_mean") || key.ends_with("running_var");
        if !trained.buffers.keys().any(|key| is_statistic(key)) {
            return Ok(());
        }
        let mut tensors = Vec::new();
        for (key, value) in &trained.buffers {
            if is_statistic(key) {
                tensors.push((format!("after.{key}"), value.shallow_clone()));
            }
        }
        for (key, gradient) in &trained.gradients {
            if let Some(gradient) = gradient
                && key.starts_with("base_model.")
                && gradient.numel() <= 512
            {
                tensors.push((format!("grad.{key}"), gradient.shallow_clone()));
            }
        }
        let learner = self.learner(Rule::AdamW, self.case.objective())?;
        let names: Vec<_> = self.case.config.teachers.iter().map(|t| &t.name).collect();
        let request = crate::models::Request::adaptors(names);
        let images = self.case.images(0)?;
        let features = crate::models::backbone::run(learner.backbone.as_ref(), &images, &request)?;
        for (name, adaptor) in features.adaptors {
            tensors.push((format!("out.{name}.summary"), adaptor.summary));
            if let Some((spatial, _)) = adaptor.spatial {
                tensors.push((format!("out.{name}.features"), spatial));
            }
        }
        save(&out.join("after_step.safetensors"), tensors)
    }

    /// A student with the case's weights, in train mode.
    fn learner(&self, rule: Rule, objective: Objective) -> Result<Learner> {
        let options = BuildOptions {
            purpose: Purpose::Training,
            ..BuildOptions::default()
        };
        let backbone = build(&self.case.checkpoint()?, &options)?;
        let weights = objective.terms().iter().map(|term| term.weight).collect();
        let balancer = Balancer::new(Balancing::Manual, weights, Device::Cpu);
        let parameters = Learner::parameters_of(backbone.as_ref(), &balancer)?;
        if let Some(trainable) = backbone.trainable() {
            trainable.set_train(true);
        }
        let config = &self.case.config;
        let optimiser = match rule {
            Rule::AdamW => &config.adamw,
            Rule::Lamb => &config.lamb,
        };
        Ok(Learner {
            statistics: self.case.statistics(&objective)?,
            optimiser: Optimiser::new(optimiser.settings(rule), parameters.len()),
            ema: Some(Ema::new(config.ema_decay, false, &parameters)),
            backbone,
            parameters,
            objective,
            balancer,
            clip_norm: Some(config.clip_norm),
            dropping: None,
            autocast: None,
            device: Device::Cpu,
        })
    }

    /// Gathers all partitions with the draws of step `step`.
    fn gather(&self, learner: &Learner, step: u64, weights: &[f64]) -> Result<Gathered> {
        let mut gathered = learner.begin();
        let sum: f64 = weights.iter().sum();
        for (partition, one) in self.case.config.partitions.iter().enumerate() {
            interrupt::check()?;
            if let Some(trainable) = learner.backbone.trainable() {
                trainable.set_uniform(Some(self.draws(partition, step)?));
            }
            let name = format!("p{partition}.teacher_drop");
            let batch = MicroBatch {
                partition,
                share: weights[partition] / (one.batch as f64 * sum),
                images: self.case.images(partition)?,
                targets: self.case.targets(partition)?,
                drop_draws: match learner.dropping {
                    Some(_) => Some(self.case.read(&name)?),
                    None => None,
                },
            };
            learner.gather(&mut gathered, &batch)?;
        }
        Ok(gathered)
    }

    /// The case's draws of a step, by name.
    fn draws(&self, partition: usize, step: u64) -> Result<Uniform> {
        let mut known = HashMap::new();
        for name in ["scale", "aspect", "offset", "drop"] {
            let key = format!("p{partition}.step{step}.{name}");
            if self.case.has(&key) {
                known.insert(name, self.case.read(&key)?);
            }
        }
        let file = self.case.folder.join("batch.safetensors");
        Ok(Box::new(move |name, size| {
            let key = || format!("p{partition}.step{step}.{name}");
            let drawn = known
                .get(name)
                .ok_or_else(|| Error::tensor(&file, key(), "missing; the student draws it"))?;
            if drawn.size() != size {
                let reason = format!("has shape {:?}, the student draws {size:?}", drawn.size());
                return Err(Error::tensor(&file, key(), reason));
            }
            Ok(drawn.shallow_clone())
        }))
    }

    fn weights(&self) -> Vec<f64> {
        let partitions = self.case.config.partitions.iter();
        partitions.map(|partition| partition.weight).collect()
    }

    fn train(&self, rule: Rule) -> Result<Trained> {
        let config = &self.case.config;
        let mut learner = self.learner(rule, self.case.objective())?;
        let optimiser = match rule {
            Rule::AdamW => &config.adamw,
            Rule::Lamb => &config.lamb,
        };
        let schedule = CosineSchedule {
            base: optimiser.lr,
            floor: optimiser.min_lr,
            warmup: config.warmup_steps,
            total: config.total_steps,
        };
        let mut trained = Trained {
            log: Vec::new(),
            first: StepLosses::default(),
            first_norm: 0.0,
            gradients: Vec::new(),
            start: copies(&learner),
            kept: Vec::new(),
            ema: IndexMap::new(),
            buffers: IndexMap::new(),
        };
        for step in 0..STEPS {
            let mut gathered = self.gather(&learner, step, &self.weights())?;
            let losses = learner.complete(&mut gathered)?;
            if step == 0 {
                let names = learner.parameters.iter().map(|(name, _)| name.clone());
                let gradients = learner.gradients(&gathered).iter();
                let gradients = gradients.map(|g| g.as_ref().map(|g| g.copy()));
                trained.gradients = names.zip(gradients).collect();
                if let Some(trainable) = learner.backbone.trainable() {
                    let buffers = trainable.named_buffers().into_iter();
                    trained.buffers = buffers.map(|(k, t)| (k, t.copy())).collect();
                }
            }
            let lr = schedule.rate(step);
            let updated = learner.update(gathered, lr, step)?;
            if step == 0 {
                trained.first_norm = updated.grad_norm;
                trained.first = losses.clone();
            }
            trained.log.push(json!({
                "lr": lr,
                "total": losses.total,
                "grad_norm": updated.grad_norm,
                "clip_factor": updated.clip_factor,
                "teachers": losses.teachers,
                "partitions": losses.partitions,
            }));
            if KEPT.contains(&(step + 1)) {
                trained.kept.push((step + 1, copies(&learner)));
            }
        }
        if let Some(ema) = &learner.ema {
            let names = learner.parameters.iter().map(|(name, _)| name.clone());
            let averages = ema.averages.iter().map(Tensor::shallow_clone);
            trained.ema = names.zip(averages).collect();
        }
        Ok(trained)
    }

    /// The losses of the first step under other settings.
    fn variants(&self) -> Result<Value> {
        let mut variants = Map::new();
        let mut plain = self.case.objective();
        for teacher in &mut plain.teachers {
            teacher.summary_loss = SummaryLoss::Cosine;
            teacher.standardise = Standardise::None;
            teacher.feature_loss = FeatureLoss::CosSmoothL1;
        }
        let losses = self.losses(plain, &self.weights(), None)?;
        variants.insert("plain".into(), described(&losses));
        let partitions = self.case.config.partitions.iter();
        let images: Vec<f64> = partitions.map(|p| p.batch as f64).collect();
        let losses = self.losses(self.case.objective(), &images, None)?;
        variants.insert("partitions_by_images".into(), described(&losses));
        let draws = (0..images.len()).all(|g| self.case.has(&format!("p{g}.teacher_drop")));
        if draws {
            const PROBABILITY: f64 = 0.5;
            let losses = self.losses(self.case.objective(), &images, Some(PROBABILITY))?;
            let teachers = self.case.config.teachers.len() as f64;
            variants.insert(
                "teacher_dropping".into(),
                json!({
                    "p": PROBABILITY,
                    "unic": losses.total / teachers,
                    "total": losses.total,
                }),
            );
        }
        Ok(Value::Object(variants))
    }

    fn losses(
        &self,
        objective: Objective,
        weights: &[f64],
        dropping: Option<f64>,
    ) -> Result<StepLosses> {
        let mut learner = self.learner(Rule::AdamW, objective)?;
        learner.dropping = dropping;
        let _no_grad = tch::no_grad_guard();
        let mut gathered = self.gather(&learner, 0, weights)?;
        learner.complete(&mut gathered)
    }
}

fn described(losses: &StepLosses) -> Value {
    json!({
        "total": losses.total,
        "teachers": losses.teachers,
        "partitions": losses.partitions,
    })
}

fn copies(learner: &Learner) -> IndexMap<String, Tensor> {
    let parameters = learner.parameters.iter();
    parameters
        .map(|(name, parameter)| (name.clone(), parameter.detach().copy()))
        .collect()
}

/// Every n-th row of a tensor that is large.
fn thinned(tensor: &Tensor) -> Result<Tensor> {
    let rows = tensor.size().first().copied().unwrap_or(1);
    if tensor.numel() as i64 <= WHOLE {
        return Ok(tensor.shallow_clone());
    }
    let every = (rows + ROWS - 1) / ROWS;
    Ok(tensor.f_slice(0, None, None, every)?.f_contiguous()?)
}

fn save(path: &Path, mut tensors: Vec<(String, Tensor)>) -> Result<()> {
    for (_, tensor) in &mut tensors {
        *tensor = tensor.f_to_kind(Kind::Float)?.f_contiguous()?;
    }
    let named = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
    safetensors::write(path, named, HashMap::new())
}
