//! What must hold before hours are spent on training.

use super::class_list;
use super::classes::LabelRule;
use super::mask::StoredMask;
use super::pairs::PairSet;
use crate::data::Source;
use crate::data::annotation::WIDE_IGNORE;
use crate::data::decode::image_size;
use crate::runtime::interrupt;
use crate::{Error, Result};
use rayon::prelude::*;
use std::collections::BTreeSet;

/// A split of which more than this share of pixels is ignored is worth a warning.
const MANY_IGNORED: f64 = 0.9;

/// What the masks of a split hold.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct MaskStatistics {
    /// Pixels per class.
    pub pixels: Vec<u64>,
    /// Pixels that count nowhere.
    pub ignored: u64,
    /// Values stored in some mask.
    #[serde(skip)]
    pub values: BTreeSet<u16>,
}

impl MaskStatistics {
    /// Sentences about classes without a pixel, and about pixels without a class.
    pub fn missing(&self, split: &str, rule: &LabelRule) -> Vec<String> {
        let empty: Vec<&str> = (rule.classes.iter().zip(&self.pixels))
            .filter(|(_, pixels)| **pixels == 0)
            .map(|(class, _)| class.name.as_str())
            .collect();
        let mut sentences = Vec::new();
        if let Some(first) = empty.first() {
            sentences.push(format!(
                "{split}: no pixel of {} of {} classes ({first}{})",
                empty.len(),
                rule.classes.len(),
                if empty.len() > 1 { ", ..." } else { "" }
            ));
        }
        let all = self.pixels.iter().sum::<u64>() + self.ignored;
        let share = self.ignored as f64 / all.max(1) as f64;
        if share > MANY_IGNORED {
            sentences.push(format!(
                "{split}: {:.1} % of the pixels are ignored; is the class list the one of these masks?",
                100.0 * share
            ));
        }
        sentences
    }

    /// What is wrong with the masks as a whole.
    fn fault(&self, rule: &LabelRule) -> Option<String> {
        let ids = |from: u16| self.values.range(from..255).next().is_some();
        if rule.is_cityscapes(true) && self.values.contains(&255) && !ids(19) {
            return Some("and the other masks hold 0 to 18 and 255: these are trainIds, not labelIds, so use --classes cityscapes-trainids".into());
        }
        let mut present = (rule.classes.iter().zip(&self.pixels)).filter(|(_, n)| **n > 0);
        match (present.next(), present.next()) {
            (_, Some(_)) => None,
            (None, _) => Some("and all other masks hold no pixel of any class".into()),
            (Some((only, _)), None) => Some(match class_list::binary(&self.values) {
                Some(reason) if !self.values.is_empty() => format!("as all others: {reason}"),
                _ => format!(
                    "and all other masks hold pixels of one class only (`{}`), so that every model would reach 100 %; is the class list the one of these masks (--classes), and is 0 \"no class\" (--reduce-zero-label)?",
                    only.name
                ),
            }),
        }
    }
}

/// Reads every mask, and every image's header: fails at the first (in order) mask with a value
/// that no class has, or of another size than its image, or at an image that is none, and where
/// the masks of the split hold fewer than two classes. Names the file.
pub fn check(set: &PairSet) -> Result<MaskStatistics> {
    let classes = set.rule().classes.len();
    let empty = || MaskStatistics {
        pixels: vec![0; classes],
        ignored: 0,
        values: BTreeSet::new(),
    };
    let counts: Vec<Result<MaskStatistics>> = (0..set.len())
        .into_par_iter()
        .with_min_len(16)
        .fold(
            || Ok(empty()),
            |sum: Result<MaskStatistics>, index| {
                let mut sum = sum?;
                interrupt::check()?;
                let (mask, labels) = one(set, index)?;
                sum.values.extend(distinct(&mask));
                for label in labels {
                    match label {
                        WIDE_IGNORE => sum.ignored += 1,
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
        total.values.extend(part.values);
        for (sum, n) in total.pixels.iter_mut().zip(part.pixels) {
            *sum += n;
        }
    }
    match total.fault(set.rule()) {
        Some(fault) => Err(Error::file(set.mask_path(0), fault)),
        None => Ok(total),
    }
}

fn distinct(mask: &StoredMask) -> impl Iterator<Item = u16> {
    let mut seen = vec![false; usize::from(u16::MAX) + 1];
    for &value in &mask.values {
        seen[usize::from(value)] = true;
    }
    let seen = seen.into_iter().enumerate();
    seen.filter_map(|(value, seen)| seen.then_some(value as u16))
}

fn one(set: &PairSet, index: usize) -> Result<(StoredMask, Vec<u16>)> {
    let mask = set.mask(index)?;
    let labels = set.wide_labels_of(index, &mask)?;
    let size = match image_size(&set.read(index)?) {
        Some(size) => size,
        // Decoding tells what is wrong with a header that is not understood.
        None => set.image(index).map(|image| (image.width, image.height))?,
    };
    set.expect_size(index, (labels.width, labels.height), size)?;
    Ok((mask, labels.labels))
}
