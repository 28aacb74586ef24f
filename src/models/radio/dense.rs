//! Patch features in the text space of an adaptor (spec/open_vocabulary.md §2.1, §2.3, §2.5).

use super::RadioVit;
use crate::models::dense::{LastBlock, TextAligned, TextFamily};
use crate::models::student::adaptor;
use crate::models::student::patch_grid;
use crate::models::{Backbone, Request};
use crate::{Error, Result};
use tch::Tensor;

impl TextAligned for RadioVit {
    fn family(&self) -> TextFamily {
        TextFamily::Radio
    }

    fn tokens(&self, x: &Tensor, last: &LastBlock) -> Result<(Tensor, (i64, i64))> {
        let grid = patch_grid(x, self.config.patch)?;
        if last.is_ordinary() {
            let features = self.forward(x, &Request::default())?;
            return Ok((features.spatial, grid));
        }
        if self.vitdet.is_some() {
            return Err(Error::usage(
                "--vitdet-window leaves the last block's tokens in windows, which this method's attention does not know; leave it out, or use --method plain",
            ));
        }
        let Some((block, others)) = self.blocks.split_last() else {
            return Err(Error::model("the network has no block"));
        };
        let tokens = (others.iter()).fold(self.embed(x), |tokens, b| b.forward(&tokens));
        let tokens = block.forward_as(&tokens, last, self.split(grid));
        Ok((self.spatial_of(&self.final_norm(tokens), grid), grid))
    }

    fn align(&self, tokens: &Tensor, adaptor: &str) -> Result<Tensor> {
        adaptor::align(&self.adaptors, tokens, adaptor)
    }
}
