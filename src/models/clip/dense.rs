//! Patch tokens in the joint space of images and text (spec/open_vocabulary.md §2.6).

use super::Clip;
use crate::models::dense::{LastBlock, TextAligned, TextFamily};
use crate::models::positions::Keep;
use crate::models::vit::TokenSplit;
use crate::{Error, Result};
use tch::{Kind, Tensor};

impl TextAligned for Clip {
    fn family(&self) -> TextFamily {
        TextFamily::Clip
    }

    fn tokens(&self, x: &Tensor, last: &LastBlock) -> Result<(Tensor, (i64, i64))> {
        let grid = self.patch_embed.grid(x);
        let split = TokenSplit { prefix: 1, grid };
        // The methods' own code interpolates where the number of tokens differs.
        let positions = match last.positions {
            Some(rule) => self.pos_embed.at_by(grid, rule, Keep::SameCount),
            None => self.pos_embed.at(grid),
        };
        let Some((block, others)) = self.blocks.split_last() else {
            return Err(Error::model("the network has no block"));
        };
        let tokens = (others.iter()).fold(self.embed(x, &positions), |tokens, b| {
            b.forward(&tokens, None)
        });
        let tokens = block.forward_as(&tokens, last, split);
        Ok((split.patches(&self.norm.forward(&tokens)), grid))
    }

    fn align(&self, tokens: &Tensor, _adaptor: &str) -> Result<Tensor> {
        let head = self.head.as_ref().ok_or_else(|| {
            Error::usage("the file has no projection into the space of text, so its patches cannot be compared with words")
        })?;
        Ok(head.forward(tokens).to_kind(Kind::Float))
    }
}
