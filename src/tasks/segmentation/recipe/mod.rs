//! How a linear probe is trained and tested: presets, and overrides of every value.

mod preset;
mod values;

pub use preset::Preset;
pub(crate) use values::recipe_values;
pub use values::{Recipe, RecipeValues};

use crate::config::toml_file;
use crate::data::image::MAX_SIDE;
use crate::files::text;
use crate::heads::Schedule;
use crate::heads::adamw::AdamWOptions;
use crate::models::{BackboneInfo, Resolved};
use crate::runtime::limits::check_batch;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::Path;

/// Longest edge of a picture, a crop or a label map, in pixels.
const MAX_EDGE: usize = MAX_SIDE as usize;
/// More than any published probe has, and still counted in memory.
const MAX_ITERATIONS: u64 = 100_000_000;
const MAX_BATCH: usize = 65_536;

/// Where the features that the head is trained on come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrainFeatures {
    /// Every image once, squashed to the resolution, without augmentation
    Cached,
    /// Fresh crops in every iteration, augmented as mmseg does
    Live,
}

/// How an image is brought through the network at test time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Inference {
    /// Squashed to the resolution
    Squash,
    /// Resized to `test_scale` keeping its aspect ratio, padded to the model's step
    Whole,
    /// Resized likewise, in overlapping windows whose logits are averaged
    Slide,
}

impl RecipeValues {
    /// Reads a recipe file: TOML with the names of the recipe's values.
    ///
    /// # Errors
    /// [`Error::File`] where it cannot be read or is no TOML; [`Error::Usage`] for a value that no
    /// recipe has, or of another type; both with the line.
    pub fn read(path: &Path) -> Result<Self> {
        let text = text::read(path)?;
        toml_file::parse::<toml::Table>(path, &text)?;
        toml_file::parse(path, &text).map_err(Error::usage)
    }
}

impl Recipe {
    /// The preset's recipe with `values` in place of its own.
    pub fn new(preset: Preset, values: RecipeValues) -> Result<Self> {
        let recipe = preset.recipe().with(values);
        recipe.check()?;
        Ok(recipe)
    }

    fn check(&self) -> Result<()> {
        let fault = |name: &str, must: &str| {
            Err(Error::usage(format!(
                "the recipe of the probe: `{name}` must be {must}"
            )))
        };
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let positive = [
            ("batch_size", self.batch_size > 0),
            ("lr", self.lr > 0.0 && self.lr.is_finite()),
            ("seeds", !self.seeds.is_empty()),
            ("checkpoint_every", self.checkpoint_every > 0),
            (
                "label_size",
                self.label_size > 0 || self.features == TrainFeatures::Live,
            ),
            ("stride", self.stride.is_none_or(|s| s > 0)),
            (
                "ratio",
                self.ratio[0] > 0.0 && self.ratio[1] >= self.ratio[0],
            ),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, good)| !good) {
            return fault(name, "positive");
        }
        let edges = |[long, short]: [usize; 2]| {
            (1..=MAX_EDGE).contains(&long.max(short)) && long.min(short) > 0
        };
        // What is resized to: both edges of `scale`, times the largest ratio.
        let largest = self.scale[0].max(self.scale[1]) as f64 * self.ratio[1];
        let bounded = [
            (
                "iterations",
                (1..=MAX_ITERATIONS).contains(&self.iterations),
                format!("1 to {MAX_ITERATIONS}"),
            ),
            (
                "batch_size",
                self.batch_size <= MAX_BATCH,
                format!("1 to {MAX_BATCH}"),
            ),
            (
                "resolution",
                self.resolution
                    .is_none_or(|r| (1..=MAX_EDGE as i64).contains(&r)),
                format!("1 to {MAX_EDGE} pixels"),
            ),
            (
                "label_size",
                (0..=MAX_EDGE as i64).contains(&self.label_size),
                format!("1 to {MAX_EDGE} pixels"),
            ),
            (
                "scale",
                edges(self.scale),
                format!("positive and at most {MAX_EDGE} pixels"),
            ),
            (
                "test_scale",
                edges(self.test_scale),
                format!("positive and at most {MAX_EDGE} pixels"),
            ),
            (
                "ratio",
                largest <= MAX_EDGE as f64,
                format!("such that `scale` times it stays within {MAX_EDGE} pixels"),
            ),
            (
                "cat_max_ratio",
                share(self.cat_max_ratio),
                "between 0 and 1".into(),
            ),
            (
                "warmup_factor",
                share(self.warmup_factor),
                "between 0 and 1".into(),
            ),
            (
                "beta1",
                share(self.beta1) && self.beta1 < 1.0,
                "at least 0 and below 1".into(),
            ),
            (
                "beta2",
                share(self.beta2) && self.beta2 < 1.0,
                "at least 0 and below 1".into(),
            ),
            (
                "weight_decay",
                self.weight_decay >= 0.0 && self.weight_decay.is_finite(),
                "0 or more".into(),
            ),
            (
                "power",
                self.power >= 0.0 && self.power.is_finite(),
                "0 or more".into(),
            ),
        ];
        match bounded.iter().find(|(_, good, _)| !good) {
            Some((name, _, must)) => fault(name, must),
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
        if self.features == TrainFeatures::Cached {
            info.check_resolution(resolution, resolution)?;
        }
        if resolution < info.step {
            return Err(Error::usage(format!(
                "--resolution {resolution} is less than {}'s step of {} pixels; use at least that",
                info.architecture, info.step
            )));
        }
        check_batch(self.batch_size, resolution, resolution)?;
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
        self.stride = Some(self.stride.unwrap_or((resolution * 2 / 3).max(1)));
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
            (TrainFeatures::Cached, None) => info.preferred.0,
            (TrainFeatures::Live, None) if self.preset == Preset::PaperV5 && !student => {
                native(info)
            }
            (TrainFeatures::Live, None) => 512,
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

    fn values(text: &str) -> Result<RecipeValues> {
        toml_file::parse(Path::new("recipe.toml"), text)
    }

    #[test]
    fn flags_win_over_toml_over_preset() {
        let toml = values("lr = 0.5\niterations = 10\nscale = [300, 200]").unwrap();
        let flags = RecipeValues {
            iterations: Some(20),
            ..RecipeValues::default()
        };
        let recipe = Recipe::new(Preset::RepoHead, flags.or(toml)).unwrap();
        assert_eq!(
            (recipe.lr, recipe.iterations, recipe.batch_size),
            (0.5, 20, 16)
        );
        assert_eq!((recipe.scale, recipe.resolution), ([300, 200], None));
    }

    #[test]
    fn unknown_and_impossible_values_are_told() {
        let message = |text: &str| {
            values(text)
                .and_then(|values| Recipe::new(Preset::Mini, values))
                .unwrap_err()
                .to_string()
        };
        assert!(message("lr = 1\nbatchsize = 3").contains("line 2: unknown field `batchsize`"));
        assert!(message("batch_size = 0").contains("`batch_size` must be positive"));
        assert!(message("seeds = []").contains("`seeds`"));
    }

    #[test]
    fn values_that_no_machine_can_hold_are_refused() {
        for text in [
            "iterations = 10_000_000_000_000",
            "ratio = [1.0, 100_000.0]",
            "scale = [1_000_000, 1_000_000]",
            "test_scale = [1_000_000, 512]",
            "resolution = 1_000_000",
            "batch_size = 1_000_000",
            "lr = inf",
            "beta1 = 1.0",
            "cat_max_ratio = -1.0",
        ] {
            let name = text.split_once(' ').unwrap().0;
            let error = Recipe::new(Preset::RepoHead, values(text).unwrap()).unwrap_err();
            assert!(matches!(error, Error::Usage(_)), "{text}");
            assert!(error.to_string().contains(&format!("`{name}`")), "{error}");
        }
    }

    #[test]
    fn a_record_names_every_value_that_a_file_may_give() {
        let described = Preset::PaperV5.recipe().describe();
        let given = values("preset = \"paper-v5\"\nnone = 1").unwrap_err();
        for name in described.keys() {
            assert!(given.to_string().contains(&format!("`{name}`")), "{name}");
        }
    }
}
