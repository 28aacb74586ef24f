//! The pre-norm transformer block of RADIO students (spec/radio.md §2.6).
//!
//! LayerScale and ScaledLN are constants of a layer: for inference they are multiplied into the
//! weights at load, in fp32, and cost nothing at run time.

use super::config::Config;
use super::sizes::{FfnKind, NormKind};
use crate::Result;
use crate::models::dense::LastBlock;
use crate::models::layers::{
    Activation, Attention, LayerNorm, Linear, add_residual, multiply_fresh,
};
use crate::models::vit::TokenSplit;
use crate::weights::Params;
use tch::Tensor;

/// LayerNorm eps inside `mlp` (torch's default), where the blocks have 1e-6.
const MLP_NORM_EPS: f64 = 1e-5;

/// x += attn(norm1(x)); x += mlp(norm2(x))
pub struct Block {
    norm1: Norm,
    attn: Attention,
    norm2: Norm,
    mlp: Ffn,
    /// The last block's `proj` without the LayerScale that is folded into `attn.proj`, for
    /// attention whose output is attended to again.
    unscaled_proj: Option<Linear>,
}

impl Block {
    /// `p` is `blocks.INDEX`.
    pub fn new(p: &Params, config: &Config, index: i64) -> Result<Self> {
        let (width, hidden) = (config.width, config.hidden);
        let scaled_ln = if config.scaled_ln {
            ((index + 1) as f64).sqrt().recip()
        } else {
            1.0
        };
        let layer_scale = |name: &str| {
            let p = p.pp(name);
            // Old files say `gamma`, which wins where both are there.
            let key = if p.has("gamma") { "gamma" } else { "grandma" };
            p.skip("grandma");
            config
                .layer_scale
                .then(|| p.get_f32(key, &[width]))
                .transpose()
        };
        let attn = p.pp("attn");
        let qkv = Linear::new(attn.pp("qkv"), width, 3 * width, true)?;
        let proj = Linear::scaled(&attn.pp("proj"), width, width, layer_scale("ls1")?)?;
        let unscaled_proj = match config.layer_scale && index + 1 == config.depth && !p.trains() {
            false => None,
            true => {
                let proj = attn.pp("proj");
                let weight = proj.get_again("weight", &[width, width])?;
                let bias = proj.get_again("bias", &[width])?;
                Some(Linear::from_tensors(weight, Some(bias))?)
            }
        };
        let mlp = p.pp("mlp");
        let ls2 = layer_scale("ls2")?;
        Ok(Block {
            norm1: Norm::new(&p.pp("norm1"), config, scaled_ln)?,
            attn: Attention::from_parts(qkv, proj, config.heads),
            norm2: Norm::new(&p.pp("norm2"), config, scaled_ln)?,
            mlp: match config.ffn {
                FfnKind::SwiGlu => Ffn::SwiGlu {
                    w12: Linear::new(mlp.pp("w12"), width, 2 * hidden, true)?,
                    w3: Linear::scaled(&mlp.pp("w3"), hidden, width, ls2)?,
                },
                kind => Ffn::Mlp {
                    fc1: Linear::new(mlp.pp("fc1"), width, hidden, true)?,
                    norm: (kind == FfnKind::NormedMlp)
                        .then(|| LayerNorm::new(mlp.pp("norm"), hidden, MLP_NORM_EPS))
                        .transpose()?,
                    fc2: Linear::scaled(&mlp.pp("fc2"), hidden, width, ls2)?,
                },
            },
            unscaled_proj,
        })
    }

    /// x: [B, N, C]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        // Each branch ends in a tensor of its own, which takes up the residual in place.
        let x = add_residual(self.attn.forward(&self.norm1.forward(x), None), x);
        add_residual(self.mlp.forward(&self.norm2.forward(&x)), &x)
    }

    /// As `forward`, attending as `last` says. x: [B, P+N, C]
    pub fn forward_as(&self, x: &Tensor, last: &LastBlock, split: TokenSplit) -> Tensor {
        let proj = self.unscaled_proj.as_ref();
        let normed = self.norm1.forward(x);
        let branch = last.attention.forward(&self.attn, &normed, split, proj);
        if !last.residual {
            return branch;
        }
        let x = add_residual(branch, x);
        add_residual(self.mlp.forward(&self.norm2.forward(&x)), &x)
    }
}

struct Norm {
    kind: NormLayer,
    /// In training: ScaledLN's factor of the output.
    scale: Option<f64>,
}

enum NormLayer {
    Layer(LayerNorm),
    DyT {
        alpha: Tensor,
        gamma: Tensor,
        beta: Tensor,
    },
}

impl Norm {
    fn new(p: &Params, config: &Config, scale: f64) -> Result<Self> {
        let width = &[config.width];
        let folded = scale != 1.0 && !p.trains();
        let scaled = |name: &str| -> Result<Tensor> {
            Ok(if folded {
                (p.get_f32(name, width)? * scale).to_kind(p.kind())
            } else {
                p.get(name, width)?
            })
        };
        let kind = match config.norm {
            NormKind::Layer => {
                let (weight, bias) = (scaled("weight")?, scaled("bias")?);
                NormLayer::Layer(LayerNorm::from_tensors(weight, bias, config.eps))
            }
            NormKind::DyT => NormLayer::DyT {
                alpha: p.get("alpha", &[1])?,
                gamma: scaled("gamma")?,
                beta: scaled("beta")?,
            },
        };
        let scale = (scale != 1.0 && !folded).then_some(scale);
        Ok(Norm { kind, scale })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let y = match &self.kind {
            NormLayer::Layer(norm) => norm.forward(x),
            NormLayer::DyT { alpha, gamma, beta } => beta.addcmul(gamma, &(x * alpha).tanh_()),
        };
        match self.scale {
            Some(scale) => y * scale,
            None => y,
        }
    }
}

enum Ffn {
    Mlp {
        fc1: Linear,
        norm: Option<LayerNorm>,
        fc2: Linear,
    },
    SwiGlu {
        w12: Linear,
        w3: Linear,
    },
}

impl Ffn {
    fn forward(&self, x: &Tensor) -> Tensor {
        match self {
            Ffn::Mlp { fc1, norm, fc2 } => {
                let y = Activation::Gelu.apply(fc1.forward(x));
                fc2.forward(&match norm {
                    Some(norm) => norm.forward(&y),
                    None => y,
                })
            }
            Ffn::SwiGlu { w12, w3 } => {
                let halves = w12.forward(x).chunk(2, -1);
                w3.forward(&multiply_fresh(halves[0].silu(), &halves[1]))
            }
        }
    }
}
