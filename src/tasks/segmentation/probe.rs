//! A head in training: one object that takes batches, and a state on disk that it goes on from.

use super::recipe::Recipe;
use super::validation::Validated;
use crate::heads::linear_seg::StepLoss;
use crate::heads::{AdamW, LinearSegHead};
use crate::runtime::guard;
use crate::weights::safetensors;
use crate::{Error, Result};
use std::collections::HashMap;
use std::path::PathBuf;
use tch::{Device, Tensor};

/// Where a probe's state is kept, and what the state must be of.
pub struct StateFile {
    pub path: PathBuf,
    /// Hash of everything that decides the weights.
    pub identity: String,
}

pub struct Probe {
    pub head: LinearSegHead,
    optimiser: AdamW,
    /// Iterations done.
    pub iteration: u64,
    /// What validations saw on the way.
    pub validated: Vec<Validated>,
}

impl Probe {
    /// A fresh head drawn from `seed`, and libtorch's generator left just behind the draw.
    pub fn new(
        recipe: &Recipe,
        seed: u64,
        channels: i64,
        classes: i64,
        device: Device,
    ) -> Result<Self> {
        tch::manual_seed(seed as i64);
        let head = LinearSegHead::new(channels, classes, device)?;
        let optimiser = AdamW::new(recipe.optimiser(), &head.parameters());
        Ok(Probe {
            head,
            optimiser,
            iteration: 0,
            validated: Vec::new(),
        })
    }

    /// One iteration: `features` [B,C,h,w] fp32, `labels` uint8 [B,H,W].
    pub fn step(
        &mut self,
        recipe: &Recipe,
        features: &Tensor,
        labels: &Tensor,
    ) -> Result<StepLoss> {
        let lr = recipe.lr * recipe.schedule().factor(self.iteration);
        let seen = guard(|| {
            let seen = self.head.accumulate(features, labels)?;
            self.optimiser.step(&self.head.parameters(), lr);
            Ok(seen)
        })?;
        self.iteration += 1;
        Ok(seen)
    }

    /// Takes up the saved state, if there is one of this very run; else leaves the fresh head. A
    /// state that cannot be read is told and passed over: it costs time, nothing else.
    pub fn resume(&mut self, state: &StateFile, device: Device) -> Result<()> {
        if !state.path.exists() {
            return Ok(());
        }
        match self.restored(state, device) {
            Ok(Some(restored)) => *self = restored,
            Ok(None) => {}
            Err(damage) => tracing::warn!(
                "the saved state of this training cannot be used, it starts over: {damage}"
            ),
        }
        Ok(())
    }

    /// The probe of a state file; `None` if it is another run's.
    fn restored(&self, state: &StateFile, device: Device) -> Result<Option<Self>> {
        let (tensors, metadata) = safetensors::open(&state.path)?;
        if metadata.get("identity") != Some(&state.identity) {
            return Ok(None);
        }
        let lacks = |what: &str| Error::file(&state.path, format!("has no {what}"));
        let read = |name: &str| -> Result<Tensor> {
            let tensor = tensors
                .get(name)
                .ok_or_else(|| lacks(&format!("tensor `{name}`")))?;
            tensor.read(device, tensor.kind)
        };
        let iteration = metadata.get("iteration").and_then(|text| text.parse().ok());
        let iteration = iteration.ok_or_else(|| lacks("iteration"))?;
        let validated = match metadata.get("validated") {
            Some(text) => serde_json::from_str(text).map_err(|e| Error::file(&state.path, e))?,
            None => Vec::new(),
        };
        let head = LinearSegHead::from_tensors(read, device)?;
        if (head.channels(), head.classes()) != (self.head.channels(), self.head.classes()) {
            return Err(Error::file(&state.path, "is of a head of another size"));
        }
        let mut optimiser = AdamW::new(self.optimiser.options(), &head.parameters());
        optimiser.restore(iteration, read)?;
        Ok(Some(Probe {
            head,
            optimiser,
            iteration,
            validated,
        }))
    }

    /// Saves everything that the next iterations depend on.
    pub fn save(&self, state: &StateFile) -> Result<()> {
        let validated =
            serde_json::to_string(&self.validated).map_err(|e| Error::file(&state.path, e))?;
        let metadata = HashMap::from([
            ("identity".to_string(), state.identity.clone()),
            ("iteration".to_string(), self.iteration.to_string()),
            ("validated".to_string(), validated),
        ]);
        let mut tensors = self.head.tensors();
        tensors.extend(self.optimiser.state());
        let tensors = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
        safetensors::write(&state.path, tensors, metadata)
    }
}
