//! An adaptor: what the student's tokens look like in one teacher's space.

use super::args::{Args, Teacher};
use super::heads::{Head, HeadKind, HeadShape, UPSAMPLE_NONE};
use crate::models::options::by_flag;
use crate::models::{AdaptorFeatures, BuildOptions};
use crate::weights::{Checkpoint, Params, WeightSource};
use crate::{Error, Result};
use serde_json::Value;
use tch::{Kind, Tensor};

/// A head pair that imitates one teacher.
#[derive(Debug, Clone, PartialEq)]
pub struct AdaptorConfig {
    pub name: String,
    /// The cls token it reads.
    pub token: i64,
    pub summary: HeadShape,
    /// `None` where the file has no feature head.
    pub feature: Option<HeadShape>,
}

/// The adaptors in the file, in the order of the teachers.
pub fn adaptors(checkpoint: &Checkpoint, args: Args) -> Result<Vec<AdaptorConfig>> {
    let WeightSource::File(tensors) = &checkpoint.source else {
        return Ok(Vec::new());
    };
    let mut names: Vec<&str> = Vec::new();
    for key in tensors.keys() {
        let name = key
            .strip_prefix("adaptors.")
            .and_then(|k| k.split('.').next());
        if let Some(name) = name.filter(|name| !names.contains(name)) {
            names.push(name);
        }
    }
    let teachers = args.teachers();
    let place = |name: &str| teachers.iter().position(|t| t.name == name);
    names.sort_by_key(|name| place(name).unwrap_or(usize::MAX));
    names
        .into_iter()
        .map(|name| {
            let teacher: Option<&Teacher> = place(name).map(|i| &teachers[i]);
            let stored = &checkpoint.config["adaptor_configs"][name];
            let token = stored["head_idx"].as_i64();
            let upsample = stored["feature"]["upsample_factor"].as_i64();
            let head = |module: &str, upsample: i64| {
                HeadShape::of_file(checkpoint, &format!("adaptors.{name}.{module}"), upsample)
            };
            Ok(AdaptorConfig {
                name: name.to_string(),
                token: token.or(teacher.map(|t| t.token_slot)).unwrap_or(0),
                summary: head("head_mlp", UPSAMPLE_NONE)?,
                feature: tensors
                    .keys()
                    .any(|k| k.starts_with(&format!("adaptors.{name}.feat_mlp.")))
                    .then(|| {
                        let factor = upsample.or(teacher.map(|t| t.upsample));
                        head("feat_mlp", factor.unwrap_or(UPSAMPLE_NONE).max(1))
                    })
                    .transpose()?,
            })
        })
        .collect()
}

/// LayerNorm eps of the attention head's blocks where the user does not say: timm's own LayerNorm,
/// since 1.0.31 at the latest; it was 1e-5 up to 1.0.15 at least (spec §4.2).
const ATTENTION_HEAD_EPS: f64 = 1e-6;

/// The eps of the attention heads among `adaptors`; `None` where there are none, for which a
/// choice of the user is an error.
pub fn attention_eps(options: &BuildOptions, adaptors: &[AdaptorConfig]) -> Result<Option<f64>> {
    let is_attention = |a: &AdaptorConfig| {
        a.feature
            .is_some_and(|shape| matches!(shape.kind, HeadKind::Attention { .. }))
    };
    match (
        adaptors.iter().any(is_attention),
        options.attention_head_eps,
    ) {
        (false, Some(_)) => Err(Error::usage(
            "--attention-head-eps does nothing: no adaptor of this network has an attention head; leave it out",
        )),
        (false, None) => Ok(None),
        (true, eps) => Ok(Some(eps.unwrap_or(ATTENTION_HEAD_EPS))),
    }
}

/// How it stands in a record.
pub fn eps_setting(eps: f64, options: &BuildOptions) -> Value {
    match options.attention_head_eps {
        Some(_) => by_flag(eps),
        None => eps.into(),
    }
}

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
    pub fn new(p: &Params, config: &AdaptorConfig, attention_eps: Option<f64>) -> Result<Self> {
        let attention_eps = attention_eps.unwrap_or(ATTENTION_HEAD_EPS);
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
