//! The heads of an adaptor: MLPs on a cls token or on the patch tokens, and the attention head
//! (spec/radio.md §4.2). They stay in fp32, as upstream keeps them.

use crate::models::layers::{Activation, LayerNorm, Linear, add_residual};
use crate::models::vit::{Block, BlockConfig, FfnKind};
use crate::weights::{Checkpoint, Params};
use crate::{Error, Result};
use serde_json::Value;
use tch::Tensor;

/// LayerNorm eps of MLP heads (torch's default).
const MLP_EPS: f64 = 1e-5;
/// Attention heads have 16 heads, whatever the width (upstream's constant).
const ATTENTION_HEADS: i64 = 16;
/// One token in, one token out.
pub const UPSAMPLE_NONE: i64 = 1;

/// Which of upstream's head modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadKind {
    /// fc1, norm, ReLU, inner x (Linear, norm, ReLU), fc2
    V1,
    /// fc1, inner x residual (norm, GELU, Linear), norm, GELU, Linear
    V2 { pre_norm: bool },
    /// `blocks` transformer blocks, then a V2 without inner blocks
    Attention { blocks: i64 },
}

/// Sizes of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadShape {
    pub kind: HeadKind,
    pub input: i64,
    pub hidden: i64,
    /// Width of the last layer: u² C' where tokens are upsampled u-fold.
    pub output: i64,
    pub inner: i64,
    /// u
    pub upsample: i64,
}

impl HeadShape {
    /// From `adaptor_configs.NAME.{summary,feature}` of a Hugging Face config.
    ///
    /// `width`: C of the backbone.
    pub fn of_config(config: &Value, width: i64) -> Result<Self> {
        let size = |name: &str| {
            config[name].as_i64().filter(|&n| n > 0).ok_or_else(|| {
                Error::model(format!("adaptor_configs: {name} must be a positive number"))
            })
        };
        Ok(HeadShape {
            kind: match config["version"].as_str() {
                Some("v1") => HeadKind::V1,
                Some("attn") => HeadKind::Attention { blocks: 2 },
                _ => HeadKind::V2 { pre_norm: false },
            },
            input: config["input_dim"].as_i64().unwrap_or(width),
            hidden: size("hidden_dim")?,
            output: size("output_dim")?,
            inner: config["num_inner"].as_i64().unwrap_or(0),
            upsample: config["upsample_factor"].as_i64().unwrap_or(1).max(1),
        })
    }

    /// From the tensors under `prefix`.
    pub fn of_file(checkpoint: &Checkpoint, prefix: &str, upsample: i64) -> Result<Self> {
        let blocks = checkpoint.count(&format!("{prefix}.blocks."), ".attn.qkv.weight") as i64;
        let mlp = match blocks {
            0 => prefix.to_string(),
            _ => format!("{prefix}.mlp"),
        };
        let matrix = |name: &str| {
            let key = format!("{mlp}.{name}");
            match checkpoint.shape(&key) {
                Some(&[output, input]) => Ok((output, input)),
                Some(shape) => Err(Error::tensor(
                    &checkpoint.path,
                    &key,
                    format!("has shape {shape:?}, a head's layers are matrices"),
                )),
                None => Err(Error::tensor(
                    &checkpoint.path,
                    &key,
                    "missing; every head has it",
                )),
            }
        };
        let (hidden, input) = matrix("fc1.weight")?;
        let v1 = checkpoint.has(&format!("{mlp}.fc2.weight"));
        let (kind, last) = match (blocks, v1) {
            (0, true) => (HeadKind::V1, "fc2.weight"),
            (0, false) => {
                let pre_norm = checkpoint.has(&format!("{mlp}.pre_norm.0.weight"));
                (HeadKind::V2 { pre_norm }, "final.2.weight")
            }
            _ => (HeadKind::Attention { blocks }, "final.2.weight"),
        };
        let (output, _) = matrix(last)?;
        if output % (upsample * upsample) != 0 {
            return Err(Error::tensor(
                &checkpoint.path,
                format!("{mlp}.{last}"),
                format!("its {output} rows do not divide into {upsample}x{upsample} tokens"),
            ));
        }
        let inner = match kind {
            HeadKind::V1 => (0..)
                .take_while(|i| checkpoint.has(&format!("{mlp}.inner.{}.weight", 3 * i)))
                .count(),
            _ => checkpoint.count(&format!("{mlp}.blocks."), ".0.weight"),
        };
        Ok(HeadShape {
            kind,
            input,
            hidden,
            output,
            inner: inner as i64,
            upsample,
        })
    }
}

/// A head, fp32 in and out.
pub enum Head {
    V1 {
        /// fc1 and what follows it, each with its norm
        layers: Vec<(Linear, LayerNorm)>,
        fc2: Linear,
    },
    V2(Mlp2),
    Attention {
        blocks: Vec<Block>,
        mlp: Mlp2,
    },
}

impl Head {
    /// `attention_eps`: LayerNorm eps of the attention head's blocks.
    pub fn new(p: &Params, shape: &HeadShape, attention_eps: f64) -> Result<Self> {
        let HeadShape { input, hidden, .. } = *shape;
        Ok(match shape.kind {
            HeadKind::V1 => {
                let mut layers = vec![(
                    Linear::new(p.pp("fc1"), input, hidden, true)?,
                    LayerNorm::new(p.pp("norm"), hidden, MLP_EPS)?,
                )];
                for i in 0..shape.inner {
                    let inner = p.pp("inner");
                    layers.push((
                        Linear::new(inner.pp(3 * i), hidden, hidden, true)?,
                        LayerNorm::new(inner.pp(3 * i + 1), hidden, MLP_EPS)?,
                    ));
                }
                let fc2 = Linear::new(p.pp("fc2"), hidden, shape.output, true)?;
                Head::V1 { layers, fc2 }
            }
            HeadKind::V2 { pre_norm } => Head::V2(Mlp2::new(p, shape, pre_norm)?),
            HeadKind::Attention { blocks } => {
                if input % ATTENTION_HEADS != 0 {
                    return Err(Error::model(format!(
                        "an attention head needs a width that {ATTENTION_HEADS} divides, not {input}"
                    )));
                }
                let config = BlockConfig {
                    width: input,
                    heads: ATTENTION_HEADS,
                    hidden: 4 * input,
                    ffn: FfnKind::Mlp(Activation::Gelu),
                    eps: attention_eps,
                    qkv_bias: false,
                    layer_scale: true,
                };
                Head::Attention {
                    blocks: crate::models::vit::blocks(&p.pp("blocks"), blocks, &config)?,
                    mlp: Mlp2::new(&p.pp("mlp"), shape, false)?,
                }
            }
        })
    }

    /// x: [.., input] -> [.., output]; the attention head takes [B, N, input].
    pub fn forward(&self, x: &Tensor) -> Tensor {
        match self {
            Head::V1 { layers, fc2 } => {
                let mut x = x.shallow_clone();
                for (linear, norm) in layers {
                    x = norm.forward(&linear.forward(&x)).relu();
                }
                fc2.forward(&x)
            }
            Head::V2(mlp) => mlp.forward(x),
            Head::Attention { blocks, mlp } => {
                let mut x = x.shallow_clone();
                for block in blocks {
                    x = block.forward(&x, None);
                }
                mlp.forward(&x)
            }
        }
    }
}

/// [norm, GELU,] fc1, residual (norm, GELU, Linear) blocks, norm, GELU, Linear.
pub struct Mlp2 {
    pre_norm: Option<LayerNorm>,
    fc1: Linear,
    blocks: Vec<(LayerNorm, Linear)>,
    final_norm: LayerNorm,
    final_linear: Linear,
}

impl Mlp2 {
    fn new(p: &Params, shape: &HeadShape, pre_norm: bool) -> Result<Self> {
        let HeadShape { input, hidden, .. } = *shape;
        // The attention head's own `blocks` are transformer blocks, its MLP has none.
        let inner = match shape.kind {
            HeadKind::Attention { .. } => 0,
            _ => shape.inner,
        };
        Ok(Mlp2 {
            pre_norm: pre_norm
                .then(|| LayerNorm::new(p.pp("pre_norm.0"), input, MLP_EPS))
                .transpose()?,
            fc1: Linear::new(p.pp("fc1"), input, hidden, true)?,
            blocks: (0..inner)
                .map(|i| {
                    let block = p.pp("blocks").pp(i);
                    Ok((
                        LayerNorm::new(block.pp(0), hidden, MLP_EPS)?,
                        Linear::new(block.pp(2), hidden, hidden, true)?,
                    ))
                })
                .collect::<Result<_>>()?,
            final_norm: LayerNorm::new(p.pp("final.0"), hidden, MLP_EPS)?,
            final_linear: Linear::new(p.pp("final.2"), hidden, shape.output, true)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let mut x = match &self.pre_norm {
            Some(norm) => self.fc1.forward(&norm.forward(x).gelu("none")),
            None => self.fc1.forward(x),
        };
        for (norm, linear) in &self.blocks {
            x = add_residual(linear.forward(&norm.forward(&x).gelu("none")), &x);
        }
        self.final_linear
            .forward(&self.final_norm.forward(&x).gelu("none"))
    }
}
