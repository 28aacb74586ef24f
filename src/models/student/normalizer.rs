//! Feature normalisers of "-norm" releases: fixed rotations that make features alike in scale.

use crate::Result;
use crate::weights::Params;
use tch::{Device, Kind, Tensor};

/// (f - mean) Tᵀ on the final features.
pub struct FeatureNormalizer {
    /// [C]
    mean: Tensor,
    /// [C, C]
    tx: Tensor,
}

impl FeatureNormalizer {
    /// `p` is `feature_normalizer`.
    pub fn new(p: &Params, width: i64) -> Result<Self> {
        Ok(FeatureNormalizer {
            mean: p.buffer("mean", &[width])?.to_kind(p.kind()),
            tx: p.buffer("tx", &[width, width])?.to_kind(p.kind()),
        })
    }

    pub fn forward(&self, features: &Tensor) -> Tensor {
        (features - &self.mean).linear(&self.tx, None::<&Tensor>)
    }
}

/// alpha_i (f - mean_i) Rᵀ on the patch tokens behind block i.
pub struct InterNormalizer {
    /// One per block.
    alphas: Vec<f64>,
    /// [n, C]
    means: Tensor,
    /// [n, C, C], or [C, C] for all blocks
    rotation: Tensor,
}

impl InterNormalizer {
    /// `p` is `inter_feature_normalizer`.
    pub fn new(p: &Params, width: i64, count: i64, per_block: bool) -> Result<Self> {
        let c = width;
        let rotation = if per_block {
            p.buffer("rotation", &[count, c, c])?
        } else {
            p.buffer("rotation", &[c, c])?
        };
        let alphas = p.buffer("alphas", &[count])?;
        Ok(InterNormalizer {
            alphas: Vec::try_from(alphas.to_device(Device::Cpu).to_kind(Kind::Double))?,
            means: p.buffer("means", &[count, c])?.to_kind(p.kind()),
            rotation: rotation.to_kind(p.kind()),
        })
    }

    /// Blocks it knows.
    pub fn blocks(&self) -> usize {
        self.alphas.len()
    }

    pub fn alpha(&self, block: usize) -> f64 {
        self.alphas[block]
    }

    /// f - mean of that block
    pub fn centre(&self, features: &Tensor, block: usize) -> Tensor {
        features - self.means.get(block as i64)
    }

    /// The rotation of `block` applied to [.., C].
    pub fn rotate(&self, features: &Tensor, block: usize) -> Tensor {
        let rotation = match self.rotation.dim() {
            3 => self.rotation.get(block as i64),
            _ => self.rotation.shallow_clone(),
        };
        features.linear(&rotation, None::<&Tensor>)
    }
}
