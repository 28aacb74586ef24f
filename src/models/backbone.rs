//! The contract between a network and everything that uses it.

use crate::{Error, Result};
use indexmap::IndexMap;
use serde_json::{Map, Value};
use tch::Tensor;

/// What a backbone makes of a batch. Tensors are in the run's precision, adaptors' in fp32.
pub struct Features {
    /// [B, D]
    pub summary: Tensor,
    /// [B, N, C], tokens in raster order; N = grid.0 * grid.1
    pub spatial: Tensor,
    /// (rows, columns) of the token grid
    pub grid: (i64, i64),
    /// Outputs of the adaptors that were asked for, by name.
    pub adaptors: IndexMap<String, AdaptorFeatures>,
}

/// What an adaptor (a head imitating one teacher, or a teacher's own projection) makes of them.
pub struct AdaptorFeatures {
    /// [B, D']
    pub summary: Tensor,
    /// [B, N', C'] and its grid; `None` for adaptors without a spatial head.
    pub spatial: Option<(Tensor, (i64, i64))>,
}

impl Features {
    /// The summary of the backbone, or of `adaptor`.
    pub fn summary_of(&self, adaptor: Option<&str>) -> Result<&Tensor> {
        match adaptor {
            None => Ok(&self.summary),
            Some(name) => self
                .adaptors
                .get(name)
                .map(|a| &a.summary)
                .ok_or_else(|| Error::model(format!("the features carry no adaptor `{name}`"))),
        }
    }
}

/// Facts about a loaded backbone.
#[derive(Debug, Clone)]
pub struct BackboneInfo {
    /// Architecture in words, e.g. `RADIO ViT-H/16`.
    pub architecture: String,
    /// Pixels per patch side (the stride of the token grid).
    pub patch: i64,
    /// Height and width must be multiples of this.
    pub step: i64,
    /// (height, width) the model is meant for.
    pub preferred: (i64, i64),
    /// The only (height, width) it takes, where it takes one only (SAM).
    pub fixed: Option<(i64, i64)>,
    /// A size off the step's grid that it was trained at and so takes too: SigLIP's 384 with patch
    /// 14, whose last pixels fill no patch.
    pub native: Option<(i64, i64)>,
    /// D of `summary`
    pub summary_dim: i64,
    /// C of `spatial`
    pub spatial_dim: i64,
    /// Tokens in front of the patch tokens inside the network.
    pub prefix_tokens: i64,
    /// Adaptors in the file.
    pub adaptors: Vec<String>,
    /// Trainable parameters of the backbone, adaptors not counted.
    pub parameters: i64,
    /// Settings that change the features and so belong in every record and cache key
    /// (window, pos-align-corners, spectral folding, position rule, ...).
    pub settings: Map<String, Value>,
}

impl BackboneInfo {
    /// The nearest size the model takes (itself where it is one), else
    /// `round_half_even(v / step) * step`, at least `step`
    /// (RADIO `get_nearest_supported_resolution`).
    pub fn nearest_resolution(&self, height: i64, width: i64) -> (i64, i64) {
        let nearest = |v: i64| {
            let n = (v as f64 / self.step as f64).round_ties_even() as i64;
            n.max(1) * self.step
        };
        match (self.fixed, self.native) {
            (Some(fixed), _) => fixed,
            (None, Some(native)) if native == (height, width) => native,
            _ => (nearest(height), nearest(width)),
        }
    }

    /// An error naming the nearest good size when the model cannot take (height, width).
    pub fn check_resolution(&self, height: i64, width: i64) -> Result<()> {
        let nearest = self.nearest_resolution(height, width);
        if nearest == (height, width) {
            return Ok(());
        }
        let (h, w) = nearest;
        Err(Error::usage(match self.fixed {
            Some(_) => format!(
                "{} takes {h}x{w} only, not {height}x{width}; use --resolution {h}",
                self.architecture
            ),
            None => format!(
                "{height}x{width} is not a multiple of {}'s step of {} pixels; the nearest resolution is {h}x{w}",
                self.architecture, self.step
            ),
        }))
    }
}

/// A vision network: `[B,3,H,W]` RGB in `[0,1]` (fp32) -> [`Features`]. It normalises for itself.
pub trait Backbone: Send {
    fn info(&self) -> &BackboneInfo;

    /// Runs the network and the named adaptors. Callers go through [`run`], which checks the
    /// input and turns libtorch failures into errors.
    ///
    /// `x`: `[B,3,H,W]` fp32 in `[0,1]`, on the backbone's device.
    fn forward(&self, x: &Tensor, adaptors: &[String]) -> Result<Features>;
}

/// Runs `backbone` on `x` without gradients, after checking shape and adaptor names.
pub fn run(backbone: &dyn Backbone, x: &Tensor, adaptors: &[String]) -> Result<Features> {
    let info = backbone.info();
    let (_, channels, height, width) = x
        .size4()
        .map_err(|_| Error::model(format!("the input must be [B,3,H,W], it is {:?}", x.size())))?;
    if channels != 3 {
        return Err(Error::model(format!(
            "the input must have 3 channels (RGB), it has {channels}"
        )));
    }
    info.check_resolution(height, width)?;
    for name in adaptors {
        if !info.adaptors.contains(name) {
            let known = match info.adaptors.as_slice() {
                [] => "it has none".to_string(),
                names => format!("it has: {}", names.join(", ")),
            };
            return Err(Error::usage(format!(
                "{} has no adaptor `{name}`; {known}",
                info.architecture
            )));
        }
    }
    crate::runtime::guard(|| tch::no_grad(|| backbone.forward(x, adaptors)))
}
