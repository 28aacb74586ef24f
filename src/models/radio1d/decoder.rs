//! RADIO1D's decoder (spec/radio1d.md §3): from a code of n tokens to a feature per patch.

use super::encoder::{BLOCK_EPS, Code, LEVEL_EPS, block};
use super::shape::Shape;
use crate::Result;
use crate::models::layers::{LayerNorm, Linear};
use crate::models::vit::Block;
use crate::weights::Params;
use tch::{Kind, Tensor};

/// One token becomes four of half the width.
struct Split {
    expansion: Linear,
    norm: LayerNorm,
    prefix_proj: Linear,
}

impl Split {
    fn new(decoder: &Params, level: usize, width: i64) -> Result<Self> {
        let p = decoder.pp("upscale_blocks").pp(level);
        let prefix = decoder.pp("prefix_proj_blocks").pp(level);
        Ok(Split {
            expansion: Linear::new(p.pp("expansion"), width, 2 * width, false)?,
            norm: LayerNorm::new(p.pp("norm"), width / 2, LEVEL_EPS)?,
            prefix_proj: Linear::new(prefix, width, width / 2, false)?,
        })
    }

    /// x: [B, P+h*w, C] -> ([B, P+4*h*w, C/2], (2h, 2w))
    fn forward(&self, x: &Tensor, prefix: i64, (h, w): (i64, i64)) -> (Tensor, (i64, i64)) {
        let (b, _, c) = x.size3().expect("tokens are [B, N, C]");
        let heads = self.prefix_proj.forward(&x.narrow(1, 0, prefix));
        let cells = self
            .expansion
            .forward(&x.narrow(1, prefix, h * w))
            .view([b, h, w, 2, 2, c / 2]) // row in the pair, then column
            .permute([0, 1, 3, 2, 4, 5])
            .reshape([b, 4 * h * w, c / 2]);
        let cells = self.norm.forward(&cells);
        (Tensor::cat(&[heads, cells], 1), (2 * h, 2 * w))
    }
}

pub struct Decoder {
    /// [r*r, C'] in the run's precision
    filler: Tensor,
    filler_side: i64,
    /// [1, P, C']
    prefix_tokens: Tensor,
    blocks: Vec<Block>,
    /// (block in front of which it stands, splitting)
    splits: Vec<(usize, Split)>,
    norm: LayerNorm,
}

impl Decoder {
    /// `p` is `decoder`.
    pub fn new(p: &Params, shape: &Shape) -> Result<Self> {
        let (side, code_width) = (shape.filler_side, shape.code_width());
        let before = |index: usize| match index {
            0 => code_width,
            i => shape.decoder[i - 1].width,
        };
        let prefix_tokens = p.get("prefix_tokens", &[shape.prefix_tokens, code_width])?;
        let blocks = shape.decoder.iter().enumerate();
        Ok(Decoder {
            filler: p.get("filler_tokens", &[side * side, code_width])?,
            filler_side: side,
            prefix_tokens: prefix_tokens.unsqueeze(0),
            blocks: blocks
                .map(|(i, &b)| block(&p.pp("blocks").pp(i), b, false, false))
                .collect::<Result<_>>()?,
            splits: (shape.splits.iter().enumerate())
                .map(|(level, &i)| Ok((i, Split::new(p, level, before(i))?)))
                .collect::<Result<_>>()?,
            norm: LayerNorm::new(p.pp("norm"), shape.width(), BLOCK_EPS)?,
        })
    }

    /// The filler tokens of a grid, [h*w, C'] in raster order.
    fn filler_of(&self, (h, w): (i64, i64)) -> Tensor {
        let side = self.filler_side;
        if (h, w) == (side, side) {
            return self.filler.shallow_clone();
        }
        let map = self.filler.view([1, side, side, -1]).permute([0, 3, 1, 2]);
        map.to_kind(Kind::Float)
            .upsample_bilinear2d([h, w], false, None, None)
            .flatten(2, 3)
            .squeeze_dim(0)
            .transpose(0, 1)
            .to_kind(self.filler.kind())
    }

    /// The tokens of an input whose patch grid is `grid`: [B, P+h*w, C]. The encoder's own prefix
    /// does not enter.
    pub fn forward(&self, code: &Code, grid: (i64, i64)) -> Tensor {
        let (batch, n, _) = code.tokens.size3().expect("a code is [B, n, C']");
        let prefix = self.prefix_tokens.size()[1];
        let filler = self.filler_of(code.merged).unsqueeze(0);
        let rest = filler.narrow(1, n, filler.size()[1] - n);
        let tokens = match &code.counts {
            None => code.tokens.shallow_clone(),
            Some(counts) => (code.tokens).where_self(&counts.mask(n), &filler.narrow(1, 0, n)),
        };
        let mut x = Tensor::cat(
            &[
                self.prefix_tokens.expand([batch, -1, -1], false),
                tokens,
                rest.expand([batch, -1, -1], false),
            ],
            1,
        );
        let mut current = code.merged;
        for (index, block) in self.blocks.iter().enumerate() {
            if let Some((_, split)) = self.splits.iter().find(|(at, _)| *at == index) {
                (x, current) = split.forward(&x, prefix, current);
            }
            x = block.forward(&x, None);
        }
        let x = self.norm.forward(&x);
        // The merged grid was padded where a side was odd.
        let width = x.size()[2];
        let cells = x
            .narrow(1, prefix, current.0 * current.1)
            .view([batch, current.0, current.1, width])
            .narrow(1, 0, grid.0)
            .narrow(2, 0, grid.1)
            .reshape([batch, grid.0 * grid.1, width]);
        Tensor::cat(&[x.narrow(1, 0, prefix), cells], 1)
    }
}
