//! The neck: every level from the first of it at one resolution and width, added up
//! (spec radio.md §3.7).

use super::config::Config;
use super::conv::{Conv, Shape};
use crate::Result;
use crate::models::layers::Linear;
use crate::weights::Params;
use tch::Tensor;

/// `high_res_neck`.
pub struct Neck {
    start: usize,
    neck_features_proj: Vec<Option<Projection>>,
}

struct Projection {
    enlarge: i64,
    /// `conv1` with `norm` folded in.
    conv1: Conv,
    /// `conv2`, a 1x1 convolution.
    conv2: Linear,
}

impl Neck {
    pub fn new(p: &Params, config: &Config) -> Result<Self> {
        let p = p.pp("neck_features_proj");
        let output = config.full_features_head_dim;
        let mut enlarge = 1;
        let mut projections = Vec::new();
        for level in config.neck_start_stage..config.depths.len() {
            let dim = config.level_dim(level);
            let p = p.pp(level - config.neck_start_stage);
            let projection = (enlarge > 1 || dim != output)
                .then(|| Projection::new(&p, dim, output, enlarge))
                .transpose()?;
            projections.push(projection);
            // Upstream does not count the step from level 0 to level 1.
            if level > 0 {
                enlarge *= 2;
            }
        }
        Ok(Neck {
            start: config.neck_start_stage,
            neck_features_proj: projections,
        })
    }

    /// What `level` adds to the sum, [B, h, w, D]; `None` below the neck's first level.
    /// `map`: the level's map [B, C, H, W] before down-sampling.
    pub fn project(&self, map: &Tensor, level: usize) -> Option<Tensor> {
        let projection = self
            .neck_features_proj
            .get(level.checked_sub(self.start)?)?;
        Some(match projection {
            None => map.permute([0, 2, 3, 1]),
            Some(projection) => projection.forward(map),
        })
    }
}

impl Projection {
    fn new(p: &Params, dim: i64, output: i64, enlarge: i64) -> Result<Self> {
        let shape = Shape::same(3).groups(dim);
        let conv2 = p.pp("conv2");
        let weight = conv2.get("weight", &[output, dim, 1, 1])?;
        let bias = conv2.get("bias", &[output])?;
        let as_matrix = move || (weight.view([output, dim]), Some(bias.shallow_clone()));
        Ok(Projection {
            enlarge,
            conv1: Conv::biased_with_batch_norm(&p.pp("conv1"), &p.pp("norm"), dim, shape)?,
            conv2: Linear::arranged(p, as_matrix)?,
        })
    }

    fn forward(&self, map: &Tensor) -> Tensor {
        let (_, _, height, width) = map.size4().expect("a map is [B, C, H, W]");
        let map = if self.enlarge == 1 {
            map.shallow_clone()
        } else {
            map.upsample_nearest2d([height * self.enlarge, width * self.enlarge], None, None)
        };
        self.conv2
            .forward(&self.conv1.forward(&map).permute([0, 2, 3, 1]))
    }
}

/// `total + part`, where `part` [B, h, w, D] may be smaller and is then padded with zeros on the
/// right and at the bottom.
pub fn add(total: &Tensor, part: &Tensor) -> Tensor {
    let (wanted, own) = (total.size(), part.size());
    if wanted == own {
        return total + part;
    }
    let pad = [0, 0, 0, wanted[2] - own[2], 0, wanted[1] - own[1]];
    total + part.constant_pad_nd(pad)
}
