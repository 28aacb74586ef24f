//! The TOML file that describes a distillation run. Defaults are AM-RADIO's where the paper says
//! them (spec/distillation.md, spec/published.md §2).

mod check;
mod stages;

pub use stages::{PartitionConfig, StageConfig};

use super::balance::Balancing;
use super::losses::FeatureLoss;
use super::objective::SummaryLoss;
use super::optimiser::Rule;
use super::standardise::Standardise;
use crate::config::toml_file;
use crate::files::text;
use crate::runtime::Precision;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistillConfig {
    pub student: StudentConfig,
    pub teachers: Vec<TeacherConfig>,
    pub data: Vec<DataConfig>,
    #[serde(default)]
    pub augment: AugmentConfig,
    #[serde(default)]
    pub loss: LossConfig,
    #[serde(default)]
    pub optimiser: OptimiserConfig,
    pub stages: Vec<StageConfig>,
    #[serde(default)]
    pub run: RunConfig,
    #[serde(default)]
    pub evaluate: Vec<EvaluateConfig>,
}

/// The network that learns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudentConfig {
    /// timm's name of a ViT, a registered E-RADIO, or a student of the zoo.
    pub model: String,
    /// A checkpoint to start from: a RADIO or E-RADIO, a DINOv2 or a timm ViT of the same sizes,
    /// as a file, a folder or a zoo name; default: weights drawn from the run's seed.
    #[serde(default)]
    pub start: Option<String>,
    /// The constructor's arguments (`embed_dim`, `depth`, ...).
    #[serde(default)]
    pub model_kwargs: Map<String, Value>,
    /// Side in pixels of the picture that the learned position map covers (RADIO ViT).
    #[serde(default)]
    pub cpe_max_size: Option<i64>,
    /// Prefix tokens are filled up with registers to a multiple of this (RADIO ViT).
    #[serde(default)]
    pub register_multiple: Option<i64>,
    /// Whether the largest singular value of every matrix is a parameter of its own (RADIO ViT).
    #[serde(default)]
    pub spectral_reparam: bool,
    /// Sides in patches of windows that a step's blocks may attend in, all but every fourth and the
    /// last (ViTDet); each step draws one of them, or none (RADIO ViT).
    #[serde(default)]
    pub vitdet_windows: Vec<i64>,
    /// Hidden width of the adaptors' heads.
    #[serde(default = "mlp_hidden_size")]
    pub mlp_hidden_size: i64,
    /// Residual blocks in each head.
    #[serde(default = "mlp_num_inner")]
    pub mlp_num_inner: i64,
}

/// RADIO's own (spec/radio.md §4.2).
fn mlp_hidden_size() -> i64 {
    1520
}

fn mlp_num_inner() -> i64 {
    1
}

/// A frozen network whose outputs the student learns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeacherConfig {
    /// Zoo name, checkpoint or TorchScript file.
    pub model: String,
    #[serde(default)]
    pub weights: Option<PathBuf>,
    /// Of the student's adaptor; default by the family (`clip`, `dino_v2`, `sam`).
    #[serde(default)]
    pub name: Option<String>,
    /// Pixels per side of what it sees; default: what it prefers.
    #[serde(default)]
    pub resolution: Option<Side>,
    /// Which summary is learned: an adaptor of the teacher (CLIP's projection into the space of
    /// texts), or `backbone`; default: its first adaptor where it has one.
    #[serde(default)]
    pub summary: Option<String>,
    #[serde(default = "one")]
    pub summary_weight: f64,
    #[serde(default = "one")]
    pub feature_weight: f64,
    /// Of the difference in cosines between all pairs of tokens of a picture.
    #[serde(default)]
    pub relation_weight: f64,
    #[serde(default)]
    pub summary_loss: SummaryLoss,
    /// Of the angle loss; default: measured in the estimation phase.
    #[serde(default)]
    pub dispersion: Option<f64>,
    #[serde(default)]
    pub feature_loss: FeatureLoss,
    #[serde(default)]
    pub standardise: Standardise,
    #[serde(default)]
    pub precision: Option<Precision>,
    /// Statistics per channel of pixels in `[0,1]` (TorchScript; default: those beside the file).
    #[serde(default)]
    pub mean: Option<[f64; 3]>,
    #[serde(default)]
    pub std: Option<[f64; 3]>,
    /// Pictures at once.
    #[serde(default)]
    pub batch: Option<usize>,
    /// u: the student's feature head makes u x u tokens of each.
    #[serde(default = "upsample")]
    pub upsample: i64,
}

fn one() -> f64 {
    1.0
}

fn upsample() -> i64 {
    1
}

/// Height and width in pixels: one number for both, or a list of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Side {
    Square(i64),
    Both(i64, i64),
}

impl Side {
    /// (height, width)
    pub fn size(self) -> (i64, i64) {
        match self {
            Side::Square(side) => (side, side),
            Side::Both(height, width) => (height, width),
        }
    }
}

/// Unlabelled pictures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// A name of the catalogue, a folder, a tar file, a pattern of shards, or parquet.
    pub path: String,
    /// Its share of the pictures, relative to the other sources.
    #[serde(default = "one")]
    pub weight: f64,
}

/// What is done to a picture before student and teachers see it, each at its own resolution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentConfig {
    /// Smallest and largest share of the picture that a crop covers.
    pub scale: (f64, f64),
    /// Narrowest and widest crop, width over height, relative to the student's.
    pub ratio: (f64, f64),
    /// Probability of a flip.
    pub flip: f64,
}

impl Default for AugmentConfig {
    /// Random scale and crop and flip; the paper gives no numbers (OC).
    fn default() -> Self {
        AugmentConfig {
            scale: (0.5, 1.0),
            ratio: (3.0 / 4.0, 4.0 / 3.0),
            flip: 0.5,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossConfig {
    /// Of the cosine in a feature loss.
    pub alpha: f64,
    /// Of the smooth-L1 in a feature loss.
    pub beta: f64,
    pub smooth_l1_beta: f64,
    pub balancing: Balancing,
    /// Probability that a teacher is dropped for a picture; 0: none is.
    pub teacher_dropping: f64,
}

impl Default for LossConfig {
    fn default() -> Self {
        LossConfig {
            alpha: 0.9,
            beta: 0.1,
            smooth_l1_beta: 1.0,
            balancing: Balancing::Manual,
            teacher_dropping: 0.0,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimiserConfig {
    pub rule: Rule,
    pub lr: f64,
    /// What the cosine ends at.
    pub min_lr: f64,
    pub weight_decay: f64,
    pub betas: (f64, f64),
    /// Default 1e-8 (AdamW) or 1e-6 (LAMB).
    pub eps: Option<f64>,
    /// LAMB: no tensor's step becomes longer than Adam's.
    pub trust_clip: bool,
    /// Largest norm of all gradients together; 0: any.
    pub clip_norm: f64,
    /// Decay of the parameters' moving average; 0: none is kept.
    pub ema: f64,
    /// Whether the average follows faster at first.
    pub ema_warmup: bool,
    /// First steps in which the heads alone are trained.
    pub frozen_trunk_steps: u64,
}

impl Default for OptimiserConfig {
    fn default() -> Self {
        OptimiserConfig {
            rule: Rule::AdamW,
            lr: 1e-3,
            min_lr: 0.0,
            weight_decay: 0.02,
            betas: (0.9, 0.999),
            eps: None,
            trust_clip: false,
            clip_norm: 1.0,
            ema: 0.0,
            ema_warmup: true,
            frozen_trunk_steps: 0,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunConfig {
    pub seed: u64,
    /// Of the student's passes; weights stay fp32.
    pub precision: Precision,
    /// Pictures that pass the student at once; 0: all of a partition.
    pub micro_batch: usize,
    /// Steps in which the teachers alone run, for statistics of their outputs.
    pub estimation_steps: u64,
    /// Steps between checkpoints, and how many are kept.
    pub checkpoint_every: u64,
    pub checkpoints: usize,
    /// Steps between lines of the metrics.
    pub log_every: u64,
    /// Pictures that may be replaced because they cannot be read.
    pub skip_bad: usize,
    /// Folder in which the teachers' outputs are kept, for as many fixed crops of each picture as
    /// `cache_crops` says; default: every crop is new, and nothing kept.
    pub cache: Option<PathBuf>,
    pub cache_crops: usize,
    /// In which the student is saved.
    pub export: Precision,
}

impl Default for RunConfig {
    fn default() -> Self {
        RunConfig {
            seed: 0,
            precision: Precision::Fp32,
            micro_batch: 0,
            // PHI-S, arXiv 2410.01680.
            estimation_steps: 3000,
            checkpoint_every: 1000,
            checkpoints: 2,
            log_every: 10,
            skip_bad: 0,
            cache: None,
            cache_crops: 1,
            export: Precision::Fp32,
        }
    }
}

/// An evaluation of the student on the way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluateConfig {
    /// Steps between two.
    pub every: u64,
    /// The tool's own arguments, without `--model` and `--out`.
    pub command: Vec<String>,
}

impl DistillConfig {
    /// Reads and checks a file.
    pub fn open(path: &Path) -> Result<Self> {
        let config: DistillConfig = toml_file::parse(path, &text::read(path)?)?;
        config.check().map_err(|fault| Error::file(path, fault))?;
        Ok(config)
    }

    /// Steps of all stages.
    pub fn steps(&self) -> u64 {
        self.stages.iter().map(|stage| stage.steps).sum()
    }
}
