//! Evaluations as metrics of a record, tables of categories and plots.

use super::evaluation::{Evaluation, IouKind};
use crate::Result;
use crate::metrics::detection::{BOXES, MASKS};
use crate::report::plot::lines::{self, At, Line, Titles};
use crate::report::render::to_csv;
use crate::report::{Metric, RecordBuilder};
use crate::tasks::finished::{Beside, Contents};

/// Adds the twelve numbers, those that are defined, in percent.
pub fn with_evaluation(mut record: RecordBuilder, evaluation: &Evaluation) -> RecordBuilder {
    let definitions = match evaluation.kind {
        IouKind::Bbox => &BOXES,
        IouKind::Segm => &MASKS,
    };
    for (i, (definition, &value)) in definitions.iter().zip(&evaluation.stats).enumerate() {
        if value < 0.0 {
            continue;
        }
        let interval = evaluation.intervals.get(i).copied().flatten();
        let metric = Metric {
            value: 100.0 * value,
            low: interval.map(|(low, _)| 100.0 * low),
            high: interval.map(|(_, high)| 100.0 * high),
            n: Some(evaluation.images as u64),
        };
        record = record.metric(definition, metric);
    }
    record
}

/// `bbox.classes.csv` and `bbox.pr.svg`, and the same of masks.
pub fn beside(evaluations: &[Evaluation]) -> Result<Vec<Beside>> {
    let mut files = Vec::new();
    for evaluation in evaluations {
        let mut add = |ending: &str, text: String| {
            files.push(Beside {
                ending: format!("{}.{ending}", evaluation.kind.name()),
                contents: Contents::Text(text),
            });
        };
        add("classes.csv", classes_csv(evaluation)?);
        if !evaluation.curves.is_empty() {
            add("pr.svg", curves_svg(evaluation)?);
        }
    }
    Ok(files)
}

/// One row per category, in percent; empty where the ground truth has nothing to find.
fn classes_csv(evaluation: &Evaluation) -> Result<String> {
    let header = [
        "id",
        "category",
        "objects",
        "ap",
        "ap50",
        "ap75",
        "ap_small",
        "ap_medium",
        "ap_large",
        "ar",
    ];
    let mut rows = vec![header.map(str::to_string).to_vec()];
    for category in &evaluation.categories {
        let mut row = vec![
            category.id.to_string(),
            category.name.clone(),
            category.objects.to_string(),
        ];
        let percent =
            |value: &Option<f64>| value.map_or(String::new(), |v| format!("{}", 100.0 * v));
        row.extend(category.values.iter().map(percent));
        rows.push(row);
    }
    to_csv(&rows)
}

fn curves_svg(evaluation: &Evaluation) -> Result<String> {
    let lines: Vec<Line> = (evaluation.curves.iter())
        .map(|(name, precisions)| Line {
            name: name.clone(),
            points: (precisions.iter().enumerate())
                .map(|(i, &precision)| At {
                    x: i as f64 / (precisions.len() - 1).max(1) as f64,
                    y: precision,
                    interval: None,
                })
                .collect(),
        })
        .collect();
    let what = match evaluation.kind {
        IouKind::Bbox => "boxes",
        IouKind::Segm => "masks",
    };
    let titles = Titles {
        plot: &format!("Precision over recall, {what}, mean over categories"),
        x: "recall",
        y: "precision",
        logarithmic_x: false,
        logarithmic_y: false,
    };
    lines::draw(titles, &lines)
}
