//! From pixels to tokens: patches, their positions, and the prefix tokens in front.

use super::cpe::PositionMap;
use crate::Result;
use crate::models::layers::{Linear, add_residual, unwrap};
use crate::weights::{Mode, Params};
use tch::Tensor;

/// Sizes of a patch generator.
#[derive(Debug, Clone, Copy)]
pub struct PatchShape {
    pub patch: i64,
    /// C
    pub width: i64,
    /// K + R
    pub prefix_tokens: i64,
    /// Side of the learned position map.
    pub map_side: i64,
    pub embed_bias: bool,
    /// Whether positions follow the CPE rule.
    pub cpe: bool,
}

pub struct PatchGenerator {
    embedder: Linear,
    positions: PositionMap,
    /// [K+R, C]: cls tokens, then registers; they have no positions
    prefix: Tensor,
    patch: i64,
    /// In train mode every sample sees another viewport of the map.
    mode: Option<Mode>,
}

impl PatchGenerator {
    /// `p` is `patch_generator`.
    pub fn new(p: &Params, shape: &PatchShape, align_corners: bool) -> Result<Self> {
        let PatchShape {
            width,
            patch,
            prefix_tokens,
            ..
        } = *shape;
        let pixels = 3 * patch * patch;
        let prefix = p.pp("cls_token").get("token", &[prefix_tokens, width])?;
        Ok(PatchGenerator {
            embedder: Linear::new(p.pp("embedder"), pixels, width, shape.embed_bias)?,
            positions: PositionMap::new(p, shape.map_side, width, align_corners, shape.cpe)?,
            prefix,
            patch,
            mode: p.mode().cloned(),
        })
    }

    /// x: `[B,3,H,W]`, normalised -> [B, K+R+N, C]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let (b, channels, height, width) = x.size4().expect("pixels are [B,3,H,W]");
        let p = self.patch;
        let (h, w) = (height / p, width / p);
        let patches = x
            .view([b, channels, h, p, w, p])
            .permute([0, 2, 4, 1, 3, 5]) // [B, h, w, 3, p, p]
            .reshape([b, h * w, channels * p * p]);
        let tokens = self.embedder.forward(&patches);
        let tokens = match self.mode.as_ref().filter(|mode| mode.is_train()) {
            Some(mode) => unwrap(self.positions.add_in_training(&tokens, (h, w), mode)),
            None => add_residual(tokens, &self.positions.at((h, w))),
        };
        let prefix = self.prefix.unsqueeze(0).expand([b, -1, -1], false);
        // Autocast leaves the tokens in fewer bits than the parameter, for the blocks to add to.
        let tokens = tokens.to_kind(prefix.kind());
        Tensor::cat(&[prefix, tokens], 1)
    }

    pub fn positions(&self) -> &PositionMap {
        &self.positions
    }
}
