//! From hotcoco's matches to the ranked detections that the bootstrap resamples.

use crate::metrics::average_precision::{Matched, RankedCategory};
use hotcoco::{COCO, COCOeval, EvalImg};
use std::collections::HashMap;

/// One per category that has detections or objects, at area `all` and the most detections.
pub fn ranked(eval: &COCOeval, truth: &COCO) -> Vec<RankedCategory> {
    let mut ids: Vec<u64> = truth.dataset.images.iter().map(|image| image.id).collect();
    ids.sort_unstable();
    ids.dedup();
    let image_of: HashMap<u64, u32> = ids.iter().zip(0..).map(|(&id, at)| (id, at)).collect();
    let all = eval.params.all_area_range();
    let mut by_category: HashMap<u64, Vec<&EvalImg>> = HashMap::new();
    for cell in eval.eval_imgs().iter().flatten() {
        if cell.area_rng == all {
            by_category.entry(cell.category_id).or_default().push(cell);
        }
    }
    let mut categories: Vec<(u64, Vec<&EvalImg>)> = by_category.into_iter().collect();
    categories.sort_unstable_by_key(|(id, _)| *id);
    let thresholds = eval.params.iou_thrs.len();
    categories
        .into_iter()
        .map(|(_, mut cells)| {
            cells.sort_by_key(|cell| cell.image_id);
            rank(&cells, &image_of, thresholds)
        })
        .collect()
}

fn rank(cells: &[&EvalImg], image_of: &HashMap<u64, u32>, thresholds: usize) -> RankedCategory {
    let image = |cell: &EvalImg| image_of.get(&cell.image_id).copied();
    let mut order: Vec<(usize, usize)> = (cells.iter().enumerate())
        .filter(|(_, cell)| image(cell).is_some())
        .flat_map(|(c, cell)| (0..cell.dt_scores.len()).map(move |d| (c, d)))
        .collect();
    let score = |&(c, d): &(usize, usize)| cells[c].dt_scores[d];
    // Stable: equal scores stay in the order of images.
    order.sort_by(|a, b| score(b).total_cmp(&score(a)));
    let events = |t: usize| {
        let event = |(position, &(c, d)): (usize, &(usize, usize))| {
            let cell = cells[c];
            let ignored = cell.dt_ignore.row(t)[d];
            let counts = ignored || cell.dt_matched.row(t)[d];
            counts.then_some((position as u32, ignored))
        };
        order.iter().enumerate().filter_map(event).collect()
    };
    let labelled = cells.iter().filter_map(|cell| {
        let objects = cell.num_gt_in_denominator() as u32;
        (objects > 0).then_some((image(cell)?, objects))
    });
    RankedCategory {
        images: (order.iter())
            .filter_map(|&(c, _)| image(cells[c]))
            .collect(),
        thresholds: (0..thresholds)
            .map(|t| Matched { events: events(t) })
            .collect(),
        labelled: labelled.collect(),
    }
}
