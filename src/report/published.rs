//! Published figures beside measured ones.

use super::record::Record;
use crate::models::zoo::{self, Published};

/// Size of the evaluation split for which a metric is published: (metric prefix, samples).
/// A run on fewer samples, or on another data set, is no reproduction.
const SPLITS: &[(&str, u64)] = &[
    ("knn_", 50_000),       // ImageNet-1k val
    ("zero_shot_", 50_000), // ImageNet-1k val
    ("miou", 2_000),        // ADE20k val
    ("sam_iou", 5_000),     // COCO val2017
    ("box_ap", 5_000),      // COCO val2017
];

/// The published value that may stand beside `metric` of this record: never for random weights,
/// only for a model of the zoo on the whole evaluation split.
pub fn beside(record: &Record, metric: &str) -> Option<&'static Published> {
    if record.model.random_weights {
        return None;
    }
    let (_, samples) = SPLITS
        .iter()
        .find(|(prefix, _)| metric.starts_with(prefix))?;
    let data = record.data.last()?;
    if data.samples != *samples {
        return None;
    }
    let entry = zoo::entries().find(|e| e.name == record.model.name)?;
    entry.published.iter().find(|p| p.metric == metric)
}
