//! Patch features that are compared with text (spec/open_vocabulary.md §2): what each family gives,
//! and the changes of the last block's attention by which the published methods differ.

use super::Backbone;
use super::layers::{Attention, Linear, attention, merge_heads};
use super::positions::Resample;
use super::vit::TokenSplit;
use crate::runtime::guard;
use crate::{Error, Result};
use tch::{Device, Kind, Tensor};

/// Entries of an attention matrix that are held at once: rows go through in blocks of so many.
const ENTRIES: i64 = 1 << 26;
/// Smallest length that is divided by (`torch.nn.functional.normalize`).
const SMALLEST_LENGTH: f64 = 1e-12;

/// Which methods a network can be used with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextFamily {
    /// ViT students: a summary head per adaptor, and a last block that may attend otherwise.
    Radio,
    /// A summary head per adaptor; no last block of that kind.
    ERadio,
    /// A projection behind the last block.
    Clip,
    /// An attention pool behind the last block.
    Siglip,
}

/// Patch tokens, and the way from them into the space of text.
pub trait TextAligned {
    fn family(&self) -> TextFamily;

    /// x: `[B,3,H,W]` in `[0,1]` -> patch tokens `[B,N,C]` in the run's precision, as features are
    /// given (after the final norm), and their grid.
    fn tokens(&self, x: &Tensor, last: &LastBlock) -> Result<(Tensor, (i64, i64))>;

    /// Patch tokens `[B,N,C]` -> `[B,N,D]` fp32 in the text space of `adaptor`, not normalised.
    fn align(&self, tokens: &Tensor, adaptor: &str) -> Result<Tensor>;
}

/// How the last block runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LastBlock {
    pub attention: LastAttention,
    /// Whether the residual connection and the MLP stay; else the block gives its attention alone.
    pub residual: bool,
    /// Position tables of CLIP resampled by this rule where the number of tokens differs; `None`:
    /// as the network does.
    pub positions: Option<Resample>,
}

impl LastBlock {
    /// As the network was trained.
    pub const ORDINARY: LastBlock = LastBlock {
        attention: LastAttention::Ordinary,
        residual: true,
        positions: None,
    };

    /// Whether nothing is changed.
    pub fn is_ordinary(&self) -> bool {
        *self == Self::ORDINARY
    }
}

/// What the last block's attention weighs its values by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LastAttention {
    /// softmax(q kᵀ d^-0.5) v
    Ordinary,
    /// SCRA (RADSeg `radseg.py`:107-139): the ordinary output, projected, correlates with itself
    /// per head; `scale` times these cosines, negative ones left out, weigh the values again.
    Recursive { scale: f64 },
    /// softmax(k kᵀ d^-0.5 + W) v, W = exp(-distance² / (2 sigma²)) between patches, in patches, 0
    /// in the rows and columns of prefix tokens (NARadio, NACLIP).
    Neighbours { sigma: f64 },
    /// v: every token sees itself only (MaskCLIP).
    Value,
    /// softmax(q qᵀ d^-0.5) v (ClearCLIP)
    Queries,
    /// (softmax(q qᵀ d^-0.5) + softmax(k kᵀ d^-0.5)) v (SCLIP)
    QueriesAndKeys,
}

impl LastAttention {
    /// x: `[B,P+N,C]`, normalised -> `[B,P+N,C]` behind the output projection.
    ///
    /// `unscaled`: the output projection where a LayerScale is folded into that of `layer`.
    pub fn forward(
        self,
        layer: &Attention,
        x: &Tensor,
        split: TokenSplit,
        unscaled: Option<&Linear>,
    ) -> Tensor {
        let [q, k, v] = layer.project(x);
        let y = match self {
            LastAttention::Ordinary => attention(&q, &k, &v, None),
            LastAttention::Recursive { scale } => {
                let first = merge_heads(&attention(&q, &k, &v, None));
                let projected = unscaled.unwrap_or(&layer.proj).forward(&first);
                recur(&layer.split_heads(&projected), &v, scale)
            }
            LastAttention::Neighbours { sigma } => {
                let prior = neighbour_prior(split, sigma, k.device()).to_kind(k.kind());
                attention(&k, &k, &v, Some(&prior))
            }
            LastAttention::Value => v,
            LastAttention::Queries => attention(&q, &q, &v, None),
            LastAttention::QueriesAndKeys => {
                attention(&q, &q, &v, None) + attention(&k, &k, &v, None)
            }
        };
        layer.proj.forward(&merge_heads(&y))
    }
}

/// first, v: [B, heads, N, d]. In fp32: entries near 0 are either in or out.
fn recur(first: &Tensor, v: &Tensor, scale: f64) -> Tensor {
    let unit = unit_rows(&first.to_kind(Kind::Float));
    let values = v.to_kind(Kind::Float);
    let keys = unit.transpose(-2, -1);
    let size = unit.size();
    let (outer, n) = (size[0] * size[1], size[2]);
    let step = (ENTRIES / (outer * n)).max(1);
    let rows: Vec<Tensor> = (0..n)
        .step_by(step as usize)
        .map(|start| {
            let some = unit.narrow(2, start, step.min(n - start));
            weights(some.matmul(&keys) * scale).matmul(&values)
        })
        .collect();
    Tensor::cat(&rows, 2).to_kind(v.kind())
}

/// Softmax over the last axis without the negative entries; 0 stays in, and so does every row's
/// entry for itself.
pub fn weights(similarities: Tensor) -> Tensor {
    let mut similarities = similarities;
    let negative = similarities.lt(0.0);
    let _ = similarities.masked_fill_(&negative, f64::NEG_INFINITY);
    similarities.softmax(-1, Kind::Float)
}

/// Rows (over the last axis) of length 1.
pub fn unit_rows(x: &Tensor) -> Tensor {
    let length = x.norm_scalaropt_dim(2.0, [-1], true);
    x / length.clamp_min(SMALLEST_LENGTH)
}

/// [P+N, P+N] fp32, with the patches row by row.
fn neighbour_prior(split: TokenSplit, sigma: f64, device: Device) -> Tensor {
    let (h, w) = split.grid;
    let axis = |n: i64| Tensor::arange(n, (Kind::Double, device));
    let apart = |n: i64| (axis(n).unsqueeze(1) - axis(n).unsqueeze(0)).square();
    let rows = apart(h).view([h, 1, h, 1]);
    let columns = apart(w).view([1, w, 1, w]);
    let squared = (rows + columns).view([h * w, h * w]);
    let prior = (squared / (-2.0 * sigma * sigma)).exp();
    prior
        .to_kind(Kind::Float)
        .constant_pad_nd([split.prefix, 0, split.prefix, 0])
}

/// The network's way into the space of text.
///
/// # Errors
/// A network that has none (DINO, SAM, TorchScript).
pub fn text_aligned(backbone: &dyn Backbone) -> Result<&dyn TextAligned> {
    backbone.text_aligned().ok_or_else(|| {
        Error::usage(format!(
            "{} has no patch features in a space of text; use a RADIO student with an adaptor such as clip or siglip2-g, a CLIP or a SigLIP",
            backbone.info().architecture
        ))
    })
}

/// [`TextAligned::tokens`] without gradients, with libtorch's failures as errors.
///
/// x: `[B,3,H,W]` in `[0,1]`; students take multiples of their step, teachers drop the pixels at
/// the right and the bottom that fill no patch.
pub fn tokens(
    backbone: &dyn Backbone,
    x: &Tensor,
    last: &LastBlock,
) -> Result<(Tensor, (i64, i64))> {
    let (_, _, height, width) = x.size4()?;
    let info = backbone.info();
    let aligned = text_aligned(backbone)?;
    match aligned.family() {
        TextFamily::Radio | TextFamily::ERadio => info.check_resolution(height, width)?,
        TextFamily::Clip | TextFamily::Siglip => {
            if height < info.patch || width < info.patch {
                return Err(Error::usage(format!(
                    "{height}x{width} pixels are less than one patch of {} ({})",
                    info.architecture, info.patch
                )));
            }
        }
    }
    guard(|| {
        let _no_grad = tch::no_grad_guard();
        aligned.tokens(x, last)
    })
}

/// [`TextAligned::align`] likewise: `[B,N,C]` -> `[B,N,D]` fp32.
pub fn align(backbone: &dyn Backbone, tokens: &Tensor, adaptor: &str) -> Result<Tensor> {
    let aligned = text_aligned(backbone)?;
    guard(|| {
        let _no_grad = tch::no_grad_guard();
        aligned.align(tokens, adaptor)
    })
}
