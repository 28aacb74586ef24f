//! From scores to one class per pixel (spec/open_vocabulary.md §1.6, §2.4).

use super::scores::{Names, Scores};
use crate::Result;
use crate::runtime::guard;
use tch::{Device, Kind, Tensor};

/// What decides, besides the scores.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// The class of each name.
    pub class_of: &'a [usize],
    pub classes: usize,
    pub logit_scale: f64,
    /// The thresholds of [`super::protocol::Settings`].
    pub denoise: f64,
    pub prob_threshold: f64,
    pub area_threshold: f64,
    /// What pixels below the threshold are; classes count on from it where it is no class itself.
    pub below: Below,
}

/// What a pixel is whose best probability is too low.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Below {
    /// Class 0, the background.
    Background,
    /// No class: label 0, and class c is label c + 1.
    Unknown,
}

/// The labels of a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Row by row.
    pub labels: Vec<u16>,
    /// Pixels below the threshold.
    pub below: u64,
    /// Classes that were removed.
    pub removed: Vec<bool>,
}

impl Decision {
    /// Whether no class is left: every pixel is then class 0 by default.
    pub fn is_empty(&self) -> bool {
        self.removed.iter().all(|removed| *removed)
    }
}

/// The best name of each pixel, `[height,width]` each.
struct Best {
    value: Tensor,
    /// Int64
    name: Tensor,
}

/// Labels of `scores` at `size` (height, width).
pub fn decide(scores: &Scores, size: (i64, i64), rules: &Rules) -> Result<Decision> {
    match scores {
        Scores::Probabilities(map) => {
            let removed = denoised(scores, map, size, rules)?;
            let best = best_of(scores, size, &kept(rules, &removed))?;
            let probability = best.as_ref().map(|best| best.value.shallow_clone());
            finish(best, probability, removed, size, rules)
        }
        Scores::Cosines { .. } => cosines(scores, size, rules),
    }
}

fn cosines(scores: &Scores, size: (i64, i64), rules: &Rules) -> Result<Decision> {
    let none = vec![false; rules.classes];
    let best = best_of(scores, size, &kept(rules, &none))?;
    if rules.prob_threshold <= 0.0 && rules.area_threshold <= 0.0 {
        return finish(best, None, none, size, rules);
    }
    let total = log_sum(scores, size, rules.logit_scale)?;
    let (best, removed) = match best {
        Some(best) if rules.area_threshold > 0.0 => {
            let removed = small(&best, rules)?;
            (best_of(scores, size, &kept(rules, &removed))?, removed)
        }
        best => (best, none),
    };
    let probability = best
        .as_ref()
        .map(|best| guard(|| Ok((&best.value * rules.logit_scale - &total).exp())));
    finish(best, probability.transpose()?, removed, size, rules)
}

/// Whether each name counts.
fn kept(rules: &Rules, removed: &[bool]) -> Vec<bool> {
    rules
        .class_of
        .iter()
        .map(|&class| !removed[class])
        .collect()
}

/// Classes that nowhere reach the denoising threshold. Enlarging averages, so that a class whose
/// maximum on the grid is below needs no closer look.
fn denoised(scores: &Scores, map: &Tensor, size: (i64, i64), rules: &Rules) -> Result<Vec<bool>> {
    if rules.denoise <= 0.0 {
        return Ok(vec![false; rules.classes]);
    }
    let reach = |map: &Tensor| -> Result<Vec<f32>> {
        let largest = map.f_amax([0, 1], false)?.f_to_device(Device::Cpu)?;
        Ok(Vec::<f32>::try_from(largest)?)
    };
    let threshold = rules.denoise as f32;
    let mut removed = vec![true; rules.classes];
    let on_grid = reach(map)?;
    for (name, &class) in rules.class_of.iter().enumerate() {
        if on_grid[name] < threshold || !removed[class] {
            continue;
        }
        let names = Names {
            start: name as i64,
            count: 1,
        };
        removed[class] = reach(&scores.enlarged(names, size)?)?[0] < threshold;
    }
    Ok(removed)
}

/// The best of the names that count; the first of equals. `None` where none counts.
fn best_of(scores: &Scores, size: (i64, i64), counts: &[bool]) -> Result<Option<Best>> {
    let mut best: Option<Best> = None;
    for block in runs(scores, size, counts) {
        let enlarged = scores.enlarged(block, size)?;
        let (value, name) = enlarged.f_max_dim(2, false)?;
        let name = name.f_add_scalar(block.start)?;
        best = Some(match best {
            None => Best { value, name },
            Some(before) => {
                let better = value.f_gt_tensor(&before.value)?;
                Best {
                    name: name.f_where_self(&better, &before.name)?,
                    value: value.f_maximum(&before.value)?,
                }
            }
        });
    }
    Ok(best)
}

/// The blocks of [`Scores::blocks`], cut to runs of names that count.
fn runs(scores: &Scores, size: (i64, i64), counts: &[bool]) -> Vec<Names> {
    let mut runs = Vec::new();
    for block in scores.blocks(size) {
        let mut run: Option<Names> = None;
        for name in block.start..block.start + block.count {
            match (counts[name as usize], &mut run) {
                (true, Some(run)) => run.count += 1,
                (true, None) => {
                    run = Some(Names {
                        start: name,
                        count: 1,
                    })
                }
                (false, _) => runs.extend(run.take()),
            }
        }
        runs.extend(run);
    }
    runs
}

/// log Σ exp(scale · score) over all names, `[height,width]`
fn log_sum(scores: &Scores, size: (i64, i64), scale: f64) -> Result<Tensor> {
    let mut total: Option<Tensor> = None;
    for block in scores.blocks(size) {
        let logits = scores.enlarged(block, size)?.f_mul_scalar(scale)?;
        let sum = logits.f_logsumexp(&[2i64][..], false)?;
        total = Some(match total {
            None => sum,
            Some(before) => before.f_logaddexp(&sum)?,
        });
    }
    total.ok_or_else(|| crate::Error::usage("there is no class name"))
}

/// SCLIP's `area_thd`: foreground classes with at most this share of the foreground.
fn small(best: &Best, rules: &Rules) -> Result<Vec<bool>> {
    let mut pixels = vec![0u64; rules.classes];
    for class in classes_of(&best.name, rules)? {
        pixels[class as usize] += 1;
    }
    let foreground: u64 = pixels.iter().skip(1).sum();
    let least = rules.area_threshold * foreground as f64;
    let is_small = |(class, &n): (usize, &u64)| class > 0 && n as f64 <= least;
    Ok(pixels.iter().enumerate().map(is_small).collect())
}

/// The classes of names, on the CPU.
fn classes_of(names: &Tensor, rules: &Rules) -> Result<Vec<i32>> {
    let class_of: Vec<i64> = rules.class_of.iter().map(|&class| class as i64).collect();
    let table = Tensor::f_from_slice(&class_of)?.f_to_kind(Kind::Int)?;
    let names = names.f_flatten(0, 1)?;
    let classes = table
        .f_to_device(names.device())?
        .f_index_select(0, &names)?;
    let classes = classes.f_to_device(Device::Cpu)?;
    Ok(Vec::<i32>::try_from(classes)?)
}

/// Labels of the best names; `probability` of the best class of each pixel, where one is asked for.
fn finish(
    best: Option<Best>,
    probability: Option<Tensor>,
    removed: Vec<bool>,
    (height, width): (i64, i64),
    rules: &Rules,
) -> Result<Decision> {
    let first = u16::from(rules.below == Below::Unknown);
    let pixels = (height * width) as usize;
    let Some(best) = best else {
        // All probabilities are 0: the arg-max is the first class, and 0 is below any threshold.
        let unknown = rules.prob_threshold > 0.0;
        return Ok(Decision {
            labels: vec![if unknown { 0 } else { first }; pixels],
            below: if unknown { pixels as u64 } else { 0 },
            removed,
        });
    };
    let mut labels: Vec<u16> = classes_of(&best.name, rules)?
        .into_iter()
        .map(|class| class as u16 + first)
        .collect();
    let mut below = 0;
    if let Some(probability) = probability.filter(|_| rules.prob_threshold > 0.0) {
        let low = probability.f_lt(rules.prob_threshold)?.f_flatten(0, 1)?;
        let low = Vec::<bool>::try_from(low.f_to_device(Device::Cpu)?)?;
        for (label, _) in labels.iter_mut().zip(low).filter(|(_, low)| *low) {
            *label = 0;
            below += 1;
        }
    }
    Ok(Decision {
        labels,
        below,
        removed,
    })
}

/// The probability of `class` at `size`, `[height,width]` fp32: of its best name.
pub fn heat(scores: &Scores, size: (i64, i64), rules: &Rules, class: usize) -> Result<Tensor> {
    let counts: Vec<bool> = rules.class_of.iter().map(|&c| c == class).collect();
    let best = best_of(scores, size, &counts)?;
    let best = best.ok_or_else(|| crate::Error::usage("there is no class name"))?;
    match scores {
        Scores::Probabilities(_) => Ok(best.value),
        Scores::Cosines { .. } => {
            let total = log_sum(scores, size, rules.logit_scale)?;
            guard(|| Ok((&best.value * rules.logit_scale - &total).exp()))
        }
    }
}
