//! Per-channel normalisation of `[0,1]` pixels, and where its constants come from.

use super::BuildOptions;
use super::options::by_flag;
use crate::files::text;
use crate::weights::Checkpoint;
use crate::{Error, Result};
use serde_json::{Map, Value, json};
use tch::{Device, Kind, Tensor};

/// (mean, standard deviation) per channel, for pixels in `[0,1]`.
pub type MeanStd = ([f64; 3], [f64; 3]);

/// OpenAI CLIP and the open_clip models after it (open_clip `OPENAI_DATASET_MEAN/STD`).
pub const CLIP: MeanStd = (
    [0.48145466, 0.4578275, 0.40821073],
    [0.26862954, 0.26130258, 0.27577711],
);
/// SigLIP and SigLIP2 (timm `IMAGENET_INCEPTION_MEAN/STD`).
pub const HALF: MeanStd = ([0.5; 3], [0.5; 3]);
/// DINOv2, DINOv3, InternViT (timm `IMAGENET_DEFAULT_MEAN/STD`).
pub const IMAGENET: MeanStd = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);

/// (x - mean) / std in fp32, then the run's precision.
pub struct Normalise {
    mean: Tensor,
    std: Tensor,
    kind: Kind,
    /// Red, green and blue in `[0,1]` that become exactly zero.
    pub zero: [f64; 3],
}

impl Normalise {
    pub fn new((mean, std): MeanStd, device: Device, kind: Kind) -> Self {
        let channel = |values: [f64; 3]| {
            Tensor::from_slice(&values)
                .to_kind(Kind::Float)
                .view([1, 3, 1, 1])
                .to_device(device)
        };
        Normalise {
            mean: channel(mean),
            std: channel(std),
            kind,
            zero: mean,
        }
    }

    /// x: `[B,3,H,W]` in `[0,1]`
    pub fn forward(&self, x: &Tensor) -> Tensor {
        ((x.to_kind(Kind::Float) - &self.mean) / &self.std).to_kind(self.kind)
    }
}

/// Constants with where they come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Constants {
    pub mean_std: MeanStd,
    /// For the record: `--mean, --std`, a file's name, or that they are the architecture's.
    pub source: String,
    /// Whether the user gave any of them.
    pub by_flag: bool,
}

impl Constants {
    /// Those that nobody asked for.
    pub fn new(mean_std: MeanStd, source: impl Into<String>) -> Self {
        Constants {
            mean_std,
            source: source.into(),
            by_flag: false,
        }
    }

    /// `found` by the architecture, unless the user says otherwise.
    ///
    /// # Errors
    /// A standard deviation that is not positive, a value that is no number.
    pub fn of_user_or(options: &BuildOptions, found: Constants) -> Result<Self> {
        let (mean, std) = found.mean_std;
        let given = (options.mean, options.std);
        let constants = match given {
            (None, None) => found,
            _ => Constants {
                mean_std: (given.0.unwrap_or(mean), given.1.unwrap_or(std)),
                by_flag: true,
                source: match given {
                    (Some(_), Some(_)) => "--mean, --std".into(),
                    (Some(_), None) => format!("--mean; std: {}", found.source),
                    _ => format!("--std; mean: {}", found.source),
                },
            },
        };
        let (mean, std) = constants.mean_std;
        if mean.iter().all(|m| m.is_finite()) && std.iter().all(|s| s.is_finite() && *s > 0.0) {
            return Ok(constants);
        }
        Err(Error::usage(format!(
            "pixels cannot be normalised by mean {mean:?} and std {std:?} ({}): the standard deviations must be positive",
            constants.source
        )))
    }

    /// What a checkpoint brings along (open_clip's `preprocess_cfg`, a transformers
    /// `preprocessor_config.json` beside the weights, bare `mean`/`std`), else `default`; the user's
    /// own where given.
    pub fn from_checkpoint(
        checkpoint: &Checkpoint,
        options: &BuildOptions,
        default: MeanStd,
    ) -> Result<Self> {
        let found = brought(checkpoint).unwrap_or_else(|| {
            let source = "the architecture's own, as nothing beside the weights says others";
            Constants::new(default, source)
        });
        Self::of_user_or(options, found)
    }

    /// Writes them down among the settings of a record.
    pub fn note(&self, settings: &mut Map<String, Value>) {
        let (mean, std) = self.mean_std;
        settings.insert("mean".into(), json!(mean));
        settings.insert("std".into(), json!(std));
        let from = match self.by_flag {
            true => by_flag(self.source.as_str()),
            false => json!(self.source),
        };
        settings.insert("mean_and_std_from".into(), from);
    }
}

/// The constants in the config or in the processor's config beside the weights.
fn brought(checkpoint: &Checkpoint) -> Option<Constants> {
    let config = &checkpoint.config;
    let folder = match checkpoint.path.is_dir() {
        true => Some(checkpoint.path.as_path()),
        false => checkpoint.path.parent(),
    };
    let processor = || text::read_json::<Value>(&folder?.join(PROCESSOR)).ok();
    let own =
        |holder: &Value, mean: &str, std: &str| Some((three(&holder[mean])?, three(&holder[std])?));
    // segment-anything's are for 0..255.
    let bytes = || {
        own(config, "pixel_mean", "pixel_std")
            .map(|(mean, std)| (mean.map(|v| v / 255.0), std.map(|v| v / 255.0)))
    };
    let in_config = own(&config["preprocess_cfg"], "mean", "std")
        .or_else(bytes)
        .or_else(|| own(&config["pretrained_cfg"], "mean", "std"))
        .or_else(|| own(config, "mean", "std"))
        .map(|mean_std| Constants::new(mean_std, "the config"));
    in_config.or_else(|| {
        let mean_std = own(&processor()?, "image_mean", "image_std")?;
        Some(Constants::new(mean_std, PROCESSOR))
    })
}

/// transformers' file about pixels.
const PROCESSOR: &str = "preprocessor_config.json";

fn three(value: &Value) -> Option<[f64; 3]> {
    let values: Vec<f64> = value.as_array()?.iter().filter_map(Value::as_f64).collect();
    values.try_into().ok()
}
