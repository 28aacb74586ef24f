//! What RADIO, E-RADIO and RADIO1D share as students of several teachers: the training arguments in
//! their checkpoints, the layouts of tensor names, the adaptors that imitate a teacher with their
//! heads, and the normalisers of features.

pub mod adaptor;
pub mod args;
pub mod conditioner;
pub mod heads;
pub mod keys;
pub mod normalizer;

use crate::{Error, Result};
use tch::Tensor;

/// The grid of patches of side `patch` of x `[B,3,H,W]`, rows and columns.
///
/// # Errors
/// Pixels would be left over.
pub fn patch_grid(x: &Tensor, patch: i64) -> Result<(i64, i64)> {
    match x.size()[..] {
        [_, 3, h, w] if h % patch == 0 && w % patch == 0 && h > 0 && w > 0 => {
            Ok((h / patch, w / patch))
        }
        _ => Err(Error::usage(format!(
            "the input must be [B,3,H,W] with H and W multiples of the patch ({patch}), it is {:?}",
            x.size()
        ))),
    }
}
