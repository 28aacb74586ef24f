//! The blocks of RADIO, and the features behind chosen ones: upstream's `forward_intermediates`
//! (spec/radio.md §2.9).

use super::RadioVit;
use super::vitdet::VitDet;
use crate::models::request::{AlphaScheme, BlockPlan, Request};
use crate::models::student::normalizer::InterNormalizer;
use crate::models::student::patch_grid;
use crate::models::vit::{BlockGroup, mean_of, through_blocks};
use crate::models::{Features, Intermediate};
use crate::{Error, Result};
use tch::Tensor;

impl RadioVit {
    /// x: `[B,3,H,W]` in `[0,1]`, exactly as upstream's function of this name: the final features
    /// pass the final norm only where the intermediates do. Sizes are checked against the patch,
    /// not the ViTDet step: windows do not apply here.
    pub fn forward_intermediates(&self, x: &Tensor, request: &Request) -> Result<Features> {
        let grid = patch_grid(x, self.config.patch)?;
        let (mut tokens, intermediates) = self.encode(x, request, None)?;
        if request.intermediates.as_ref().is_some_and(|r| r.norm) {
            tokens = self.final_norm(tokens);
        }
        Ok(Features {
            intermediates,
            ..self.extract(&tokens, grid, request)
        })
    }

    /// The tokens behind the last block that `request` needs, before the final norm, and the
    /// intermediates it asks for.
    pub(super) fn encode(
        &self,
        x: &Tensor,
        request: &Request,
        vitdet: Option<&VitDet>,
    ) -> Result<(Tensor, Vec<Intermediate>)> {
        let grid = patch_grid(x, self.config.patch)?;
        let plan = BlockPlan::new(request, self.blocks.len())?;
        let (alpha, norm) = match &request.intermediates {
            Some(wanted) => (wanted.alpha, wanted.norm),
            None => (AlphaScheme::None, false),
        };
        let normalizer = self.normalizer_for(alpha)?;
        let read = |group: &BlockGroup| {
            let mut tokens = self.merge(group, grid, normalizer, alpha);
            if norm {
                tokens = self.final_norm(tokens);
            }
            Intermediate {
                block: group.last().map_or(0, |(block, _)| *block),
                summary: Some(self.summary_of(&tokens)),
                spatial: self.split(grid).patches(&tokens),
                grid,
            }
        };
        let tokens = self.embed(x);
        Ok(match vitdet {
            None => {
                let block = |i: usize, tokens: Tensor| self.blocks[i].forward(&tokens);
                through_blocks(&plan, tokens, block, Tensor::shallow_clone, read)
            }
            Some(vitdet) => {
                let windowed = vitdet.cut(&tokens, self.config.prefix_tokens, grid);
                let (windowed, intermediates) = through_blocks(
                    &plan,
                    windowed,
                    |i, tokens| vitdet.forward(i, &self.blocks[i], tokens),
                    |tokens| tokens.join(),
                    read,
                );
                (windowed.join(), intermediates)
            }
        })
    }

    /// The file's normaliser of intermediate features, where the scheme uses one.
    fn normalizer_for(&self, alpha: AlphaScheme) -> Result<Option<&InterNormalizer>> {
        let normalizer = match alpha {
            AlphaScheme::None => None,
            AlphaScheme::PreAlpha | AlphaScheme::PostAlpha => self.inter_normalizer.as_ref(),
        };
        match normalizer {
            Some(known) if known.blocks() < self.blocks.len() => Err(Error::model(format!(
                "the file's normaliser of intermediate features knows {} blocks, the network has {}",
                known.blocks(),
                self.blocks.len()
            ))),
            other => Ok(other),
        }
    }

    /// The tokens that stand for a group of consecutive blocks: a mean over them, patches
    /// normalised, with the rotation of the last.
    fn merge(
        &self,
        group: &BlockGroup,
        grid: (i64, i64),
        normalizer: Option<&InterNormalizer>,
        alpha: AlphaScheme,
    ) -> Tensor {
        let Some(normalizer) = normalizer else {
            return mean_of(group);
        };
        let split = self.split(grid);
        let (mut prefixes, mut patches, mut alphas) = (Vec::new(), Vec::new(), Vec::new());
        for (block, tokens) in group {
            let centred = normalizer.centre(&split.patches(tokens), *block);
            let a = normalizer.alpha(*block);
            let scaled = match alpha {
                AlphaScheme::PreAlpha => centred * a,
                _ => centred,
            };
            prefixes.push((*block, tokens.narrow(1, 0, split.prefix)));
            patches.push((*block, scaled));
            alphas.push(a);
        }
        let last = group.last().map_or(0, |(block, _)| *block);
        let mut rotated = normalizer.rotate(&mean_of(&patches), last);
        if alpha == AlphaScheme::PostAlpha {
            rotated *= alphas.iter().sum::<f64>() / alphas.len() as f64;
        }
        Tensor::cat(&[&mean_of(&prefixes), &rotated], 1)
    }
}
