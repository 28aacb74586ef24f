//! Recipes by name.

use super::{Inference, Recipe, TrainFeatures};
use crate::heads::Curve;
use serde::{Deserialize, Serialize};

/// Where a recipe comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
            features: TrainFeatures::Live,
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
            features: TrainFeatures::Cached,
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
