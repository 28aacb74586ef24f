//! RADIO: Vision Transformers distilled from several teachers at once (AM-RADIO, arXiv
//! 2312.06709; RADIOv2.5, arXiv 2412.07679), all released versions from v1 to C-RADIOv4.
//!
//! ```text
//! radio-eval features --model radio_v2.5-h --input photo.jpg --output features.safetensors
//! ```
//!
//! Sizes come from the tensors and the training args inside the checkpoint ([`config`]); the
//! layouts the weights come in are brought to one in [`student::keys`](super::student::keys). spec/radio.md gives the facts.

pub mod block;
pub mod config;
pub mod cpe;
pub mod cpe_train;
mod dense;
pub mod intermediates;
pub(in crate::models) mod load;
pub mod patch;
pub mod sizes;
pub mod vitdet;

pub use cpe_train::Draws;
pub use load::RadioArchitecture;

use crate::Result;
use crate::models::dense::TextAligned;
use crate::models::layers::LayerNorm;
use crate::models::normalise::Normalise;
use crate::models::student::adaptor::Adaptor;
use crate::models::student::normalizer::{FeatureNormalizer, InterNormalizer};
use crate::models::student::patch_grid;
use crate::models::vit::TokenSplit;
use crate::models::{Backbone, BackboneInfo, Features, Request};
use crate::weights::Trainable;
use block::Block;
use config::{Config, Summary};
use indexmap::IndexMap;
use patch::PatchGenerator;
use tch::Tensor;
use vitdet::VitDet;

/// What may be chosen for RADIO ViTs alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Instead of the zoo entry's rule for interpolating positions (RADIO1D has it too).
    pub pos_align_corners: Option<bool>,
    /// ViTDet window in patches; tightens the resolution step.
    pub vitdet_window: Option<i64>,
}

/// A RADIO student.
pub struct RadioVit {
    config: Config,
    info: BackboneInfo,
    input_conditioner: Normalise,
    patch_generator: PatchGenerator,
    blocks: Vec<Block>,
    norm: Option<LayerNorm>,
    feature_normalizer: Option<FeatureNormalizer>,
    inter_normalizer: Option<InterNormalizer>,
    adaptors: Vec<Adaptor>,
    vitdet: Option<VitDet>,
    /// Indices of the summary's cls tokens, on the device.
    summary_idxs: Tensor,
    trainable: Option<Trainable>,
}

impl RadioVit {
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// `[B,3,H,W]` in `[0,1]` -> normalised, in the run's precision
    pub fn condition(&self, x: &Tensor) -> Tensor {
        self.input_conditioner.forward(x)
    }

    pub fn patch_generator(&self) -> &PatchGenerator {
        &self.patch_generator
    }

    /// The tokens that enter the first block, [B, K+R+N, C].
    pub fn embed(&self, x: &Tensor) -> Tensor {
        self.patch_generator.forward(&self.condition(x))
    }

    /// The windows of a pass of training, where its step has drawn some.
    fn training_windows(&self) -> Result<Option<VitDet>> {
        let trainable = self.trainable.as_ref();
        let window = trainable.and_then(|trainable| trainable.mode().window());
        window
            .map(|window| VitDet::new(window, self.config.depth, &serde_json::Value::Null))
            .transpose()
    }

    fn final_norm(&self, tokens: Tensor) -> Tensor {
        match &self.norm {
            Some(norm) => norm.forward(&tokens),
            None => tokens,
        }
    }

    /// [B, K+R+N, C] -> [B, D]
    fn summary_of(&self, tokens: &Tensor) -> Tensor {
        match &self.config.summary {
            Summary::First => tokens.select(1, 0),
            Summary::Tokens(_) => tokens.index_select(1, &self.summary_idxs).flatten(1, 2),
        }
    }

    fn split(&self, grid: (i64, i64)) -> TokenSplit {
        TokenSplit {
            prefix: self.config.prefix_tokens,
            grid,
        }
    }

    /// The patch tokens [B, N, C] as features.
    fn spatial_of(&self, tokens: &Tensor, grid: (i64, i64)) -> Tensor {
        let spatial = self.split(grid).patches(tokens);
        match &self.feature_normalizer {
            Some(normalizer) => normalizer.forward(&spatial),
            None => spatial,
        }
    }

    /// Summary, features and the named adaptors' from the last tokens.
    fn extract(&self, tokens: &Tensor, grid: (i64, i64), request: &Request) -> Features {
        let spatial = self.spatial_of(tokens, grid);
        let adaptors: IndexMap<_, _> = self
            .adaptors
            .iter()
            .filter(|adaptor| request.wants(&adaptor.name))
            .map(|adaptor| {
                let cls = tokens.select(1, adaptor.token);
                let features = adaptor.forward(&cls, &spatial, grid);
                (adaptor.name.clone(), features)
            })
            .collect();
        Features {
            summary: self.summary_of(tokens),
            spatial,
            grid,
            adaptors,
            intermediates: Vec::new(),
        }
    }
}

impl Backbone for RadioVit {
    fn info(&self) -> &BackboneInfo {
        &self.info
    }

    fn trainable(&self) -> Option<&Trainable> {
        self.trainable.as_ref()
    }

    fn text_aligned(&self) -> Option<&dyn TextAligned> {
        Some(self)
    }

    fn forward(&self, x: &Tensor, request: &Request) -> Result<Features> {
        let grid = patch_grid(x, self.config.patch)?;
        let drawn = self.training_windows()?;
        let vitdet = drawn.as_ref().or(self.vitdet.as_ref());
        let (tokens, intermediates) = self.encode(x, request, vitdet)?;
        Ok(Features {
            intermediates,
            ..self.extract(&self.final_norm(tokens), grid, request)
        })
    }
}
