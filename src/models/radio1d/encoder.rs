//! RADIO1D's encoder (spec/radio1d.md §2): a ViT that merges four neighbours into one token of
//! twice the width, and keeps the first (or last) n of what is left.

use super::rate::{Counts, DynamicRate};
use super::shape::{BlockShape, Shape};
use crate::Result;
use crate::models::layers::{Activation, LayerNorm, Linear};
use crate::models::vit::{Block, BlockConfig, FfnKind};
use crate::weights::Params;
use tch::{Kind, Tensor};

/// LayerNorm eps of the blocks and of the final norms (timm's).
pub(super) const BLOCK_EPS: f64 = 1e-6;
/// LayerNorm eps where tokens are merged and split (torch's default).
pub(super) const LEVEL_EPS: f64 = 1e-5;

/// A timm block: exact GELU, LayerScale under `gamma`.
pub(super) fn block(p: &Params, shape: BlockShape, qkv_bias: bool, scale: bool) -> Result<Block> {
    Block::new(
        p,
        &BlockConfig {
            width: shape.width,
            heads: shape.heads,
            hidden: shape.hidden,
            ffn: FfnKind::Mlp(Activation::Gelu),
            eps: BLOCK_EPS,
            qkv_bias,
            layer_scale: scale,
        },
    )
}

/// Four neighbours become one token of twice the width; so do the prefix tokens, each for itself.
struct Merge {
    norm: LayerNorm,
    reduction: Linear,
    prefix_proj: Linear,
}

impl Merge {
    fn new(model: &Params, level: usize, width: i64) -> Result<Self> {
        let p = model.pp("downscale_blocks").pp(level);
        let prefix = model.pp("prefix_proj_blocks").pp(level);
        Ok(Merge {
            norm: LayerNorm::new(p.pp("norm"), 4 * width, LEVEL_EPS)?,
            reduction: Linear::new(p.pp("reduction"), 4 * width, 2 * width, false)?,
            prefix_proj: Linear::new(prefix, width, 2 * width, false)?,
        })
    }

    /// x: [B, P+h*w, C] -> ([B, P+h'*w', 2C], (h', w')); odd sides are padded with zeros below and
    /// on the right.
    fn forward(&self, x: &Tensor, prefix: i64, (h, w): (i64, i64)) -> (Tensor, (i64, i64)) {
        let (b, _, c) = x.size3().expect("tokens are [B, N, C]");
        let heads = self.prefix_proj.forward(&x.narrow(1, 0, prefix));
        let grid = x.narrow(1, prefix, h * w).reshape([b, h, w, c]);
        let grid = grid.constant_pad_nd([0, 0, 0, w % 2, 0, h % 2]);
        let (h, w) = ((h + 1) / 2, (w + 1) / 2);
        // In the merged vector: column in the pair, row in the pair, channel.
        let fours = grid
            .view([b, h, 2, w, 2, c])
            .permute([0, 1, 3, 4, 2, 5])
            .reshape([b, h * w, 4 * c]);
        let merged = self.reduction.forward(&self.norm.forward(&fours));
        (Tensor::cat(&[heads, merged], 1), (h, w))
    }
}

pub struct Encoder {
    blocks: Vec<Block>,
    /// (block in front of which it stands, merging)
    merges: Vec<(usize, Merge)>,
    norm: Option<LayerNorm>,
    prefix: i64,
    progressive: bool,
    /// Where the model may choose the tokens of a picture.
    rate: Option<DynamicRate>,
}

/// What the encoder makes of a batch.
pub struct Code {
    /// [B, P, C']
    pub prefix: Tensor,
    /// [B, n, C']; zeros behind a picture's own count
    pub tokens: Tensor,
    /// Tokens of each picture, where the model chose them.
    pub counts: Option<Counts>,
    /// The grid behind the last merging.
    pub merged: (i64, i64),
}

impl Code {
    /// The mean of each picture's tokens, [B, C'].
    pub fn mean(&self) -> Tensor {
        match &self.counts {
            None => self.tokens.mean_dim(1, false, None::<Kind>),
            Some(counts) => counts.mean(&self.tokens),
        }
    }
}

/// The code that is asked of the encoder.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// Tokens there are at most for the grid.
    pub limit: i64,
    /// 1 to `limit` tokens; or negative: the model chooses, between 1 and `limit`.
    pub tokens: i64,
    /// The last tokens of the merged grid instead of the first.
    pub last: bool,
}

impl Encoder {
    /// `model` holds `blocks`, `downscale_blocks`, `prefix_proj_blocks` and, perhaps, `norm`.
    pub fn new(model: &Params, shape: &Shape) -> Result<Self> {
        let before = |index: usize| match index {
            0 => shape.width(),
            i => shape.encoder[i - 1].width,
        };
        let blocks = shape.encoder.iter().enumerate();
        Ok(Encoder {
            blocks: blocks
                .map(|(i, &b)| block(&model.pp("blocks").pp(i), b, true, shape.layer_scale))
                .collect::<Result<_>>()?,
            merges: (shape.merges.iter().enumerate())
                .map(|(level, &i)| Ok((i, Merge::new(model, level, before(i))?)))
                .collect::<Result<_>>()?,
            norm: shape
                .final_norm
                .then(|| LayerNorm::new(model.pp("norm"), shape.code_width(), BLOCK_EPS))
                .transpose()?,
            prefix: shape.prefix_tokens,
            progressive: shape.progressive,
            rate: shape
                .dynamic_rate
                .then(|| DynamicRate::new(model, shape))
                .transpose()?,
        })
    }

    pub fn depth(&self) -> usize {
        self.blocks.len()
    }

    /// x: [B, P+h*w, C] with positions -> the code asked for. `read` sees what each block gives, [B, P+N, C or C'], and the grid of the N tokens: (1, N)
    /// where some of a grid have left.
    pub fn forward(
        &self,
        x: Tensor,
        grid: (i64, i64),
        request: Request,
        mut read: impl FnMut(usize, &Tensor, (i64, i64)),
    ) -> Code {
        let (mut x, mut grid) = (x, grid);
        let depth = self.blocks.len();
        let last_merge = self.merges.last().map_or(0, |(index, _)| *index);
        let mut count = grid.0 * grid.1;
        let chosen = self.rate.as_ref().filter(|_| request.tokens < 0);
        let mut counts = None;
        if let Some(rate) = chosen {
            x = rate.announce(&x, request.tokens as f64 / request.limit as f64);
        }
        for (index, block) in self.blocks.iter().enumerate() {
            if let Some((_, merge)) = self.merges.iter().find(|(at, _)| *at == index) {
                if let (Some(rate), None) = (chosen, &counts) {
                    counts = Some(rate.choose(&x, request.limit));
                }
                (x, grid) = merge.forward(&x, self.prefix, grid);
                count = grid.0 * grid.1;
            } else if self.progressive && index > last_merge {
                // The surplus leaves in equal steps; the last block runs on n tokens.
                count -= (count - request.tokens) / (depth - index) as i64;
                x = x.narrow(1, 0, self.prefix + count);
            }
            x = block.forward(&x, None);
            let whole = count == grid.0 * grid.1;
            read(index, &x, if whole { grid } else { (1, count) });
        }
        if let Some(norm) = &self.norm {
            x = norm.forward(&x);
        }
        let n = match &counts {
            None => request.tokens,
            Some(_) => request.limit,
        };
        let here = x.size()[1] - self.prefix;
        let spatial = x.narrow(1, self.prefix, here);
        let tokens = match (&counts, request.last) {
            (None, false) => spatial.narrow(1, 0, n),
            (None, true) => spatial.narrow(1, here - n, n),
            (Some(counts), false) => counts.keep(&spatial.narrow(1, 0, n)),
            (Some(counts), true) => counts.keep(&counts.last_of(&spatial, n)),
        };
        Code {
            prefix: x.narrow(1, 0, self.prefix),
            tokens,
            counts,
            merged: grid,
        }
    }
}
