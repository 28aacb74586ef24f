//! The contract between a network and everything that uses it.

use super::options::BuildOptions;
use super::request::Request;
use crate::runtime::Precision;
use crate::weights::Trainable;
use crate::{Error, Result};
use indexmap::IndexMap;
use serde_json::{Map, Value};
use tch::{Kind, Tensor};

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
    /// Features behind the blocks that were asked for, in the blocks' order.
    pub intermediates: Vec<Intermediate>,
}

/// What one chosen block gives.
pub struct Intermediate {
    /// From 0; E-RADIO counts levels.
    pub block: usize,
    /// [B, D] as the architecture takes it from its last tokens (cls tokens one behind the other,
    /// or a mean of tokens); `None` where a head of its own makes it (SigLIP).
    pub summary: Option<Tensor>,
    /// [B, N, C], tokens in raster order
    pub spatial: Tensor,
    /// (rows, columns) of the token grid
    pub grid: (i64, i64),
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
    /// What it runs in.
    pub precision: Precision,
    /// Settings that change the features and so belong in every record and cache key
    /// (window, pos-align-corners, spectral folding, position rule, ...).
    pub settings: Map<String, Value>,
}

impl BackboneInfo {
    /// What plain ViTs share: square patches of `patch` pixels, any size in multiples of them (one
    /// patch preferred), summary and tokens of `width`; no prefix tokens, adaptors, parameters or
    /// settings yet.
    pub(super) fn plain_vit(
        architecture: String,
        patch: i64,
        width: i64,
        options: &BuildOptions,
    ) -> Self {
        BackboneInfo {
            architecture,
            patch,
            step: patch,
            preferred: (patch, patch),
            fixed: None,
            native: None,
            summary_dim: width,
            spatial_dim: width,
            prefix_tokens: 0,
            adaptors: Vec::new(),
            parameters: 0,
            precision: options.run_precision(),
            settings: Map::new(),
        }
    }

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

    /// An error naming the adaptors there are when `name` is none of them.
    pub fn check_adaptor(&self, name: &str) -> Result<()> {
        if self.adaptors.iter().any(|adaptor| adaptor == name) {
            return Ok(());
        }
        let known = match self.adaptors.as_slice() {
            [] => "it has none".to_string(),
            names => format!("it has: {}", names.join(", ")),
        };
        Err(Error::usage(format!(
            "{} has no adaptor `{name}`; {known}",
            self.architecture
        )))
    }
}

/// A vision network: `[B,3,H,W]` RGB in `[0,1]` (fp32) -> [`Features`]. It normalises for itself.
pub trait Backbone: Send {
    fn info(&self) -> &BackboneInfo;

    /// Red, green and blue in `[0,1]` of what lies beside a picture that is padded to the model's
    /// size: black where the model pads before it normalises; where it pads after that (SAM), the
    /// colour that becomes zero.
    fn padding(&self) -> [f64; 3] {
        [0.0; 3]
    }

    /// Tokens of a picture's code at this size, where the network makes a code of chosen length
    /// (RADIO1D): as many as were asked for, as far as there are so many. `None` too where the
    /// network chooses their number for each picture.
    fn code_length(&self, _height: i64, _width: i64) -> Option<i64> {
        None
    }

    /// Codes of that many tokens from now on, where the network makes codes (RADIO1D); the weights
    /// stay as they are.
    fn set_code_length(&mut self, _tokens: i64) -> Result<()> {
        Err(Error::usage(format!(
            "--tokens: {} makes no code of tokens",
            self.info().architecture
        )))
    }

    /// Whether its spatial features have a place in the picture each, in raster order.
    fn has_spatial_map(&self) -> bool {
        true
    }

    /// Runs the network on `x` and gives what `request` asks for. Callers go through [`run`] or
    /// its siblings, which check the input and turn libtorch failures into errors.
    ///
    /// `x`: `[B,3,H,W]` fp32 in `[0,1]`, on the backbone's device.
    fn forward(&self, x: &Tensor, request: &Request) -> Result<Features>;

    /// Parameters, mode and saving, where the network was built for training
    /// ([`Purpose::Training`](super::Purpose)).
    fn trainable(&self) -> Option<&Trainable> {
        None
    }
}

/// Runs `backbone` on `x` without gradients. The input's shape and the adaptors' names are
/// checked before, and afterwards that every output is finite.
pub fn run(backbone: &dyn Backbone, x: &Tensor, request: &Request) -> Result<Features> {
    let features = run_unread(backbone, x, request)?;
    check_finite(&features, backbone.info())?;
    Ok(features)
}

/// As [`run`], but no output is looked at: for timing, and for capturing a graph, where reading a
/// value back would wait for the device.
pub fn run_unread(backbone: &dyn Backbone, x: &Tensor, request: &Request) -> Result<Features> {
    check_input(backbone.info(), x, request)?;
    crate::runtime::guard(|| {
        // Unlike `tch::no_grad`, the guard gives gradients back when an operator fails.
        let _no_grad = tch::no_grad_guard();
        backbone.forward(x, request)
    })
}

/// As [`run`], with gradients as the caller has them switched; for a network that was built for
/// training.
pub fn run_with_gradients(
    backbone: &dyn Backbone,
    x: &Tensor,
    request: &Request,
) -> Result<Features> {
    check_input(backbone.info(), x, request)?;
    let features = crate::runtime::guard(|| backbone.forward(x, request))?;
    check_finite(&features, backbone.info())?;
    Ok(features)
}

fn check_input(info: &BackboneInfo, x: &Tensor, request: &Request) -> Result<()> {
    let (_, channels, height, width) = x
        .size4()
        .map_err(|_| Error::model(format!("the input must be [B,3,H,W], it is {:?}", x.size())))?;
    if channels != 3 {
        return Err(Error::model(format!(
            "the input must have 3 channels (RGB), it has {channels}"
        )));
    }
    info.check_resolution(height, width)?;
    tracing::trace!("{} images through {}", x.size()[0], info.architecture);
    request
        .adaptors
        .iter()
        .try_for_each(|name| info.check_adaptor(name))
}

impl Features {
    /// Every output with its name, as `features` writes them.
    fn outputs(&self) -> Vec<(String, &Tensor)> {
        let mut outputs = vec![
            ("summary".to_string(), &self.summary),
            ("spatial".to_string(), &self.spatial),
        ];
        for (name, adaptor) in &self.adaptors {
            outputs.push((format!("{name}.summary"), &adaptor.summary));
            if let Some((spatial, _)) = &adaptor.spatial {
                outputs.push((format!("{name}.spatial"), spatial));
            }
        }
        for one in &self.intermediates {
            if let Some(summary) = &one.summary {
                outputs.push((format!("block {}.summary", one.block), summary));
            }
            outputs.push((format!("block {}.spatial", one.block), &one.spatial));
        }
        outputs
    }
}

/// An error naming the first output with a value that is not finite. One sum per output, all read
/// back at once: a NaN or an infinity anywhere makes the sum one.
fn check_finite(features: &Features, info: &BackboneInfo) -> Result<()> {
    let _no_grad = tch::no_grad_guard();
    let outputs = features.outputs();
    let sums = outputs
        .iter()
        .map(|(_, tensor)| tensor.f_sum(Kind::Float))
        .collect::<Result<Vec<_>, _>>()?;
    let sums = Vec::<f32>::try_from(Tensor::f_stack(&sums, 0)?)?;
    for ((name, tensor), sum) in outputs.iter().zip(sums) {
        if sum.is_finite() {
            continue;
        }
        // A sum may overflow where no value does.
        let finite = tensor.f_isfinite()?;
        if finite.f_all()?.f_int64_value(&[])? == 1 {
            continue;
        }
        let rows = finite.f_flatten(1, -1)?.f_all_dim(1, false)?;
        let image = rows.f_logical_not()?.f_nonzero()?.f_int64_value(&[0, 0])?;
        let remedy = match features.summary.kind() {
            Kind::Half => "in fp16, which ends at 65504; try --precision bf16 or fp32",
            Kind::BFloat16 => "in bf16; try --precision fp32",
            _ => "in fp32; look for damage in the weights",
        };
        return Err(Error::model(format!(
            "{}: the output `{name}` is not finite for image {image} of the batch (from 0) {remedy}",
            info.architecture
        )));
    }
    Ok(())
}
