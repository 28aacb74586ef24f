//! Files beside the record: tables of classes.

use crate::Result;
use crate::data::segmentation::LabelRule;
use crate::metrics::segmentation::Confusion;
use crate::report::render::to_csv;
use crate::tasks::finished::{Beside, Contents};

/// Both tables, as they lie beside a record.
pub fn tables(rule: &LabelRule, confusion: &Confusion) -> Result<Vec<Beside>> {
    let table = |ending: &str, text: String| Beside {
        ending: ending.to_string(),
        contents: Contents::Text(text),
    };
    Ok(vec![
        table("classes.csv", classes_csv(rule, confusion)?),
        table("confusion.csv", confusion_csv(rule, confusion)?),
    ])
}

/// `class,value,iou,accuracy,labelled,predicted`, in class order; empty where undefined.
pub fn classes_csv(rule: &LabelRule, confusion: &Confusion) -> Result<String> {
    let header = ["class", "value", "iou", "accuracy", "labelled", "predicted"];
    let mut rows = vec![header.map(str::to_string).to_vec()];
    let iou = confusion.score().iou;
    for (c, class) in rule.classes.iter().enumerate() {
        let labelled: u64 = (0..confusion.classes())
            .map(|p| confusion.count(c, p))
            .sum();
        let predicted: u64 = (0..confusion.classes())
            .map(|l| confusion.count(l, c))
            .sum();
        let percent = |share: f64| format!("{:.4}", 100.0 * share);
        let accuracy = match labelled {
            0 => String::new(),
            n => percent(confusion.count(c, c) as f64 / n as f64),
        };
        rows.push(vec![
            class.name.clone(),
            class.value.to_string(),
            iou[c].map_or(String::new(), percent),
            accuracy,
            labelled.to_string(),
            predicted.to_string(),
        ]);
    }
    to_csv(&rows)
}

/// Pixels by labelled class (rows) and predicted class (columns).
pub fn confusion_csv(rule: &LabelRule, confusion: &Confusion) -> Result<String> {
    let names = rule.classes.iter().map(|class| class.name.clone());
    let corner = "label \\ prediction".to_string();
    let mut rows = vec![std::iter::once(corner).chain(names).collect()];
    for (label, class) in rule.classes.iter().enumerate() {
        let counts = (0..confusion.classes()).map(|p| confusion.count(label, p).to_string());
        rows.push(std::iter::once(class.name.clone()).chain(counts).collect());
    }
    to_csv(&rows)
}
