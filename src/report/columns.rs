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
