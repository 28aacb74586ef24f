//! All seeds of a recipe, on cached or live features.

use super::features::SpatialFeatures;
use super::probe::StateFile;
use super::recipe::{Features, Recipe};
use super::{Options, cached, live};
use crate::data::Source;
use crate::data::fingerprint::fingerprint;
use crate::data::segmentation::{PairSet, Segmentation};
use crate::heads::LinearSegHead;
use crate::report::ModelPart;
use crate::runtime::{Runtime, home};
use crate::weights::hash::hex;
use crate::{Error, Result};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::time::Instant;

/// Everything that training needs.
pub struct Training<'a> {
    pub features: &'a SpatialFeatures<'a>,
    pub data: &'a Segmentation,
    pub recipe: &'a Recipe,
    pub part: &'a ModelPart,
    pub options: &'a Options,
    pub runtime: &'a Runtime,
}

/// Heads by seed, the train images used, and seconds by stage.
pub type Trained = (
    Vec<(u64, LinearSegHead)>,
    Vec<usize>,
    Vec<(&'static str, f64)>,
);

impl Training<'_> {
    /// Trains every seed of the recipe, going on from saved states.
    pub fn run(&self) -> Result<Trained> {
        match self.recipe.features {
            Features::Cached => self.cached(),
            Features::Live => self.live(),
        }
    }

    fn cached(&self) -> Result<Trained> {
        let train = self.data.need_train()?;
        let (recipe, runtime, show) = (self.recipe, self.runtime, self.options.show);
        let classes = self.data.rule.classes.len() as i64;
        let started = Instant::now();
        let cached = cached::extract(self.features, train, recipe, runtime, show)?;
        let extracted = started.elapsed().as_secs_f64();
        let started = Instant::now();
        let mut heads = Vec::new();
        for &seed in &recipe.seeds {
            let state = self.state(seed, train, &cached.indices)?;
            let probe = cached.train(recipe, seed, classes, &state, runtime, show)?;
            heads.push((seed, probe.head));
        }
        let training = started.elapsed().as_secs_f64();
        let stages = vec![("features", extracted), ("training", training)];
        Ok((heads, cached.indices, stages))
    }

    fn live(&self) -> Result<Trained> {
        let train = self.data.need_train()?;
        let indices: Vec<usize> = (0..train.len()).collect();
        let (recipe, runtime, show) = (self.recipe, self.runtime, self.options.show);
        let mut heads = Vec::new();
        let mut stages = Vec::new();
        for &seed in &recipe.seeds {
            let state = self.state(seed, train, &indices)?;
            let (probe, spent) =
                live::train(self.features, train, recipe, seed, &state, runtime, show)?;
            heads.push((seed, probe.head));
            stages.extend([
                ("data wait", spent.data),
                ("forward", spent.forward),
                ("head", spent.head),
            ]);
        }
        Ok((heads, indices, stages))
    }

    /// The state of one seed's run, in a file named by all that decides its weights.
    fn state(&self, seed: u64, train: &PairSet, indices: &[usize]) -> Result<StateFile> {
        let mut recipe = self.recipe.describe();
        // These change nothing in the head of one seed.
        for name in [
            "seeds",
            "inference",
            "test_scale",
            "stride",
            "checkpoint_every",
        ] {
            recipe.shift_remove(name);
        }
        let identity = json!({
            "recipe": recipe,
            "seed": seed,
            "weights": self.part.sha256.as_ref().unwrap_or(&self.part.weights),
            "architecture": self.part.architecture,
            "settings": self.part.settings,
            "adaptor": self.options.adaptor,
            "precision": self.runtime.precision,
            "device": self.runtime.device.is_cuda(),
            "classes": self.data.rule.classes,
            "train": fingerprint(train, indices),
        });
        let identity = hex(&Sha256::digest(identity.to_string()));
        let path = home()
            .join("cache/segmentation")
            .join(format!("{}.safetensors", &identity[..32]));
        if self.options.restart && path.exists() {
            std::fs::remove_file(&path).map_err(|e| Error::file(&path, e))?;
        }
        Ok(StateFile { path, identity })
    }
}
