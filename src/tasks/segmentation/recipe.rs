//! How a linear probe is trained and tested: presets, and overrides of every value.

use crate::heads::adamw::AdamWOptions;
use crate::heads::{Curve, Schedule};
use crate::models::{BackboneInfo, Resolved};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Where a recipe comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// The repository's mmseg configs: BN head, 80k iterations at 512 px
    RepoHead,
    /// The AM-RADIO paper (arXiv 2312.06709v5): 160k iterations, slide at 2/3 of the crop
    PaperV5,
    /// DINOv3's linear probe: 40k iterations, weight decay 1e-3, slide 512/341
    Dinov3,
    /// The miniature world's: cached features, 400 iterations, five seeds
    Mini,
    /// Cached features of up to 2,000 images, minutes on a CPU
    Quick,
}

/// Where the features that the head is trained on come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Features {
    /// Every image once, squashed to the resolution, without augmentation
    Cached,
    /// Fresh crops in every iteration, augmented as mmseg does
    Live,
}

/// How an image is brought through the network at test time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Inference {
    /// Squashed to the resolution
    Squash,
    /// Resized to `test_scale` keeping its aspect ratio, padded to the model's step
    Whole,
    /// Resized likewise, in overlapping windows whose logits are averaged
    Slide,
}

/// Every value that decides a figure. `None` values are settled by [`Recipe::settle`] from the
/// model; a record carries the settled recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    pub preset: Preset,
    pub iterations: u64,
    pub batch_size: usize,
    pub lr: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub weight_decay: f64,
    pub curve: Curve,
    pub warmup: u64,
    pub warmup_factor: f64,
    pub power: f64,
    /// Seeds of the head and of the order of images; the metric is their mean.
    pub seeds: Vec<u64>,
    pub features: Features,
    /// Side of squashed images and of crops, in pixels.
    pub resolution: Option<i64>,
    /// Cached: side of the label maps that the loss is computed on.
    pub label_size: i64,
    /// Cached: train images used, spread evenly (0: all).
    pub train_limit: usize,
    /// Live, mmseg's RandomResize: long and short edge, times a ratio.
    pub scale: [usize; 2],
    pub ratio: [f64; 2],
    pub cat_max_ratio: f64,
    pub photometric: bool,
    pub inference: Option<Inference>,
    /// Long and short edge that test images are resized within.
    pub test_scale: [usize; 2],
    /// Slide: distance of windows.
    pub stride: Option<i64>,
    /// Iterations between saved states.
    pub checkpoint_every: u64,
    /// Iterations between looks at the val split (0: none); they change nothing in the head.
    pub val_every: u64,
}

impl Preset {
    pub fn recipe(self) -> Recipe {
        let repo = Recipe {
            preset: self,
            iterations: 80_000,
            batch_size: 16,
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            weight_decay: 0.0,
            curve: Curve::Poly,
            warmup: 1_500,
            warmup_factor: 1e-6,
            power: 1.0,
            seeds: vec![0],
            features: Features::Live,
            resolution: None,
            label_size: 0,
            train_limit: 0,
            scale: [2048, 512],
            ratio: [0.5, 2.0],
            cat_max_ratio: 0.75,
            photometric: true,
            inference: None,
            test_scale: [2048, 512],
            stride: None,
            checkpoint_every: 500,
            val_every: 0,
        };
        let cached = Recipe {
            iterations: 400,
            lr: 3e-3,
            curve: Curve::Ramp,
            warmup: 20,
            warmup_factor: 0.0,
            features: Features::Cached,
            label_size: 64,
            inference: Some(Inference::Squash),
            checkpoint_every: 100,
            ..repo.clone()
        };
        match self {
            Preset::RepoHead => Recipe {
                val_every: 5_000,
                ..repo
            },
            Preset::PaperV5 => Recipe {
                iterations: 160_000,
                inference: Some(Inference::Slide),
                ..repo
            },
            Preset::Dinov3 => Recipe {
                iterations: 40_000,
                weight_decay: 1e-3,
                curve: Curve::Cosine,
                inference: Some(Inference::Slide),
                ..repo
            },
            Preset::Mini => Recipe {
                seeds: (0..5).collect(),
                ..cached
            },
            Preset::Quick => Recipe {
                iterations: 1_000,
                lr: 1e-3,
                warmup: 50,
                label_size: 128,
                train_limit: 2_000,
                ..cached
            },
        }
    }
}

impl Recipe {
    /// The preset's recipe with `overrides` by field name, later ones first.
    pub fn new(preset: Preset, overrides: &[Map<String, Value>]) -> Result<Self> {
        let mut fields = match serde_json::to_value(preset.recipe()) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        for (name, value) in overrides.iter().flatten() {
            fields.insert(name.clone(), value.clone());
        }
        let recipe: Recipe = serde_json::from_value(Value::Object(fields))
            .map_err(|e| Error::usage(format!("the recipe of the probe: {e}")))?;
        recipe.check()?;
        Ok(recipe)
    }

    fn check(&self) -> Result<()> {
        let positive = [
            ("iterations", self.iterations > 0),
            ("batch_size", self.batch_size > 0),
            ("lr", self.lr > 0.0),
            ("seeds", !self.seeds.is_empty()),
            ("checkpoint_every", self.checkpoint_every > 0),
            (
                "label_size",
                self.label_size > 0 || self.features == Features::Live,
            ),
            ("resolution", self.resolution.is_none_or(|r| r > 0)),
            ("stride", self.stride.is_none_or(|s| s > 0)),
            (
                "scale",
                self.scale.iter().chain(&self.test_scale).all(|&s| s > 0),
            ),
            (
                "ratio",
                self.ratio[0] > 0.0 && self.ratio[1] >= self.ratio[0],
            ),
        ];
        match positive.iter().find(|(_, good)| !good) {
            Some((name, _)) => Err(Error::usage(format!(
                "the recipe of the probe: `{name}` must be positive"
            ))),
            None => Ok(()),
        }
    }

    /// Fills in what depends on the model: the crop (512 px for patch 16, 518 for patch 14, the
    /// model's own where the paper says native; the preferred resolution with cached features),
    /// windows for E-RADIO, and the stride (2/3 of the crop).
    pub fn settle(mut self, model: &Resolved) -> Result<Self> {
        let info = model.backbone.info();
        let resolution = self
            .resolution
            .unwrap_or_else(|| self.default_resolution(model));
        // Live crops are padded to the step, as the RADIO config pads 512 to 518.
        if self.features == Features::Cached {
            info.check_resolution(resolution, resolution)?;
        }
        if let Some((height, _)) = info.fixed
            && height != resolution
        {
            info.check_resolution(resolution, resolution)?;
        }
        let eradio = info.architecture.starts_with("E-RADIO");
        let inference = match (self.inference, info.fixed) {
            (Some(Inference::Whole), Some(_)) => {
                return Err(Error::usage(format!(
                    "{} takes one size only, so whole images do not fit; use --inference slide or squash",
                    info.architecture
                )));
            }
            (Some(inference), _) => inference,
            (None, None) if !eradio => Inference::Whole,
            (None, _) => Inference::Slide,
        };
        self.resolution = Some(resolution);
        self.inference = Some(inference);
        self.stride = Some(self.stride.unwrap_or(resolution * 2 / 3));
        Ok(self)
    }

    /// Names of the values in which this recipe, settled for `model`, is not its preset's; what
    /// changes no figure (`checkpoint_every`, `val_every`) does not count.
    pub fn changes(&self, model: &Resolved) -> Result<Vec<String>> {
        let preset = self.preset.recipe().settle(model)?.describe();
        let own = self.describe().into_iter();
        Ok(own
            .filter(|(name, value)| preset.get(name) != Some(value))
            .map(|(name, _)| name)
            .filter(|name| !["checkpoint_every", "val_every"].contains(&name.as_str()))
            .collect())
    }

    fn default_resolution(&self, model: &Resolved) -> i64 {
        let info = model.backbone.info();
        let student = model.entry.is_some_and(|e| e.role == "student");
        match (self.features, info.fixed) {
            (_, Some((height, _))) => height,
            (Features::Cached, None) => info.preferred.0,
            (Features::Live, None) if self.preset == Preset::PaperV5 && !student => native(info),
            (Features::Live, None) => 512,
        }
    }

    /// The crop, after [`Recipe::settle`].
    pub fn crop(&self) -> i64 {
        self.resolution.unwrap_or(512)
    }

    pub fn schedule(&self) -> Schedule {
        Schedule {
            curve: self.curve,
            iterations: self.iterations,
            warmup: self.warmup,
            warmup_factor: self.warmup_factor,
            power: self.power,
        }
    }

    pub fn optimiser(&self) -> AdamWOptions {
        AdamWOptions {
            beta1: self.beta1,
            beta2: self.beta2,
            weight_decay: self.weight_decay,
            ..AdamWOptions::default()
        }
    }

    /// For records: every value by name.
    pub fn describe(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        }
    }
}

/// The paper's crop for teachers: 518 for patch 14 (DINOv2), else the model's own resolution.
fn native(info: &BackboneInfo) -> i64 {
    match info.patch {
        14 if info.architecture.contains("DINOv2") => 518,
        _ => info.preferred.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn flags_win_over_toml_over_preset() {
        let toml = map(json!({"lr": 0.5, "iterations": 10}));
        let flags = map(json!({"iterations": 20}));
        let recipe = Recipe::new(Preset::RepoHead, &[toml, flags]).unwrap();
        assert_eq!(
            (recipe.lr, recipe.iterations, recipe.batch_size),
            (0.5, 20, 16)
        );
    }

    #[test]
    fn unknown_and_impossible_values_are_told() {
        let message = |value| {
            Recipe::new(Preset::Mini, &[map(value)])
                .unwrap_err()
                .to_string()
        };
        assert!(message(json!({"batchsize": 3})).contains("unknown field `batchsize`"));
        assert!(message(json!({"batch_size": 0})).contains("`batch_size` must be positive"));
        assert!(message(json!({"seeds": []})).contains("`seeds`"));
    }
}
