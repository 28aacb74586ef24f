//! Headings of what a table shows, and its order.

use super::table::Column;
use crate::metrics;

/// Conditions with a column even where every row has the same value.
pub const ALWAYS_SHOWN: &[&str] = &["model", "params", "resolution", "data"];

/// The column of a metric; one that nothing declares (a record of another version) is shown under
/// its own name.
pub fn metric_column(name: &str) -> Column {
    let metric = metrics::find(name);
    Column {
        key: name.to_string(),
        title: metric.map_or(name, |m| m.title).to_string(),
        digits: Some(metric.map_or(2, |m| m.digits)),
        unit: metric.map(|m| m.unit),
        better: metric.and_then(|m| m.better),
    }
}

/// The distinct names, declared metrics first and in their order.
pub fn in_order<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut distinct: Vec<String> = Vec::new();
    for name in names {
        if !distinct.contains(name) {
            distinct.push(name.clone());
        }
    }
    let place = |name: &String| metrics::declared().position(|metric| metric.name == name);
    distinct.sort_by_key(|name| place(name).unwrap_or(usize::MAX));
    distinct
}

/// Of the columns by their keys, the one that a narrow terminal does without first: a condition
/// (the last, then `params`, `data`), then a metric (the last). The model, its resolution and the
/// first metric stay.
pub fn least_needed(keys: &[&str]) -> Option<usize> {
    let metric = |key: &&str| {
        let name = key.strip_suffix("_published").unwrap_or(key);
        metrics::find(name).is_some() && *key != "params"
    };
    let first_metric = keys.iter().position(metric).unwrap_or(keys.len());
    let conditions = || 0..first_metric;
    let is_plain = |&i: &usize| !ALWAYS_SHOWN.contains(&keys[i]);
    let named = |name: &str| conditions().find(|&i| keys[i] == name);
    conditions()
        .rfind(is_plain)
        .or_else(|| named("params"))
        .or_else(|| named("data"))
        .or_else(|| (keys.len() > first_metric + 1).then(|| keys.len() - 1))
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
