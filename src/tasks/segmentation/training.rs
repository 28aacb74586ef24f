//! All seeds of a recipe, on cached or live features.

use super::course::{Course, Run};
use super::probe::StateFile;
use super::recipe::{Recipe, TrainFeatures};
use super::validation::{Validated, Validation};
use super::{Options, cached, live};
use crate::data::Source;
use crate::data::segmentation::{PairSet, Segmentation};
use crate::hash::sha256;
use crate::heads::LinearSegHead;
use crate::runtime::{Runtime, home};
use crate::tasks::spatial::SpatialFeatures;
use crate::{Error, Result};
use serde_json::{Value, json};
use std::time::Instant;

/// Everything that training needs.
pub struct Training<'a> {
    pub features: &'a SpatialFeatures<'a>,
    pub data: &'a Segmentation,
    pub recipe: &'a Recipe,
    /// What decides the network's outputs.
    pub network: Value,
    /// Hashes of all images and masks.
    pub train_images: &'a str,
    pub val_images: &'a str,
    pub options: &'a Options,
    pub runtime: &'a Runtime,
}

/// What training made.
#[derive(Default)]
pub struct Trained {
    /// By seed.
    pub heads: Vec<(u64, LinearSegHead)>,
    /// What validations saw on the way.
    pub validated: Vec<Validated>,
    /// The train images used.
    pub indices: Vec<usize>,
    /// Seconds by stage; a stage may be there once for every seed.
    pub stages: Vec<(&'static str, f64)>,
}

impl Trained {
    fn add(&mut self, seed: u64, course: Course) {
        if course.validation_s > 0.0 {
            self.stages.push(("validation", course.validation_s));
        }
        let (head, validated) = course.finish();
        self.heads.push((seed, head));
        self.validated.extend(validated);
    }
}

/// The train images that a recipe uses.
pub fn indices(recipe: &Recipe, train: &PairSet) -> Vec<usize> {
    match recipe.features {
        TrainFeatures::Cached => cached::indices(recipe, train.len()),
        TrainFeatures::Live => (0..train.len()).collect(),
    }
}

impl Training<'_> {
    /// Trains every seed of the recipe, going on from saved states.
    pub fn run(&self) -> Result<Trained> {
        match self.recipe.features {
            TrainFeatures::Cached => self.cached(),
            TrainFeatures::Live => self.live(),
        }
    }

    fn cached(&self) -> Result<Trained> {
        let train = self.data.need_train()?;
        let started = Instant::now();
        let cached = cached::extract(self, train)?;
        let mut trained = Trained::default();
        let extracted = started.elapsed().as_secs_f64();
        trained.stages.push(("features", extracted));
        for &seed in &self.recipe.seeds {
            let state = self.state(seed)?;
            let run = self.course(seed, &state)?;
            let started = Instant::now();
            let course = cached.train(&run)?;
            let seconds = started.elapsed().as_secs_f64() - course.validation_s;
            trained.stages.push(("training", seconds));
            trained.add(seed, course);
        }
        trained.indices = cached.indices;
        Ok(trained)
    }

    fn live(&self) -> Result<Trained> {
        let train = self.data.need_train()?;
        let mut trained = Trained {
            indices: indices(self.recipe, train),
            ..Trained::default()
        };
        for &seed in &self.recipe.seeds {
            let state = self.state(seed)?;
            let run = self.course(seed, &state)?;
            let (course, spent) = live::train(self.features, train, &run)?;
            trained.stages.extend([
                ("data wait", spent.data),
                ("forward", spent.forward),
                ("head", course.head_s),
            ]);
            trained.add(seed, course);
        }
        Ok(trained)
    }

    fn course<'a>(&'a self, seed: u64, state: &'a StateFile) -> Result<Run<'a>> {
        Ok(Run {
            recipe: self.recipe,
            seed,
            classes: self.data.rule.classes.len() as i64,
            state,
            validation: Validation {
                features: self.features,
                recipe: self.recipe,
                val: self.data.need_val()?,
                runtime: self.runtime,
            },
            runtime: self.runtime,
            show: self.options.show,
        })
    }

    /// The state of one seed's run, in a file named by all that decides its weights (and the
    /// curve on the way to them).
    fn state(&self, seed: u64) -> Result<StateFile> {
        let mut recipe = self.recipe.describe();
        // These change nothing in the head of one seed; how the val split is looked at changes
        // the curve, where there is one.
        for name in ["seeds", "checkpoint_every"] {
            recipe.shift_remove(name);
        }
        let validated = self.recipe.val_every > 0;
        if !validated {
            for name in ["inference", "test_scale", "stride", "val_every"] {
                recipe.shift_remove(name);
            }
        }
        let identity = json!({
            "recipe": recipe,
            "seed": seed,
            "network": self.network,
            "adaptor": self.options.adaptor,
            "classes": self.data.rule.classes,
            "train": self.train_images,
            "val": validated.then_some(self.val_images),
        });
        let identity = sha256(identity.to_string());
        let path = home()
            .join("cache/segmentation")
            .join(format!("{}.safetensors", &identity[..32]));
        if self.options.restart && path.exists() {
            std::fs::remove_file(&path).map_err(|e| Error::file(&path, e))?;
        }
        Ok(StateFile {
            path,
            identity,
            model: self.features.model.name.clone(),
            iterations: self.recipe.iterations,
        })
    }
}
