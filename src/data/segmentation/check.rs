//! What must hold before hours are spent on training.

use super::classes::LabelRule;
use super::pairs::PairSet;
use crate::data::Source;
use crate::data::annotation::IGNORE;
use crate::data::decode::image_size;
use crate::runtime::interrupt;
use crate::{Error, Result};
use rayon::prelude::*;

/// What the masks of a split hold.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct MaskStatistics {
    /// Pixels per class.
    pub pixels: Vec<u64>,
    /// Pixels that count nowhere.
    pub ignored: u64,
}

impl MaskStatistics {
    /// A sentence about classes without a pixel.
    pub fn missing(&self, split: &str, rule: &LabelRule) -> Option<String> {
        let empty: Vec<&str> = (rule.classes.iter().zip(&self.pixels))
            .filter(|(_, pixels)| **pixels == 0)
            .map(|(class, _)| class.name.as_str())
            .collect();
        let first = empty.first()?;
        Some(format!(
            "{split}: no pixel of {} of {} classes ({first}{})",
            empty.len(),
            rule.classes.len(),
            if empty.len() > 1 { ", ..." } else { "" }
        ))
    }
}

/// Reads every mask, and every image's header: fails at the first (in order) mask with a value
/// that no class has, or of another size than its image, or at an image that is none. Names the
/// file.
pub fn check(set: &PairSet) -> Result<MaskStatistics> {
    let classes = set.rule().classes.len();
    let empty = || MaskStatistics {
        pixels: vec![0; classes],
        ignored: 0,
    };
    let counts: Vec<Result<MaskStatistics>> = (0..set.len())
        .into_par_iter()
        .with_min_len(16)
        .fold(
            || Ok(empty()),
            |sum: Result<MaskStatistics>, index| {
                let mut sum = sum?;
                interrupt::check()?;
                for label in one(set, index)? {
                    match label {
                        IGNORE => sum.ignored += 1,
                        label => sum.pixels[usize::from(label)] += 1,
                    }
                }
                Ok(sum)
            },
        )
        .collect();
    let mut total = empty();
    for part in counts {
        let part = part?;
        total.ignored += part.ignored;
        for (sum, n) in total.pixels.iter_mut().zip(part.pixels) {
            *sum += n;
        }
    }
    if total.pixels.iter().all(|&n| n == 0) {
        return Err(Error::file(
            set.mask_path(0),
            "and all other masks hold no pixel of any class",
        ));
    }
    Ok(total)
}

fn one(set: &PairSet, index: usize) -> Result<Vec<u8>> {
    let labels = set.labels(index)?;
    let size = match image_size(&set.read(index)?) {
        Some(size) => size,
        // Decoding tells what is wrong with a header that is not understood.
        None => set.image(index).map(|image| (image.width, image.height))?,
    };
    set.expect_size(index, &labels, size)?;
    Ok(labels.labels)
}
