//! A detector in training: one object that takes batches, and a state on disk that it goes on from.

use super::recipe::Recipe;
use crate::heads::AdamW;
use crate::heads::adamw::AdamWOptions;
use crate::heads::detection::detector::clip_gradients;
use crate::heads::detection::{Detector, DetectorOptions, Images, Sampler, Stage, Target};
use crate::rng::Rng;
use crate::runtime::shim::Autocast;
use crate::runtime::{Precision, guard};
use crate::weights::safetensors;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::PathBuf;
use tch::{Device, Kind, Tensor};

/// The stream of random numbers, out of a seed's, that samples.
const SAMPLING: u64 = 3;

/// Where a detector's state is kept, and what the state must be of.
pub struct StateFile {
    pub path: PathBuf,
    /// Hash of everything that decides the parameters.
    pub identity: String,
    /// For whoever lists what is kept.
    pub model: String,
    pub iterations: u64,
}

/// One point of the curve. AP in percent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Validated {
    /// Iterations done.
    pub iteration: u64,
    pub box_ap: f64,
    pub mask_ap: Option<f64>,
}

pub struct Trainer {
    pub detector: Detector,
    /// Of parameters with weight decay, and of norms, which have none.
    optimisers: [AdamW; 2],
    parameters: [Vec<Tensor>; 2],
    /// The moving average, in the order of the detector's parameters.
    average: Option<Vec<Tensor>>,
    /// Updates done.
    pub iteration: u64,
    /// What evaluations saw on the way.
    pub validated: Vec<Validated>,
}

/// What one step saw, still on the device.
pub struct StepSeen {
    /// Names of the losses, and their values in one tensor; the gradients' norm behind them.
    names: Vec<&'static str>,
    values: Tensor,
}

impl StepSeen {
    /// The losses by name, and `norm`; on CUDA this waits for the device.
    pub fn read(&self) -> Result<Vec<(&'static str, f64)>> {
        let values = Vec::<f64>::try_from(self.values.f_to_kind(Kind::Double)?)?;
        let names = self.names.iter().copied().chain(["norm"]);
        Ok(names.zip(values).collect())
    }
}

impl Trainer {
    /// A fresh detector drawn from the recipe's seed.
    pub fn new(recipe: &Recipe, options: DetectorOptions, device: Device) -> Result<Self> {
        tch::manual_seed(recipe.seed as i64);
        Ok(Self::around(recipe, Detector::new(options, device, None)?))
    }

    fn around(recipe: &Recipe, detector: Detector) -> Self {
        let all = detector.parameters();
        // A norm's weight is the only weight of one axis; its bias stands beside it.
        let is_norm = |name: &str| {
            let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
            all.get(&format!("{stem}.weight"))
                .is_some_and(|weight| weight.dim() == 1)
        };
        let mut parameters = [Vec::new(), Vec::new()];
        for (name, tensor) in all {
            parameters[usize::from(is_norm(name))].push(tensor.shallow_clone());
        }
        let adamw = |list: &[Tensor], weight_decay: f64| {
            let options = AdamWOptions {
                weight_decay,
                ..recipe.optimiser()
            };
            AdamW::new(options, &list.iter().collect::<Vec<_>>())
        };
        Trainer {
            optimisers: [
                adamw(&parameters[0], recipe.weight_decay),
                adamw(&parameters[1], 0.0),
            ],
            average: (recipe.ema > 0.0)
                .then(|| all.values().map(|tensor| tensor.detach().copy()).collect()),
            detector,
            parameters,
            iteration: 0,
            validated: Vec::new(),
        }
    }

    /// One update. `map` `[B,C,h,w]` fp32, without gradients.
    pub fn step(
        &mut self,
        recipe: &Recipe,
        iterations: u64,
        map: &Tensor,
        images: &Images,
        targets: &[Target],
    ) -> Result<StepSeen> {
        let lr = recipe.peak_lr() * recipe.schedule(iterations).factor(self.iteration);
        let mut sampler = RandomSampler {
            seed: recipe.seed,
            iteration: self.iteration,
        };
        let losses = {
            let _fewer_bits = match recipe.head_precision {
                Precision::Fp32 => None,
                precision => Some(Autocast::new(map.device(), precision.kind())?),
            };
            self.detector.losses(map, images, targets, &mut sampler)?
        };
        let seen = guard(|| {
            losses.total().backward();
            for parameter in self.parameters.iter().flatten() {
                // A step without any object gives the mask head nothing.
                if !parameter.grad().defined() {
                    (parameter * 0.0).sum(Kind::Float).backward();
                }
            }
            let all: Vec<&Tensor> = self.parameters.iter().flatten().collect();
            let norm = clip_gradients(&all, recipe.clip)?;
            for (optimiser, list) in self.optimisers.iter_mut().zip(&self.parameters) {
                optimiser.step(&list.iter().collect::<Vec<_>>(), lr);
            }
            let named = losses.named();
            let mut values: Vec<Tensor> = named.iter().map(|(_, loss)| loss.detach()).collect();
            values.push(norm);
            Ok(StepSeen {
                names: named.iter().map(|(name, _)| *name).collect(),
                values: Tensor::f_stack(&values, 0)?,
            })
        })?;
        if let Some(average) = &mut self.average {
            let _no_grad = tch::no_grad_guard();
            for (mean, own) in average.iter_mut().zip(self.detector.parameters().values()) {
                let _ = mean.f_lerp_(own, 1.0 - recipe.ema)?;
            }
        }
        self.iteration += 1;
        Ok(seen)
    }

    /// The detector to be evaluated: of the averaged parameters, where there are any.
    pub fn evaluated(&self) -> Result<Option<Detector>> {
        let Some(average) = &self.average else {
            return Ok(None);
        };
        let names = self.detector.parameters().keys();
        let by_name: HashMap<&str, &Tensor> = names.map(String::as_str).zip(average).collect();
        let read = |name: &str| Ok(by_name.get(name).map(|tensor| tensor.shallow_clone()));
        let options = self.detector.options().clone();
        let device = average.first().map_or(Device::Cpu, Tensor::device);
        Detector::new(options, device, Some(&read)).map(Some)
    }

    /// Takes up the saved state, if there is one of this very run; else leaves the fresh detector.
    /// A state that cannot be read is told and passed over: it costs time, nothing else.
    pub fn resume(&mut self, recipe: &Recipe, state: &StateFile, device: Device) {
        if !state.path.exists() {
            return;
        }
        match self.restored(recipe, state, device) {
            Ok(Some(restored)) => *self = restored,
            Ok(None) => {}
            Err(damage) => tracing::warn!(
                "the saved state of this training cannot be used, it starts over: {damage}"
            ),
        }
    }

    fn restored(&self, recipe: &Recipe, state: &StateFile, device: Device) -> Result<Option<Self>> {
        let (tensors, metadata) = safetensors::open(&state.path)?;
        if metadata.get("identity") != Some(&state.identity) {
            return Ok(None);
        }
        let lacks = |what: &str| Error::file(&state.path, format!("has no {what}"));
        let find = |name: &str| -> Result<Option<Tensor>> {
            let stored = tensors.get(name);
            stored
                .map(|tensor| tensor.read(device, tensor.kind))
                .transpose()
        };
        let need = |name: &str| find(name)?.ok_or_else(|| lacks(&format!("tensor `{name}`")));
        let read = |name: &str| find(&format!("detector.{name}"));
        let detector = Detector::new(self.detector.options().clone(), device, Some(&read))?;
        let iteration = metadata.get("iteration").and_then(|text| text.parse().ok());
        let validated = metadata
            .get("validated")
            .ok_or_else(|| lacks("validated"))?;
        let mut restored = Self::around(recipe, detector);
        restored.iteration = iteration.ok_or_else(|| lacks("iteration"))?;
        restored.validated =
            serde_json::from_str(validated).map_err(|e| Error::file(&state.path, e))?;
        for (group, optimiser) in restored.optimisers.iter_mut().enumerate() {
            optimiser.restore(restored.iteration, |name| need(&format!("{group}.{name}")))?;
        }
        if let Some(average) = &mut restored.average {
            for (mean, name) in average
                .iter_mut()
                .zip(restored.detector.parameters().keys())
            {
                mean.f_copy_(&need(&format!("average.{name}"))?)?;
            }
        }
        Ok(Some(restored))
    }

    /// Saves everything that the next iterations depend on.
    pub fn save(&self, state: &StateFile) -> Result<()> {
        let validated =
            serde_json::to_string(&self.validated).map_err(|e| Error::file(&state.path, e))?;
        let metadata = HashMap::from([
            ("identity".to_string(), state.identity.clone()),
            ("model".to_string(), state.model.clone()),
            ("iterations".to_string(), state.iterations.to_string()),
            ("iteration".to_string(), self.iteration.to_string()),
            ("validated".to_string(), validated),
        ]);
        let mut tensors = Vec::new();
        for (i, (name, tensor)) in self.detector.parameters().iter().enumerate() {
            tensors.push((format!("detector.{name}"), tensor.detach()));
            if let Some(average) = &self.average {
                tensors.push((format!("average.{name}"), average[i].shallow_clone()));
            }
        }
        for (group, optimiser) in self.optimisers.iter().enumerate() {
            let state = optimiser.state().into_iter();
            tensors.extend(state.map(|(name, tensor)| (format!("{group}.{name}"), tensor)));
        }
        let tensors = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
        safetensors::write(&state.path, tensors, metadata)
    }
}

/// Draws by (seed, iteration, stage, image): a resumed run draws what an uninterrupted one does.
struct RandomSampler {
    seed: u64,
    iteration: u64,
}

impl Sampler for RandomSampler {
    fn choose(
        &mut self,
        stage: Stage,
        image: usize,
        positive: &[i64],
        negative: &[i64],
        (positives, negatives): (usize, usize),
    ) -> (Vec<i64>, Vec<i64>) {
        let stage = match stage {
            Stage::Anchors => 0,
            Stage::Proposals => 1,
        };
        let mut rng = Rng::new(&[self.seed, SAMPLING, self.iteration, stage, image as u64]);
        let chosen = draw(positive, positives, &mut rng);
        let others = draw(negative, negatives, &mut rng);
        (chosen, others)
    }
}

/// `count` of `list`, each at most once (the first steps of Fisher and Yates).
fn draw(list: &[i64], count: usize, rng: &mut Rng) -> Vec<i64> {
    let mut list = list.to_vec();
    for i in 0..count {
        let other = i + rng.below(list.len() - i);
        list.swap(i, other);
    }
    list.truncate(count);
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heads::detection::HeadKind;
    use crate::tasks::detection::recipe::Preset;

    const CPU: (Kind, Device) = (Kind::Float, Device::Cpu);

    /// A map `[2,8,4,4]` and two objects with masks, others in every step.
    fn batch(step: u64) -> (Tensor, Images, Vec<Target>) {
        let numbers = Tensor::arange(2 * 8 * 4 * 4, CPU) * (step + 1) as f64;
        let map = numbers.sin().view([2, 8, 4, 4]);
        let side = 20.0 + step as f32;
        let target = |x: f32| {
            let masks = Tensor::zeros([1, 64, 64], (Kind::Uint8, Device::Cpu));
            let _ = masks.narrow(1, 4, 20).narrow(2, x as i64, 20).fill_(1);
            Target {
                boxes: Tensor::from_slice(&[x, 4.0, x + side, 24.0]).view([1, 4]),
                labels: Tensor::from_slice(&[2i64]),
                masks: Some(masks),
            }
        };
        let images = Images {
            padded: (64, 64),
            sizes: vec![(64, 64); 2],
        };
        (map, images, vec![target(3.0), target(30.0)])
    }

    fn recipe() -> Recipe {
        Recipe {
            resolution: 64,
            channels: 8,
            hidden: 16,
            box_batch: 8,
            anchor_batch: 16,
            warmup: 2,
            ema: 0.5,
            ..Recipe::new(Preset::Mini, HeadKind::MaskVitdet)
        }
    }

    fn train(trainer: &mut Trainer, recipe: &Recipe, steps: std::ops::Range<u64>) -> Vec<f64> {
        let losses = steps.map(|step| {
            let (map, images, targets) = batch(step);
            let seen = trainer.step(recipe, 6, &map, &images, &targets).unwrap();
            seen.read().unwrap().iter().map(|(_, value)| value).sum()
        });
        losses.collect()
    }

    #[test]
    fn a_resumed_training_ends_where_an_uninterrupted_one_does() {
        let recipe = recipe();
        // Drawn once: other tests draw from libtorch's generator too.
        let start = Trainer::new(&recipe, recipe.detector(8, 3), Device::Cpu).unwrap();
        let fresh = || {
            let drawn = start.detector.parameters();
            let read = |name: &str| Ok(drawn.get(name).map(|tensor| tensor.detach().copy()));
            let options = recipe.detector(8, 3);
            let detector = Detector::new(options, Device::Cpu, Some(&read)).unwrap();
            Trainer::around(&recipe, detector)
        };
        let mut whole = fresh();
        let losses = train(&mut whole, &recipe, 0..6);
        assert!(losses.iter().all(|loss| loss.is_finite()), "{losses:?}");

        let folder = tempfile::tempdir().unwrap();
        let state = StateFile {
            path: folder.path().join("state.safetensors"),
            identity: "this run".into(),
            model: "model".into(),
            iterations: 6,
        };
        let mut first = fresh();
        train(&mut first, &recipe, 0..3);
        first.validated.push(Validated {
            iteration: 3,
            box_ap: 0.1 + 0.2,
            mask_ap: None,
        });
        first.save(&state).unwrap();
        let mut second = fresh();
        second.resume(&recipe, &state, Device::Cpu);
        assert_eq!((second.iteration, &second.validated), (3, &first.validated));
        assert_eq!(train(&mut second, &recipe, 3..6), losses[3..]);
        let averages = [&whole, &second].map(|t| t.evaluated().unwrap().unwrap());
        for (name, expected) in whole.detector.parameters() {
            assert!(second.detector.parameters()[name].equal(expected), "{name}");
            let [own, other] = averages.each_ref().map(|d| &d.parameters()[name]);
            assert!(own.equal(other) && !own.equal(expected), "{name}");
        }

        // Another run's state is left alone.
        let mut third = fresh();
        let other = StateFile {
            identity: "another run".into(),
            ..state
        };
        third.resume(&recipe, &other, Device::Cpu);
        assert_eq!(third.iteration, 0);
    }

    #[test]
    fn norms_have_no_weight_decay() {
        let recipe = recipe();
        let trainer = Trainer::new(&recipe, recipe.detector(8, 3), Device::Cpu).unwrap();
        let names = trainer.detector.parameters().keys();
        let norms = names
            .filter(|name| name.contains("norm") || name.contains("simfp_2.1."))
            .count();
        // Those of the box head and the mask head stand at `.1.`.
        assert_eq!(trainer.parameters[1].len(), norms + 2 * (4 + 4));
        assert!(trainer.parameters[1].iter().all(|tensor| tensor.dim() == 1));
    }

    #[test]
    fn draws_are_without_repetition_and_reproducible() {
        let list: Vec<i64> = (0..50).collect();
        let one = |image| {
            let mut sampler = RandomSampler {
                seed: 1,
                iteration: 7,
            };
            sampler.choose(Stage::Anchors, image, &list, &list[..3], (20, 3))
        };
        let (mut chosen, others) = one(0);
        assert_eq!((one(0).0, others.len()), (chosen.clone(), 3));
        assert_ne!(one(1).0, chosen);
        chosen.sort_unstable();
        chosen.dedup();
        assert_eq!(chosen.len(), 20);
    }
}
