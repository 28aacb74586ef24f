//! The image encoder: a ViT whose blocks attend in windows, a few of them globally, with relative
//! positions; then a neck of two convolutions. Tokens stay [B, H, W, C].

use super::config::Config;
use super::rel_pos::{bias, relative_positions};
use crate::Result;
use crate::models::derived::Derived;
use crate::models::layers::{Activation, LayerNorm, Linear, Mlp, attention};
use crate::models::vit::PatchEmbed;
use crate::weights::Params;
use tch::Tensor;

/// Of the block's norms and the neck's (segment-anything `build_sam`, `LayerNorm2d`).
const EPS: f64 = 1e-6;

/// Bytes of attention bias held at a time. At 1024 px a global block of ViT-H has 16 heads of
/// 4096 x 4096: 1 GiB per picture in fp32, so heads go through in groups.
const BIAS_BYTES: usize = 256 << 20;

struct Attention {
    qkv: Linear,
    proj: Linear,
    /// [n, n, d]
    rel_pos_h: Derived,
    rel_pos_w: Derived,
    heads: i64,
}

impl Attention {
    /// `side` = n: the window, or the whole grid.
    fn new(p: &Params, config: &Config, side: i64) -> Result<Self> {
        let width = config.width;
        let table = |name: &str| -> Result<Derived> {
            let stored = p.shape(name).and_then(|shape| shape.first().copied());
            let rows = stored.unwrap_or(2 * side - 1);
            let table = p.get(name, &[rows, width / config.heads])?;
            Ok(Derived::new(p, move || {
                relative_positions(&table, side, side)
            }))
        };
        Ok(Attention {
            qkv: Linear::new(p.pp("qkv"), width, 3 * width, true)?,
            proj: Linear::new(p.pp("proj"), width, width, true)?,
            rel_pos_h: table("rel_pos_h")?,
            rel_pos_w: table("rel_pos_w")?,
            heads: config.heads,
        })
    }

    /// x: [B, n, n, C]
    fn forward(&self, x: &Tensor) -> Tensor {
        let size = x.size();
        let (b, n, c) = (size[0], size[1] * size[2], size[3]);
        let (heads, d) = (self.heads, c / self.heads);
        let qkv = self
            .qkv
            .forward(x)
            .reshape([b, n, 3, heads, d])
            .permute([2, 0, 3, 1, 4])
            .reshape([3, b * heads, n, d]);
        let (q, k, v) = (qkv.get(0), qkv.get(1), qkv.get(2));
        let (rel_pos_h, rel_pos_w) = (self.rel_pos_h.value(), self.rel_pos_w.value());
        let one = (n * n) as usize * x.kind().elt_size_in_bytes();
        let group = (BIAS_BYTES / one).max(1) as i64;
        let parts: Vec<Tensor> = (0..b * heads)
            .step_by(group as usize)
            .map(|start| {
                let count = group.min(b * heads - start);
                let part = |t: &Tensor| t.narrow(0, start, count);
                // Unscaled q: only the product with k is scaled.
                let mask = bias(&part(&q), &rel_pos_h, &rel_pos_w);
                let [q, k, v, mask] = [part(&q), part(&k), part(&v), mask].map(|t| t.unsqueeze(0));
                attention(&q, &k, &v, Some(&mask)).squeeze_dim(0)
            })
            .collect();
        let y = Tensor::cat(&parts, 0)
            .reshape([b, heads, n, d])
            .transpose(1, 2)
            .reshape(&size);
        self.proj.forward(&y)
    }
}

struct Block {
    norm1: LayerNorm,
    attn: Attention,
    norm2: LayerNorm,
    mlp: Mlp,
    /// Tokens per window side; `None` attends globally.
    window: Option<i64>,
}

impl Block {
    fn new(p: &Params, config: &Config, index: i64) -> Result<Self> {
        let global = config.global_attn_indexes.contains(&index);
        let window = (!global).then_some(config.window);
        let (width, hidden) = (config.width, config.hidden);
        let mlp = p.pp("mlp");
        Ok(Block {
            norm1: LayerNorm::new(p.pp("norm1"), width, EPS)?,
            attn: Attention::new(&p.pp("attn"), config, window.unwrap_or(config.side))?,
            norm2: LayerNorm::new(p.pp("norm2"), width, EPS)?,
            mlp: Mlp::from_parts(
                Linear::new(mlp.pp("lin1"), width, hidden, true)?,
                Linear::new(mlp.pp("lin2"), hidden, width, true)?,
                Activation::Gelu,
            ),
            window,
        })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let normed = self.norm1.forward(x);
        let attended = match self.window {
            None => self.attn.forward(&normed),
            Some(window) => {
                let parts = self.attn.forward(&windows(&normed, window));
                unwindows(&parts, window, &x.size())
            }
        };
        let x = x + attended;
        let y = self.mlp.forward(&self.norm2.forward(&x));
        x + y
    }
}

/// Cuts [B, H, W, C] into windows [B·n, window, window, C], row by row, after filling up with
/// zeros at the right and bottom. The zeros take part as keys, as they did in training.
pub fn windows(x: &Tensor, window: i64) -> Tensor {
    let size = x.size();
    let (b, c) = (size[0], size[3]);
    let missing = |n: i64| (window - n % window) % window;
    let x = x.constant_pad_nd([0, 0, 0, missing(size[2]), 0, missing(size[1])]);
    let (rows, columns) = (x.size()[1] / window, x.size()[2] / window);
    x.reshape([b, rows, window, columns, window, c])
        .transpose(2, 3)
        .reshape([-1, window, window, c])
}

/// The inverse of [`windows`] for tokens of `size` [B, H, W, C].
fn unwindows(x: &Tensor, window: i64, size: &[i64]) -> Tensor {
    let (rows, columns) = (
        (size[1] + window - 1) / window,
        (size[2] + window - 1) / window,
    );
    x.reshape([size[0], rows, columns, window, window, size[3]])
        .transpose(2, 3)
        .reshape([size[0], rows * window, columns * window, size[3]])
        .narrow(1, 0, size[1])
        .narrow(2, 0, size[2])
}

/// From tokens to the image embedding the prompt decoder works on. Fields by the keys `0`..`3`.
pub struct Neck {
    /// 1x1, as a matrix [out, C]
    conv1: Tensor,
    norm1: LayerNorm,
    /// 3x3 [out, out, 3, 3]
    conv2: Tensor,
    norm2: LayerNorm,
}

impl Neck {
    pub fn new(p: &Params, width: i64, out: i64) -> Result<Self> {
        Ok(Neck {
            conv1: p.pp(0).get("weight", &[out, width])?,
            norm1: LayerNorm::new(p.pp(1), out, EPS)?,
            conv2: p.pp(2).get("weight", &[out, out, 3, 3])?,
            norm2: LayerNorm::new(p.pp(3), out, EPS)?,
        })
    }

    /// [B, H, W, C] -> [B, out, H, W]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let x = self.norm1.forward(&x.linear(&self.conv1, None::<&Tensor>));
        let x =
            x.permute([0, 3, 1, 2])
                .conv2d(&self.conv2, None::<&Tensor>, [1, 1], [1, 1], [1, 1], 1);
        let x = self.norm2.forward(&x.permute([0, 2, 3, 1]));
        x.permute([0, 3, 1, 2])
    }
}

pub struct Encoder {
    patch_embed: PatchEmbed,
    /// [1, n, n, C]
    pos_embed: Tensor,
    blocks: Vec<Block>,
    neck: Neck,
}

impl Encoder {
    pub fn new(p: &Params, config: &Config) -> Result<Self> {
        let (width, side) = (config.width, config.side);
        Ok(Encoder {
            patch_embed: PatchEmbed::new(&p.pp("patch_embed.proj"), config.patch, width, true)?,
            pos_embed: p.get("pos_embed", &[1, side, side, width])?,
            blocks: (0..config.depth)
                .map(|i| Block::new(&p.pp("blocks").pp(i), config, i))
                .collect::<Result<_>>()?,
            neck: Neck::new(&p.pp("neck"), width, config.neck)?,
        })
    }

    /// Normalised pixels `[B,3,S,S]` -> tokens of the last block [B, n, n, C].
    pub fn forward(&self, x: &Tensor) -> Tensor {
        (0..self.depth()).fold(self.embed(x), |tokens, i| self.block(i, &tokens))
    }

    /// Normalised pixels `[B,3,S,S]` -> tokens that enter the first block [B, n, n, C].
    pub fn embed(&self, x: &Tensor) -> Tensor {
        let tokens = self.patch_embed.forward(x);
        let (side, b) = (self.pos_embed.size()[1], x.size()[0]);
        tokens.reshape([b, side, side, -1]) + &self.pos_embed
    }

    /// Tokens [B, n, n, C] through block `i`.
    pub fn block(&self, i: usize, tokens: &Tensor) -> Tensor {
        self.blocks[i].forward(tokens)
    }

    pub fn depth(&self) -> usize {
        self.blocks.len()
    }

    /// Tokens [B, h, w, C] -> image embedding [B, out, h, w].
    pub fn neck(&self, tokens: &Tensor) -> Tensor {
        self.neck.forward(tokens)
    }
}
