//! One training step: gradients gathered over partitions and micro-batches, then one update
//! (spec/distillation.md §4 and §5).

use super::balance::{Balancer, LOG_VARIANCE};
use super::dropping;
use super::ema::Ema;
use super::objective::{ImageLosses, Objective, Target, Term};
use super::optimiser::{self, Optimiser};
use super::standardise::Statistics;
use crate::models::{Backbone, Request, backbone};
use crate::runtime::guard;
use crate::runtime::shim::Autocast;
use crate::{Error, Result};
use indexmap::IndexMap;
use tch::{Device, Kind, Tensor};

/// A student that learns.
pub struct Learner {
    pub backbone: Box<dyn Backbone>,
    /// The student's parameters by name; behind them the log-variances of balancing.
    pub parameters: Vec<(String, Tensor)>,
    pub objective: Objective,
    /// One per teacher, fp32.
    pub statistics: Vec<Statistics>,
    pub balancer: Balancer,
    pub optimiser: Optimiser,
    pub ema: Option<Ema>,
    /// Largest norm of all gradients together.
    pub clip_norm: Option<f64>,
    /// Probability that a teacher is dropped for an image.
    pub dropping: Option<f64>,
    /// Passes in fewer bits over fp32 weights.
    pub autocast: Option<Kind>,
    pub device: Device,
}

/// Images that pass the student at once.
pub struct MicroBatch {
    /// The partition they are of, for the report.
    pub partition: usize,
    /// What the sum over its images is multiplied with: ω_g / (B_g Σ ω), B_g the images of the
    /// whole partition.
    pub share: f64,
    /// `[b,3,H,W]` fp32 in `[0,1]`, on the device.
    pub images: Tensor,
    /// One per teacher; `None` where the teacher does not see this partition.
    pub targets: Vec<Option<Target>>,
    /// Uniform draws `[b,T]`, where teachers are dropped.
    pub drop_draws: Option<Tensor>,
}

/// What a step gathers before its update.
pub struct Gathered {
    terms: Vec<Term>,
    /// Per parameter.
    gradients: Vec<Option<Tensor>>,
    /// Σ share · loss per term, fp64 on the device.
    sums: Tensor,
    /// Of teacher dropping: Σ c · L and Σ c.
    dropped: Option<(Tensor, Tensor)>,
    /// Sums over images by (partition, teacher, quantity), for the report.
    reported: IndexMap<(usize, usize, &'static str), Tensor>,
    /// Images and their share, by partition.
    images: IndexMap<usize, (i64, f64)>,
    /// Terms that wait for their coefficients, with their graphs.
    waiting: Vec<Tensor>,
}

/// The numbers of a step.
#[derive(Debug, Clone, Default)]
pub struct StepLosses {
    /// What is minimised.
    pub total: f64,
    /// By teacher and quantity (`summary`, `features`, `feature_cos`, `feature_sl1`), unweighted.
    pub teachers: IndexMap<String, IndexMap<&'static str, f64>>,
    /// The same by partition.
    pub partitions: Vec<IndexMap<String, IndexMap<&'static str, f64>>>,
    /// In the order of the objective's terms.
    pub terms: Vec<f64>,
}

impl StepLosses {
    /// The first number that is not finite, with its name.
    pub fn not_finite(&self) -> Option<(String, f64)> {
        let of_teachers = self.teachers.iter().flat_map(|(teacher, values)| {
            let named = values.iter();
            named.map(move |(name, value)| (format!("{teacher}.{name}"), *value))
        });
        let mut all = of_teachers.chain([("total".to_string(), self.total)]);
        all.find(|(_, value)| !value.is_finite())
    }
}

/// What an update did.
#[derive(Debug, Clone, Copy)]
pub struct Updated {
    /// Before clipping.
    pub grad_norm: f64,
    pub clip_factor: f64,
}

impl Learner {
    /// The parameters of a student built for training, and the balancer's.
    pub fn parameters_of(
        backbone: &dyn Backbone,
        balancer: &Balancer,
    ) -> Result<Vec<(String, Tensor)>> {
        let trainable = backbone.trainable().ok_or_else(|| {
            Error::usage(format!(
                "{} was not built for training",
                backbone.info().architecture
            ))
        })?;
        let mut parameters: Vec<_> = trainable.named_parameters().into_iter().collect();
        if let Some(s) = &balancer.log_variance {
            parameters.push((LOG_VARIANCE.to_string(), s.shallow_clone()));
        }
        Ok(parameters)
    }

    /// Begins a step.
    pub fn begin(&self) -> Gathered {
        let terms = self.objective.terms();
        let options = (Kind::Double, self.device);
        Gathered {
            gradients: self.parameters.iter().map(|_| None).collect(),
            sums: Tensor::zeros([terms.len() as i64], options),
            dropped: self
                .dropping
                .map(|_| (Tensor::zeros([], options), Tensor::zeros([], options))),
            reported: IndexMap::new(),
            images: IndexMap::new(),
            waiting: Vec::new(),
            terms,
        }
    }

    /// The student's outputs for a micro-batch.
    fn forward(&self, batch: &MicroBatch) -> Result<Vec<ImageLosses>> {
        let asked = self.objective.teachers.iter().zip(&batch.targets);
        let asked = asked.filter(|(teacher, target)| teacher.is_asked() && target.is_some());
        let request = Request::adaptors(asked.map(|(teacher, _)| &teacher.name));
        let features = {
            let _autocast = self
                .autocast
                .map(|kind| Autocast::new(self.device, kind))
                .transpose()?;
            backbone::run_with_gradients(self.backbone.as_ref(), &batch.images, &request)?
        };
        guard(|| (self.objective).losses(&features, &batch.targets, &self.statistics))
    }

    /// Runs a micro-batch and adds its gradients. Without gradients (`tch::no_grad`) only its
    /// losses are noted.
    pub fn gather(&self, gathered: &mut Gathered, batch: &MicroBatch) -> Result<()> {
        let losses = self.forward(batch)?;
        let numerator = guard(|| self.note(gathered, batch, &losses))?;
        if !numerator.requires_grad() {
            return Ok(());
        }
        match self.balancer.needs_losses_first() && gathered.dropped.is_none() {
            true => gathered.waiting.push(numerator),
            false => self.backward(gathered, &numerator)?,
        }
        Ok(())
    }

    /// Adds up the numbers of a micro-batch, and gives what is to be differentiated: a scalar, or
    /// the terms `[M]` where their coefficients are not known yet.
    fn note(
        &self,
        gathered: &mut Gathered,
        batch: &MicroBatch,
        losses: &[ImageLosses],
    ) -> Result<Tensor> {
        let count = batch.images.size()[0];
        let entry = gathered.images.entry(batch.partition).or_insert((0, 0.0));
        *entry = (entry.0 + count, batch.share);
        for (teacher, losses) in losses.iter().enumerate() {
            for (name, values) in losses.named() {
                let sum = values.detach().sum(Kind::Double);
                let key = (batch.partition, teacher, name);
                match gathered.reported.get_mut(&key) {
                    Some(known) => *known = &*known + sum,
                    None => {
                        gathered.reported.insert(key, sum);
                    }
                }
            }
        }
        let zero = || Tensor::zeros([], (Kind::Float, self.device));
        let sums: Vec<Tensor> = gathered
            .terms
            .iter()
            .map(|term| match losses[term.teacher].term(term.kind) {
                Some(values) => values.sum(Kind::Float),
                None => zero(),
            })
            .collect();
        let sums = Tensor::f_stack(&sums, 0)? * batch.share;
        gathered.sums = &gathered.sums + sums.detach().to_kind(Kind::Double);
        if let (Some(probability), Some((numerator, denominator))) =
            (self.dropping, &mut gathered.dropped)
        {
            let draws = batch.drop_draws.as_ref().ok_or_else(|| {
                Error::model("teachers are dropped, and the batch brings no draws for it")
            })?;
            let weighted = weighted(&gathered.terms, losses, count, self.device)?;
            let keep = dropping::keep(&weighted, draws, probability);
            let teachers = self.objective.teachers.len() as f64;
            let sum = (&keep * &weighted).sum(Kind::Float) * (batch.share * teachers);
            *numerator = &*numerator + sum.detach().to_kind(Kind::Double);
            *denominator = &*denominator + keep.sum(Kind::Double) * batch.share;
            return Ok(sum);
        }
        if self.balancer.needs_losses_first() {
            return Ok(sums);
        }
        let coefficients = self.coefficients()?;
        Ok((sums * coefficients).sum(Kind::Float))
    }

    fn coefficients(&self) -> Result<Tensor> {
        let values = Tensor::f_from_slice(&self.balancer.coefficients()?)?;
        Ok(values.to_kind(Kind::Float).to_device(self.device))
    }

    /// Adds the gradients of `value`, a scalar.
    fn backward(&self, gathered: &mut Gathered, value: &Tensor) -> Result<()> {
        let trained =
            |(_, (name, p)): &(usize, &(String, Tensor))| p.requires_grad() && name != LOG_VARIANCE;
        let places: Vec<_> = (self.parameters.iter().enumerate())
            .filter(trained)
            .map(|(place, (_, parameter))| (place, parameter))
            .collect();
        let inputs: Vec<&Tensor> = places.iter().map(|(_, parameter)| *parameter).collect();
        let gradients = Tensor::f_run_backward(&[value], &inputs, false, false)?;
        let _no_grad = tch::no_grad_guard();
        for ((place, _), gradient) in places.iter().zip(gradients) {
            if !gradient.defined() {
                continue;
            }
            let known = &mut gathered.gradients[*place];
            *known = Some(match known.take() {
                Some(sum) => sum.f_add(&gradient)?,
                None => gradient,
            });
        }
        Ok(())
    }

    /// The numbers of the step, once every micro-batch was gathered; the gradients are then
    /// complete.
    pub fn complete(&mut self, gathered: &mut Gathered) -> Result<StepLosses> {
        let mut losses = self.read(gathered)?;
        self.balancer.observe(&losses.terms);
        if !gathered.waiting.is_empty() {
            let coefficients = self.coefficients()?;
            for sums in std::mem::take(&mut gathered.waiting) {
                let value = (sums * &coefficients).f_sum(Kind::Float)?;
                self.backward(gathered, &value)?;
            }
        }
        let _no_grad = tch::no_grad_guard();
        losses.total = match &gathered.dropped {
            Some((numerator, denominator)) => {
                let kept = denominator.f_double_value(&[])?;
                for gradient in gathered.gradients.iter_mut().flatten() {
                    *gradient = gradient.f_div_scalar(kept)?;
                }
                numerator.f_double_value(&[])? / kept
            }
            None => self.balancer.total(&losses.terms)?,
        };
        if let Some(gradient) = self.balancer.log_variance_gradient(&losses.terms)?
            && gathered.gradients.iter().any(Option::is_some)
            && let Some(last) = gathered.gradients.last_mut()
        {
            *last = Some(gradient);
        }
        Ok(losses)
    }

    /// Reads the sums back, all at once.
    fn read(&self, gathered: &Gathered) -> Result<StepLosses> {
        let terms = Vec::<f64>::try_from(&gathered.sums)?;
        let sums: Vec<&Tensor> = gathered.reported.values().collect();
        let sums = match sums.is_empty() {
            true => Vec::new(),
            false => Vec::<f64>::try_from(Tensor::f_stack(&sums, 0)?)?,
        };
        let count = gathered.images.keys().max().map_or(0, |last| last + 1);
        let mut losses = StepLosses {
            partitions: vec![IndexMap::new(); count],
            terms,
            ..StepLosses::default()
        };
        for ((partition, teacher, quantity), sum) in gathered.reported.keys().zip(sums) {
            let (images, share) = gathered.images[partition];
            let name = &self.objective.teachers[*teacher].name;
            let by_teacher = losses.partitions[*partition].entry(name.clone());
            by_teacher
                .or_default()
                .insert(quantity, sum / images as f64);
            let step = losses.teachers.entry(name.clone()).or_default();
            *step.entry(quantity).or_insert(0.0) += sum * share;
        }
        Ok(losses)
    }

    /// Gradients as the update will see them, before clipping.
    pub fn gradients<'a>(&self, gathered: &'a Gathered) -> &'a [Option<Tensor>] {
        &gathered.gradients
    }

    /// Clips, updates the parameters with rate `lr`, and their average.
    ///
    /// # Errors
    /// A gradient that is not finite; nothing is changed then.
    pub fn update(&mut self, gathered: Gathered, lr: f64, step: u64) -> Result<Updated> {
        let mut gradients = gathered.gradients;
        let grad_norm = optimiser::norm(&gradients)?;
        if !grad_norm.is_finite() {
            let name = optimiser::not_finite(&self.parameters, &gradients);
            return Err(optimiser::refuse(step, name.unwrap_or("(their sum)")));
        }
        let limit = self.clip_norm.unwrap_or(f64::INFINITY);
        let clip_factor = optimiser::clip_factor(grad_norm, limit);
        if clip_factor < 1.0 {
            for gradient in gradients.iter_mut().flatten() {
                *gradient = gradient.f_mul_scalar(clip_factor)?;
            }
        }
        self.optimiser.step(&self.parameters, &gradients, lr)?;
        if let Some(ema) = &mut self.ema {
            ema.update(&self.parameters);
        }
        Ok(Updated {
            grad_norm,
            clip_factor,
        })
    }
}

/// The weighted loss of every image and teacher, `[b,T]`.
fn weighted(terms: &[Term], losses: &[ImageLosses], count: i64, device: Device) -> Result<Tensor> {
    let of_teacher = |teacher: usize| {
        let own = terms.iter().filter(|term| term.teacher == teacher);
        own.filter_map(|term| Some(losses[teacher].term(term.kind)? * term.weight))
            .reduce(|a, b| a + b)
            .unwrap_or_else(|| Tensor::zeros([count], (Kind::Float, device)))
    };
    let columns: Vec<Tensor> = (0..losses.len()).map(of_teacher).collect();
    Ok(Tensor::f_stack(&columns, 1)?)
}
