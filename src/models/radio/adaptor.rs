//! An adaptor: what the student's tokens look like in one teacher's space.

use super::config::AdaptorConfig;
use super::heads::Head;
use crate::Result;
use crate::models::AdaptorFeatures;
use crate::weights::Params;
use tch::{Kind, Tensor};

pub struct Adaptor {
    pub name: String,
    /// The cls token it reads.
    pub token: i64,
    head_mlp: Head,
    feat_mlp: Option<Head>,
    /// u: the feature head makes u x u tokens of each.
    upsample: i64,
}

impl Adaptor {
    /// `p` is `adaptors.NAME`.
    pub fn new(p: &Params, config: &AdaptorConfig, attention_eps: f64) -> Result<Self> {
        Ok(Adaptor {
            name: config.name.clone(),
            token: config.token,
            head_mlp: Head::new(&p.pp("head_mlp"), &config.summary, attention_eps)?,
            feat_mlp: config
                .feature
                .as_ref()
                .map(|shape| Head::new(&p.pp("feat_mlp"), shape, attention_eps))
                .transpose()?,
            upsample: config.feature.map_or(1, |shape| shape.upsample),
        })
    }

    /// `cls`: [B, C], its cls token; `spatial`: [B, N, C], N = h * w.
    pub fn forward(&self, cls: &Tensor, spatial: &Tensor, grid: (i64, i64)) -> AdaptorFeatures {
        let summary = self.head_mlp.forward(&cls.to_kind(Kind::Float));
        let summary = summary.to_kind(Kind::Float); // autocast leaves fewer bits
        let spatial = self.feat_mlp.as_ref().map(|head| {
            let y = head.forward(&spatial.to_kind(Kind::Float));
            // Upstream returns the features in the backbone's precision before widening them.
            let y = y.to_kind(spatial.kind()).to_kind(Kind::Float);
            (self.spread(y, grid), self.upsampled(grid))
        });
        AdaptorFeatures { summary, spatial }
    }

    /// The grid of its spatial features.
    fn upsampled(&self, (h, w): (i64, i64)) -> (i64, i64) {
        (h * self.upsample, w * self.upsample)
    }

    /// [B, h*w, u*u*C] with vectors laid out (u, u, C) -> [B, (h*u)*(w*u), C] in raster order
    fn spread(&self, y: Tensor, (h, w): (i64, i64)) -> Tensor {
        let u = self.upsample;
        if u == 1 {
            return y;
        }
        let size = y.size();
        let (b, c) = (size[0], size[2] / (u * u));
        y.view([b, h, w, u, u, c])
            .permute([0, 1, 3, 2, 4, 5])
            .reshape([b, h * u * w * u, c])
    }
}
