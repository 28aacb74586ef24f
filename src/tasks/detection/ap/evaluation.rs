//! One comparison of detections with the ground truth, by boxes or by masks.

use super::ranking;
use crate::metrics::average_precision::{self, RankedCategory};
use crate::runtime::guard;
use crate::{Error, Result};
use hotcoco::params::IouType;
use hotcoco::{AccumulatedEval, COCO, COCOeval};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What overlaps are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IouKind {
    /// Boxes
    Bbox,
    /// Masks
    Segm,
}

impl IouKind {
    pub fn name(self) -> &'static str {
        match self {
            IouKind::Bbox => "bbox",
            IouKind::Segm => "segm",
        }
    }
}

/// COCO's parameters, as far as users change them.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Most detections per image and category for the recalls AR1, AR10 and AR100; the last is that
    /// of every AP. Ascending.
    pub max_dets: [usize; 3],
    /// IoU thresholds, ascending; AP is the mean over them.
    pub thresholds: Vec<f64>,
    /// Whether the bootstrap over images is made.
    pub intervals: bool,
}

impl Default for Settings {
    /// pycocotools': 0.50, 0.55 ... 0.95 as `numpy.linspace` has them.
    fn default() -> Self {
        Settings {
            max_dets: [1, 10, 100],
            thresholds: hotcoco::params::Params::new(IouType::Bbox).iou_thrs,
            intervals: true,
        }
    }
}

/// The numbers of a category; `None` where the ground truth has nothing to find.
#[derive(Debug, Clone, PartialEq)]
pub struct CategoryRow {
    pub id: u64,
    pub name: String,
    /// Objects that are not crowds.
    pub objects: usize,
    /// AP, AP50, AP75, APs, APm, APl, AR100 (0..1).
    pub values: [Option<f64>; 7],
}

/// What came out.
pub struct Evaluation {
    pub kind: IouKind,
    /// pycocotools' twelve, -1 where undefined.
    pub stats: Vec<f64>,
    pub categories: Vec<CategoryRow>,
    /// Name and precision (0..1) at recall 0, 0.01 ... 1: the mean over categories.
    pub curves: Vec<(String, Vec<f64>)>,
    /// Of AP, AP50 and AP75 (0..1).
    pub intervals: [Option<(f64, f64)>; 3],
    /// Images of the ground truth.
    pub images: usize,
    ranked: Vec<RankedCategory>,
    /// Positions of the thresholds 0.5 and 0.75.
    halves: [Option<usize>; 2],
    /// Arrays of pycocotools' `eval`: precision `[T,R,K,A,M]`, recall `[T,K,A,M]`.
    pub accumulated: AccumulatedEval,
}

/// Compares; the error is a sentence about the detections.
pub fn evaluate(
    truth: &Arc<COCO>,
    detections: &Arc<COCO>,
    kind: IouKind,
    settings: &Settings,
) -> Result<Evaluation, String> {
    let outcome = guard::catch(|| compare(truth, detections, kind, settings));
    outcome.and_then(|outcome| outcome)
}

fn compare(
    truth: &Arc<COCO>,
    detections: &Arc<COCO>,
    kind: IouKind,
    settings: &Settings,
) -> Result<Evaluation, String> {
    let iou_type = match kind {
        IouKind::Bbox => IouType::Bbox,
        IouKind::Segm => IouType::Segm,
    };
    let mut eval = COCOeval::new(Arc::clone(truth), Arc::clone(detections), iou_type);
    eval.params.max_dets = settings.max_dets.to_vec();
    eval.params.iou_thrs = settings.thresholds.clone();
    eval.evaluate().map_err(|e| e.to_string())?;
    eval.accumulate();
    // Computes the numbers; its lines are for a terminal.
    let _lines = eval.summarize_lines();
    let stats = eval.stats().map(<[f64]>::to_vec).unwrap_or_default();
    let accumulated = eval.accumulated().cloned();
    let accumulated = accumulated.ok_or("the evaluation gave nothing")?;
    let halves = [0.5, 0.75].map(|t| eval.params.iou_thr_idx(t));
    let ranked = match settings.intervals {
        true => ranking::ranked(&eval, truth),
        false => Vec::new(),
    };
    Ok(Evaluation {
        kind,
        stats,
        categories: categories(truth, &accumulated, halves),
        curves: curves(&accumulated, settings, halves),
        intervals: [None; 3],
        images: truth.dataset.images.len(),
        ranked,
        halves,
        accumulated,
    })
}

impl Evaluation {
    /// Fills in the bootstrap intervals over images, where they are wanted.
    pub fn find_intervals(&mut self, settings: &Settings, seed: u64) -> Result<()> {
        if !settings.intervals {
            return Ok(());
        }
        let all: Vec<usize> = (0..settings.thresholds.len()).collect();
        let chosen = [
            Some(all),
            self.halves[0].map(|t| vec![t]),
            self.halves[1].map(|t| vec![t]),
        ];
        for (interval, thresholds) in self.intervals.iter_mut().zip(chosen) {
            crate::runtime::interrupt::check()?;
            *interval = thresholds.and_then(|thresholds| {
                average_precision::interval(&self.ranked, self.images, &thresholds, seed)
            });
        }
        Ok(())
    }

    /// AP by the arrays of the bootstrap with every image once: equal to `stats[0]` up to rounding.
    pub fn average_precision_of_ranking(&self) -> Option<f64> {
        let thresholds: Vec<usize> = (0..self.accumulated.shape.t).collect();
        average_precision::average_precision(&self.ranked, &vec![1; self.images], &thresholds)
    }
}

/// The mean of the values that are defined.
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values
        .filter(|&v| v > -1.0)
        .fold((0.0, 0u64), |(sum, n), v| (sum + v, n + 1));
    (n > 0).then(|| sum / n as f64)
}

/// Area ranges in hotcoco's order.
const AREAS: [usize; 4] = [0, 1, 2, 3];

fn categories(
    truth: &COCO,
    eval: &AccumulatedEval,
    halves: [Option<usize>; 2],
) -> Vec<CategoryRow> {
    let shape = eval.shape;
    let last = shape.m - 1;
    let mut objects = std::collections::HashMap::<u64, usize>::new();
    for annotation in truth.dataset.annotations.iter().filter(|a| !a.iscrowd) {
        *objects.entry(annotation.category_id).or_default() += 1;
    }
    let ap = |k: usize, area: usize, thresholds: std::ops::Range<usize>| {
        let at = thresholds.flat_map(|t| (0..shape.r).map(move |r| (t, r)));
        mean(at.map(|(t, r)| eval.precision[eval.precision_idx(t, r, k, area, last)]))
    };
    let one = |k: usize, t: Option<usize>| t.and_then(|t| ap(k, AREAS[0], t..t + 1));
    let row = |(k, &id): (usize, &u64)| CategoryRow {
        id,
        name: truth.get_cat(id).map_or(String::new(), |c| c.name.clone()),
        objects: objects.get(&id).copied().unwrap_or(0),
        values: [
            ap(k, AREAS[0], 0..shape.t),
            one(k, halves[0]),
            one(k, halves[1]),
            ap(k, AREAS[1], 0..shape.t),
            ap(k, AREAS[2], 0..shape.t),
            ap(k, AREAS[3], 0..shape.t),
            mean((0..shape.t).map(|t| eval.recall[eval.recall_idx(t, k, AREAS[0], last)])),
        ],
    };
    eval.cat_ids.iter().enumerate().map(row).collect()
}

fn curves(
    eval: &AccumulatedEval,
    settings: &Settings,
    halves: [Option<usize>; 2],
) -> Vec<(String, Vec<f64>)> {
    let shape = eval.shape;
    let curve = |thresholds: &[usize]| -> Option<Vec<f64>> {
        let at = |r: usize| {
            let cells = thresholds
                .iter()
                .flat_map(|&t| (0..shape.k).map(move |k| (t, k)));
            let index = |(t, k)| eval.precision_idx(t, r, k, AREAS[0], shape.m - 1);
            mean(cells.map(|cell| eval.precision[index(cell)]))
        };
        (0..shape.r).map(at).collect()
    };
    let all: Vec<usize> = (0..shape.t).collect();
    let mut chosen = Vec::new();
    for (name, half) in [("IoU 0.50", halves[0]), ("IoU 0.75", halves[1])] {
        chosen.extend(half.map(|t| (name.to_string(), vec![t])));
    }
    if let (Some(first), Some(last)) = (settings.thresholds.first(), settings.thresholds.last()) {
        chosen.push((format!("mean of IoU {first:.2} to {last:.2}"), all));
    }
    let drawn = chosen.into_iter();
    drawn
        .filter_map(|(name, thresholds)| Some((name, curve(&thresholds)?)))
        .collect()
}

impl Settings {
    /// An error where the numbers cannot be computed with these parameters.
    pub fn check(&self) -> Result<()> {
        if self.max_dets[0] == 0 || self.max_dets.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(Error::usage(
                "--max-dets takes three numbers that rise, like 1,10,100",
            ));
        }
        let sorted = self.thresholds.windows(2).all(|pair| pair[0] < pair[1]);
        let inside = self.thresholds.iter().all(|t| (0.0..=1.0).contains(t));
        if self.thresholds.is_empty() || !sorted || !inside {
            return Err(Error::usage(
                "--iou takes thresholds from 0 to 1 that rise, like 0.5,0.75",
            ));
        }
        Ok(())
    }
}
