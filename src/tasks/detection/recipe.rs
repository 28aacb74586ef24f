//! How a detector is trained on frozen features (spec/coco.md §4.8). The presets are radio-eval's
//! own, made from ViTDet's recipe for fine-tuning (detectron2); no paper's figures belong to them.

use crate::heads::adamw::AdamWOptions;
use crate::heads::detection::{DetectorOptions, HeadKind};
use crate::heads::{Curve, Schedule};
use crate::runtime::Precision;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Pixels of the detector per cell of the map that it gets.
pub const STRIDE: i64 = 16;
/// Sides of the detector's input are multiples of this: p5 has half the map's cells.
const SIDE_STEP: i64 = 32;
/// ViTDet's rate, at a batch of 64 images; it falls with the batch down to a quarter of it.
const BASE_LR: f64 = 1e-4;
const BASE_BATCH: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Preset {
    /// 512 px, 12 epochs
    #[serde(rename = "smoke")]
    Smoke,
    /// 1024 px, 12 epochs
    #[serde(rename = "1x")]
    OneX,
    /// 1024 px, 50 epochs
    #[serde(rename = "long")]
    Long,
    /// The miniature world: 192 px and a narrow head
    #[serde(rename = "mini")]
    Mini,
}

/// How the map of a model whose patches are not of 16 pixels gets a cell for every 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GridRule {
    /// The model sees the picture at `resolution * patch / 16` pixels.
    Resize,
    /// The model sees it at the resolution, and its map is interpolated.
    Interpolate,
}

/// Everything that decides a trained detector besides data and backbone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    pub preset: Preset,
    pub head: HeadKind,
    /// Side of the detector's square input, in pixels.
    pub resolution: i64,
    pub grid: GridRule,
    /// Passes over the train images that have objects.
    pub epochs: f64,
    pub batch_size: usize,
    /// `None` for the rate that goes with the batch.
    pub lr: Option<f64>,
    pub weight_decay: f64,
    /// Iterations of linear warm-up, from 1e-3 of the rate.
    pub warmup: u64,
    /// Largest norm of all gradients.
    pub clip: f64,
    /// Large-scale jitter: the picture is scaled to a number drawn from here, times the resolution.
    pub jitter: (f64, f64),
    /// What the detector's convolutions and matrix products run in.
    pub head_precision: Precision,
    /// Decay of the moving average of parameters that is evaluated; 0 for none.
    pub ema: f64,
    /// Channels of the pyramid and what follows it.
    pub channels: i64,
    /// Width of the box head's layers.
    pub hidden: i64,
    /// Anchor side of p2; it doubles from level to level.
    pub anchor: f64,
    /// Proposals per image in training and evaluation.
    pub proposals: (i64, i64),
    /// Anchors and proposals per image that a step is trained on.
    pub anchor_batch: usize,
    pub box_batch: usize,
    /// A trainable norm of the features before the pyramid.
    pub input_norm: bool,
    pub seed: u64,
}

impl Recipe {
    pub fn new(preset: Preset, head: HeadKind) -> Self {
        let options = DetectorOptions::new(head, 1, 1);
        let full = Recipe {
            preset,
            head,
            resolution: 1024,
            grid: GridRule::Resize,
            epochs: 12.0,
            batch_size: 16,
            lr: None,
            weight_decay: 0.1,
            warmup: 250,
            clip: 1.0,
            jitter: (0.5, 2.0),
            head_precision: Precision::Fp32,
            ema: 0.0,
            channels: options.channels,
            hidden: options.hidden,
            anchor: 32.0,
            proposals: options.rpn.proposals,
            anchor_batch: options.rpn.sampling.batch,
            box_batch: options.sampling.batch,
            input_norm: options.input_norm,
            seed: 0,
        };
        match preset {
            Preset::Smoke => Recipe {
                resolution: 512,
                ..full
            },
            Preset::OneX => full,
            Preset::Long => Recipe {
                epochs: 50.0,
                jitter: (0.1, 2.0),
                warmup: 1000,
                ..full
            },
            Preset::Mini => Recipe {
                resolution: 192,
                epochs: 6.0,
                batch_size: 4,
                lr: Some(3e-4),
                weight_decay: 0.05,
                warmup: 50,
                jitter: (0.6, 1.4),
                channels: 64,
                hidden: 256,
                anchor: 16.0,
                proposals: (200, 100),
                anchor_batch: 128,
                box_batch: 32,
                ..full
            },
        }
    }

    /// An error where a value cannot be obeyed.
    pub fn check(&self) -> Result<()> {
        let refuse = |what: String| Err(Error::usage(what));
        if self.resolution < SIDE_STEP || self.resolution % SIDE_STEP != 0 {
            let step = SIDE_STEP as f64;
            let nearest = ((self.resolution as f64 / step).round().max(1.0) * step) as i64;
            return refuse(format!(
                "--resolution {} is no multiple of {SIDE_STEP}, which the feature pyramid needs; the nearest is {nearest}",
                self.resolution
            ));
        }
        if self.head_precision == Precision::Fp16 {
            return refuse(
                "--head-precision fp16 would lose small gradients; use bf16 or fp32".into(),
            );
        }
        if self.jitter.0 > self.jitter.1 {
            return refuse(format!(
                "--jitter {},{} takes the smaller scale first",
                self.jitter.0, self.jitter.1
            ));
        }
        if !(0.0..1.0).contains(&self.ema) {
            return refuse(format!("--ema {} is not in 0..1", self.ema));
        }
        Ok(())
    }

    /// The peak of the learning rate.
    pub fn peak_lr(&self) -> f64 {
        let share = self.batch_size.min(BASE_BATCH) as f64 / BASE_BATCH as f64;
        self.lr.unwrap_or(BASE_LR * share.max(0.25))
    }

    /// Updates over `images` train images with objects.
    pub fn iterations(&self, images: usize) -> u64 {
        (self.epochs * images as f64 / self.batch_size as f64)
            .ceil()
            .max(1.0) as u64
    }

    pub fn schedule(&self, iterations: u64) -> Schedule {
        Schedule {
            curve: Curve::Steps,
            iterations,
            warmup: self.warmup,
            warmup_factor: 1e-3,
            power: 1.0,
        }
    }

    pub fn optimiser(&self) -> AdamWOptions {
        AdamWOptions {
            weight_decay: self.weight_decay,
            ..AdamWOptions::default()
        }
    }

    /// The detector for a map of `input` channels and `objects` classes.
    pub fn detector(&self, input: i64, objects: i64) -> DetectorOptions {
        let mut options = DetectorOptions::new(self.head, input, objects);
        options.channels = self.channels;
        options.hidden = self.hidden;
        options.mask_hidden = self.channels;
        options.input_norm = self.input_norm;
        options.rpn.anchor_sizes = (0..5)
            .map(|level| self.anchor * f64::from(1 << level))
            .collect();
        options.rpn.proposals = self.proposals;
        options.rpn.sampling.batch = self.anchor_batch;
        options.sampling.batch = self.box_batch;
        options
    }

    /// Every value, for records and keys.
    pub fn describe(&self) -> Map<String, Value> {
        let value = serde_json::to_value(self).unwrap_or_default();
        let mut map = value.as_object().cloned().unwrap_or_default();
        map.insert("lr".into(), self.peak_lr().into());
        map
    }
}
