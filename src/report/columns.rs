//! Names, headings, digits and direction of what a table shows.

use super::table::Column;

/// Which of two values is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    Higher,
    Lower,
}

impl Better {
    pub fn is_better(self, a: f64, b: f64) -> bool {
        match self {
            Better::Higher => a > b,
            Better::Lower => a < b,
        }
    }
}

/// Conditions with a column even where every row has the same value.
pub const ALWAYS_SHOWN: &[&str] = &["model", "params", "resolution", "data"];

/// (name in records, heading, digits, direction), in the order of columns.
const METRICS: &[(&str, &str, usize, Option<Better>)] = {
    use Better::{Higher, Lower};
    &[
        ("knn_top1", "kNN top-1", 2, Some(Higher)),
        ("knn_top5", "kNN top-5", 2, Some(Higher)),
        ("zero_shot_top1", "zero-shot top-1", 2, Some(Higher)),
        ("zero_shot_top5", "zero-shot top-5", 2, Some(Higher)),
        ("miou", "mIoU", 2, Some(Higher)),
        ("aacc", "aAcc", 2, Some(Higher)),
        ("macc", "mAcc", 2, Some(Higher)),
        ("sam_iou", "SAM IoU", 2, Some(Higher)),
        ("sam_iou_large", "SAM IoU large", 2, Some(Higher)),
        ("sam_iou_medium", "SAM IoU medium", 2, Some(Higher)),
        ("sam_iou_small", "SAM IoU small", 2, Some(Higher)),
        ("box_ap", "box AP", 2, Some(Higher)),
        ("box_ap50", "box AP50", 2, Some(Higher)),
        ("box_ap75", "box AP75", 2, Some(Higher)),
        ("mask_ap", "mask AP", 2, Some(Higher)),
        ("latency_ms_p50", "p50 ms", 2, Some(Lower)),
        ("latency_ms_p90", "p90 ms", 2, Some(Lower)),
        ("latency_ms_p95", "p95 ms", 2, Some(Lower)),
        ("latency_ms_p99", "p99 ms", 2, Some(Lower)),
        ("latency_ms_min", "min ms", 2, Some(Lower)),
        ("latency_ms_mean", "mean ms", 2, Some(Lower)),
        ("batch_ms_p50", "batch p50 ms", 2, Some(Lower)),
        ("batch_ms_p90", "batch p90 ms", 2, Some(Lower)),
        ("batch_ms_p95", "batch p95 ms", 2, Some(Lower)),
        ("batch_ms_p99", "batch p99 ms", 2, Some(Lower)),
        ("batch_ms_min", "batch min ms", 2, Some(Lower)),
        ("batch_ms_mean", "batch mean ms", 2, Some(Lower)),
        ("throughput", "images/s", 2, Some(Higher)),
        ("speedup", "speed-up", 2, Some(Higher)),
        ("gflops", "GFLOP", 2, None),
        ("gflops_attention", "GFLOP of fused attention", 2, None),
        ("params", "parameters", 0, None),
        ("matrix_peak_share", "% of matrix peak", 1, Some(Higher)),
        ("peak_memory_bytes", "peak bytes", 0, Some(Lower)),
    ]
};

/// The column of a metric; one that is not listed is shown under its own name.
pub fn metric_column(name: &str) -> Column {
    let (title, digits, better) = METRICS
        .iter()
        .find(|m| m.0 == name)
        .map_or((name, 2, None), |&(_, title, digits, better)| {
            (title, digits, better)
        });
    Column {
        key: name.to_string(),
        title: title.to_string(),
        digits: Some(digits),
        better,
    }
}

/// The distinct names, listed metrics first and in their order.
pub fn in_order<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut distinct: Vec<String> = Vec::new();
    for name in names {
        if !distinct.contains(name) {
            distinct.push(name.clone());
        }
    }
    distinct.sort_by_key(|name| {
        METRICS
            .iter()
            .position(|m| m.0 == name)
            .unwrap_or(METRICS.len())
    });
    distinct
}

/// The heading of a condition.
pub fn condition_title(name: &str) -> String {
    match name {
        "model" => "model".into(),
        "params" => "params".into(),
        "resolution" => "px".into(),
        "temperature" => "T".into(),
        other => {
            let name = other.split_once(':').map_or(other, |(_, name)| name);
            name.replace('_', " ")
        }
    }
}
