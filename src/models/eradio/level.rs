//! A level: its blocks, and the down-sampling to the next one (spec radio.md §3.4-3.5).

use super::Tap;
use super::block::{AttentionBlock, BlockShape};
use super::config::{CONV_LEVELS, Config};
use super::stem::{ConvBlocks, Downsample};
use crate::Result;
use crate::weights::Params;
use tch::Tensor;

pub struct Level {
    index: usize,
    blocks: Blocks,
    downsample: Option<Downsample>,
}

enum Blocks {
    Conv(ConvBlocks),
    Attention(Attention),
}

/// The blocks of an attention level.
struct Attention {
    /// [blocks][attention blocks]
    blocks: Vec<Vec<AttentionBlock>>,
    /// The window the weights were trained with.
    window: i64,
    /// Largest sub-sampling ratio of its blocks.
    ratio: i64,
    /// Upstream's whole-level windowing (`conv_groups_ratio` -1 without sub-sampling), which
    /// leaves an enlarged map enlarged.
    stays_enlarged: bool,
}

impl Level {
    pub fn new(p: &Params, config: &Config, index: usize) -> Result<Self> {
        let dim = config.level_dim(index);
        let last = index + 1 == config.depths.len();
        let blocks = if index < CONV_LEVELS {
            Blocks::Conv(ConvBlocks::new(
                &p.pp("blocks"),
                config,
                dim,
                config.depths[index],
            )?)
        } else {
            Blocks::Attention(Attention::new(&p.pp("blocks"), config, index)?)
        };
        Ok(Level {
            index,
            blocks,
            downsample: (!last)
                .then(|| Downsample::new(&p.pp("downsample"), config, dim))
                .transpose()?,
        })
    }

    /// x: [B, C, H, W] -> (the input of the next level, the map before down-sampling)
    pub fn forward(&self, x: &Tensor, window: Option<i64>, tap: Tap) -> (Tensor, Tensor) {
        let map = match &self.blocks {
            Blocks::Conv(blocks) => blocks.forward(x),
            Blocks::Attention(attention) => attention.forward(x, window, self.index, tap),
        };
        match &self.downsample {
            None => (map.shallow_clone(), map),
            Some(downsample) => (downsample.forward(&map), map),
        }
    }
}

impl Attention {
    fn new(p: &Params, config: &Config, index: usize) -> Result<Self> {
        let ratios = &config.sr_ratio[index];
        let window = config.window_size[index][0];
        let stays_enlarged = config.conv_groups_ratio == -1.0 && ratios.iter().all(|&r| r == 1);
        let block = |b: usize| {
            // Every second block is shifted; a level that is cut into windows once is never.
            let shifted = config.use_shift && b % 2 == 1 && !stays_enlarged;
            let one = |(a, &ratio): (usize, &i64)| {
                let shape = BlockShape {
                    dim: config.level_dim(index),
                    heads: config.num_heads[index],
                    window,
                    ratio,
                    shift: if shifted { window / 2 } else { 0 },
                };
                AttentionBlock::new(&p.pp(b).pp("attention_blocks").pp(a), config, shape)
            };
            ratios.iter().enumerate().map(one).collect::<Result<_>>()
        };
        Ok(Attention {
            blocks: (0..config.depths[index])
                .map(block)
                .collect::<Result<_>>()?,
            window,
            ratio: ratios.iter().copied().max().unwrap_or(1),
            stays_enlarged,
        })
    }

    fn forward(&self, x: &Tensor, window: Option<i64>, level: usize, tap: Tap) -> Tensor {
        let window = window.unwrap_or(self.window);
        let (_, _, height, width) = x.size4().expect("a map is [B, C, H, W]");
        // A size that windows do not divide is enlarged for the length of the level.
        let span = window * self.ratio;
        let whole = |length: i64| (length + span - 1) / span * span;
        let mut x = resize(x, whole(height), whole(width));
        for (b, block) in self.blocks.iter().enumerate() {
            for (a, attention) in block.iter().enumerate() {
                x = attention.forward(&x, window);
                tap(
                    format_args!("levels.{level}.blocks.{b}.attention_blocks.{a}"),
                    &x,
                );
            }
        }
        if self.stays_enlarged {
            x
        } else {
            resize(&x, height, width)
        }
    }
}

/// Nearest-neighbour resize; nothing happens to a map that has the size.
fn resize(x: &Tensor, height: i64, width: i64) -> Tensor {
    if x.size()[2..] == [height, width] {
        x.shallow_clone()
    } else {
        x.upsample_nearest2d([height, width], None, None)
    }
}
