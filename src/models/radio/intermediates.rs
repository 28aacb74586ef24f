//! Features behind chosen blocks: upstream's `forward_intermediates` (spec/radio.md §2.9).

use super::RadioVit;
use super::normalizer::InterNormalizer;
use crate::models::Features;
use crate::{Error, Result};
use std::collections::BTreeSet;
use tch::Tensor;

/// Which blocks.
#[derive(Debug, Clone)]
pub enum Indices {
    /// The last n.
    Last(usize),
    /// By number, from 0; negative ones count from the end. Order and repetition do not matter.
    Blocks(Vec<i64>),
}

/// Whether the blocks between the chosen ones contribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Aggregation {
    #[default]
    Sparse,
    /// Each chosen block stands for the mean since the previous chosen one.
    Dense,
}

/// Where the normaliser's alphas go; without a normaliser in the file it makes no difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AlphaScheme {
    /// mean of the alphas times mean of the features
    #[default]
    PostAlpha,
    /// mean of alpha times features
    PreAlpha,
    /// no normaliser at all
    None,
}

#[derive(Debug, Clone)]
pub struct IntermediateOptions {
    pub indices: Indices,
    /// Apply the final norm to every intermediate and to the final output; else to none.
    pub norm: bool,
    /// Leave out the blocks behind the last chosen one.
    pub stop_early: bool,
    pub aggregation: Aggregation,
    pub alpha: AlphaScheme,
    /// Also return the final features, with these adaptors.
    pub output: Option<Vec<String>>,
}

impl IntermediateOptions {
    pub fn new(indices: Indices) -> Self {
        IntermediateOptions {
            indices,
            norm: false,
            stop_early: false,
            aggregation: Aggregation::default(),
            alpha: AlphaScheme::default(),
            output: None,
        }
    }
}

/// What one chosen block gives.
pub struct Intermediate {
    pub block: usize,
    /// [B, D]: the summary's cls tokens, one behind the other
    pub summary: Tensor,
    /// [B, N, C]
    pub features: Tensor,
}

/// The chosen blocks in order, and the final features where they were asked for.
pub struct Intermediates {
    pub blocks: Vec<Intermediate>,
    pub grid: (i64, i64),
    pub output: Option<Features>,
}

impl RadioVit {
    /// x: `[B,3,H,W]` in `[0,1]`. Sizes are checked against the patch, not the ViTDet step: windows
    /// do not apply here.
    pub fn forward_intermediates(
        &self,
        x: &Tensor,
        options: &IntermediateOptions,
    ) -> Result<Intermediates> {
        let chosen = self.chosen(&options.indices)?;
        let grid = self.grid_of(x)?;
        let normalizer = match options.alpha {
            AlphaScheme::None => None,
            _ => self.inter_normalizer.as_ref(),
        };
        if let Some(normalizer) = normalizer
            && normalizer.blocks() < self.blocks.len()
        {
            return Err(Error::model(format!(
                "the file's normaliser of intermediate features knows {} blocks, the network has {}",
                normalizer.blocks(),
                self.blocks.len()
            )));
        }
        let last = chosen.last().copied().unwrap_or(0);
        let count = match options.stop_early {
            true => last + 1,
            false => self.blocks.len(),
        };
        let mut tokens = self.embed(x);
        let mut found = Vec::new();
        let mut group = Vec::new();
        for (i, block) in self.blocks[..count].iter().enumerate() {
            tokens = block.forward(&tokens);
            let taken = chosen.contains(&i);
            if i <= last && (taken || options.aggregation == Aggregation::Dense) {
                group.push((i, tokens.shallow_clone()));
            }
            if taken {
                let merged = self.merge(&group, normalizer, options.alpha);
                let merged = match options.norm {
                    true => self.final_norm(merged),
                    false => merged,
                };
                group.clear();
                found.push(Intermediate {
                    block: i,
                    summary: self.summary_of(&merged),
                    features: self.patches_of(&merged),
                });
            }
        }
        let output = options.output.as_ref().map(|adaptors| {
            let tokens = match options.norm {
                true => self.final_norm(tokens),
                false => tokens,
            };
            self.extract(&tokens, grid, adaptors)
        });
        Ok(Intermediates {
            blocks: found,
            grid,
            output,
        })
    }

    /// Block numbers, ascending.
    fn chosen(&self, indices: &Indices) -> Result<BTreeSet<usize>> {
        let depth = self.blocks.len() as i64;
        let wanted: Vec<i64> = match indices {
            Indices::Last(n) => (depth - *n as i64..depth).collect(),
            Indices::Blocks(blocks) => blocks.clone(),
        };
        if wanted.is_empty() {
            return Err(Error::usage("no block is asked for"));
        }
        wanted
            .into_iter()
            .map(|i| {
                let block = if i < 0 { i + depth } else { i };
                if (0..depth).contains(&block) {
                    Ok(block as usize)
                } else {
                    Err(Error::usage(format!(
                        "there is no block {i}: the network has {depth}, numbered from 0"
                    )))
                }
            })
            .collect()
    }

    /// The tokens that stand for a group of consecutive blocks: a mean over them, patches
    /// normalised, with the rotation of the last.
    fn merge(
        &self,
        group: &[(usize, Tensor)],
        normalizer: Option<&InterNormalizer>,
        alpha: AlphaScheme,
    ) -> Tensor {
        let mean = |tensors: &[Tensor]| match tensors {
            [one] => one.shallow_clone(),
            many => Tensor::stack(many, 0).mean_dim(0, false, None),
        };
        let all: Vec<Tensor> = group.iter().map(|(_, y)| y.shallow_clone()).collect();
        let Some(normalizer) = normalizer else {
            return mean(&all);
        };
        let prefix = self.config.prefix_tokens;
        let heads: Vec<Tensor> = all.iter().map(|y| y.narrow(1, 0, prefix)).collect();
        let (mut patches, mut alphas) = (Vec::new(), Vec::new());
        for (block, y) in group {
            let centred = normalizer.centre(&self.patches_of(y), *block);
            let a = normalizer.alpha(*block);
            patches.push(match alpha {
                AlphaScheme::PreAlpha => centred * a,
                _ => centred,
            });
            alphas.push(a);
        }
        let last = group.last().map_or(0, |(block, _)| *block);
        let mut rotated = normalizer.rotate(&mean(&patches), last);
        if alpha == AlphaScheme::PostAlpha {
            rotated *= alphas.iter().sum::<f64>() / alphas.len() as f64;
        }
        Tensor::cat(&[&mean(&heads), &rotated], 1)
    }
}
