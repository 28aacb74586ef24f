//! The val split during training: a curve to look at. Nothing in training depends on it: it draws
//! no random number and leaves the head as it is.

use super::evaluate::evaluate;
use super::recipe::Recipe;
use crate::Result;
use crate::data::segmentation::PairSet;
use crate::heads::LinearSegHead;
use crate::runtime::Runtime;
use crate::tasks::spatial::SpatialFeatures;
use serde::{Deserialize, Serialize};

/// How a head in training is looked at every `recipe.val_every` iterations.
pub struct Validation<'a> {
    pub features: &'a SpatialFeatures<'a>,
    pub recipe: &'a Recipe,
    pub val: &'a PairSet,
    pub runtime: &'a Runtime,
}

/// One point of the curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Validated {
    pub seed: u64,
    /// Iterations done.
    pub iteration: u64,
    /// In percent.
    pub miou: f64,
}

impl Validation<'_> {
    /// Whether to look after `iteration` iterations. Not after the last: the finished head is
    /// evaluated anyway.
    pub fn due(&self, iteration: u64) -> bool {
        // No number but 0 is a multiple of 0.
        iteration > 0
            && iteration < self.recipe.iterations
            && iteration.is_multiple_of(self.recipe.val_every)
    }

    /// mIoU of `head` over the val split, in percent.
    pub fn miou(&self, head: &LinearSegHead) -> Result<f64> {
        let (results, _) = evaluate(
            self.features,
            &[head],
            self.recipe,
            self.val,
            self.runtime,
            None,
            false,
        )?;
        let one = results.first().map(|result| result.confusion.score().miou);
        Ok(100.0 * one.unwrap_or(f64::NAN))
    }
}
