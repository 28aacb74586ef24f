//! Which accuracy belongs to which speed.
//!
//! A point is one network under one set of conditions: the accuracy and the speed are of the same
//! resolution, window and precision, and all accuracies of a plot are of one evaluation.

use crate::report::plot::{label, variant};
use crate::report::record::{Metric, PublishedPart, Record};
use indexmap::IndexMap;
use serde_json::Value;

/// A network: its best throughput, and an accuracy.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    pub name: String,
    pub throughput: f64,
    pub accuracy: f64,
    /// 95 % interval of a measured accuracy.
    pub interval: Option<(f64, f64)>,
    /// The accuracy is a published value, not one measured here.
    pub published: bool,
}

/// The points, and a sentence for what found no partner.
#[derive(Debug, Default, PartialEq)]
pub struct Joined {
    pub points: Vec<Point>,
    pub left_out: Vec<String>,
}

/// Options that make two accuracies those of one evaluation.
const PROTOCOL: [&str; 8] = [
    "k",
    "temperature",
    "templates",
    "prompts_per_class",
    "limit",
    "train_limit",
    "preset",
    "recipe_changes",
];

/// Joins speeds with accuracies of the same network and input; published ones, which the records of
/// speed carry, stand in where none was measured.
pub fn join(speeds: &[Record], accuracies: &[Record], metric: &str) -> Joined {
    let speeds = fastest(speeds);
    let mut by_evaluation: IndexMap<String, Vec<(&Record, &Record)>> = IndexMap::new();
    for &speed in &speeds {
        let partners = accuracies.iter().filter(|accuracy| {
            accuracy.metrics.contains_key(metric) && same_conditions(speed, accuracy)
        });
        let mut taken: Vec<String> = Vec::new();
        for accuracy in partners {
            let evaluation = evaluation(accuracy);
            if !taken.contains(&evaluation) {
                taken.push(evaluation.clone());
                by_evaluation
                    .entry(evaluation)
                    .or_default()
                    .push((speed, accuracy));
            }
        }
    }
    // Of several evaluations the one of most networks; the first of equals.
    let most = by_evaluation.values().map(Vec::len).max().unwrap_or(0);
    let chosen = by_evaluation.values().find(|pairs| pairs.len() == most);
    let measured: &[(&Record, &Record)] = chosen.map_or(&[], Vec::as_slice);

    let sides: Vec<(i64, i64)> = speeds.iter().map(|s| s.resolution).collect();
    let several_sides = sides.iter().any(|side| *side != sides[0]);
    let mut joined = Joined::default();
    let mut alone = Vec::new();
    for &speed in &speeds {
        let own = measured.iter().find(|(s, _)| std::ptr::eq(*s, speed));
        let published = || {
            let mut figures = speed.published.iter().filter(|p| p.metric == metric);
            figures.find(|p| {
                measured
                    .first()
                    .is_none_or(|(_, other)| same_evaluation(p, other))
            })
        };
        let accuracy = match own {
            Some((_, record)) => record.metrics.get(metric).map(|m| (*m, false)),
            None => published().map(|p| (Metric::value(p.value), true)),
        };
        let name = match (several_sides, speed.resolution) {
            (false, _) => label(speed),
            (true, (h, w)) if h == w => format!("{} {h} px", label(speed)),
            (true, (h, w)) => format!("{} {h}x{w}", label(speed)),
        };
        match accuracy {
            None => alone.push(name),
            Some((value, published)) => joined.points.push(Point {
                name,
                throughput: speed.metrics["throughput"].value,
                accuracy: value.value,
                interval: value.low.zip(value.high),
                published,
            }),
        }
    }
    if !alone.is_empty() {
        joined.left_out.push(format!(
            "without a {metric} at the resolution, window and precision of their speed, and so not in the plot: {}",
            alone.join(", ")
        ));
    }
    if by_evaluation.len() > 1 {
        joined.left_out.push(format!(
            "the accuracies are of {} evaluations (data, k, templates, ...); the plot shows the one with most networks",
            by_evaluation.len()
        ));
    }
    joined
}

/// The fastest record (over batches) of each network, precision and resolution.
fn fastest(speeds: &[Record]) -> Vec<&Record> {
    let mut best: IndexMap<(String, (i64, i64)), &Record> = IndexMap::new();
    for record in speeds {
        let Some(rate) = record.metrics.get("throughput") else {
            continue;
        };
        let place = best
            .entry((label(record), record.resolution))
            .or_insert(record);
        if rate.value > place.metrics["throughput"].value {
            *place = record;
        }
    }
    best.into_values().collect()
}

/// Whether an accuracy was measured on the network, the input size and the precision of a speed.
/// Accuracies from random weights are worth nothing.
fn same_conditions(speed: &Record, accuracy: &Record) -> bool {
    let bare = |value: &Value| value.get("value").unwrap_or(value).clone();
    let others = &accuracy.model.settings;
    let same_settings = speed.model.settings.iter().all(|(name, value)| {
        let other = others.get(name);
        other.is_none_or(|other| bare(other) == bare(value))
    });
    variant(speed) == variant(accuracy)
        && same_settings
        && !accuracy.model.random_weights
        && speed.precision == accuracy.precision
        && speed.resolution == accuracy.resolution
        && one_size(accuracy)
}

/// Whether every image came to the network at the record's resolution.
fn one_size(record: &Record) -> bool {
    let transform = record.data.last().map(|data| &data.transform);
    transform.is_some_and(|transform| {
        let resize = transform["resize"].as_str();
        !resize.is_some_and(|mode| mode.starts_with("shortest") || mode.starts_with("longest"))
            && transform["inference"] != "whole"
    })
}

/// What two accuracies share that may stand on one axis.
fn evaluation(record: &Record) -> String {
    let data = record.data.last();
    let data = data.map(|d| (&d.name, &d.split, d.samples, &d.fingerprint));
    let option = |name: &&str| record.options.get(*name).cloned();
    let options: Vec<Option<Value>> = PROTOCOL.iter().map(option).collect();
    format!("{data:?} {options:?}")
}

/// Whether a published figure is of the evaluation of a measured one.
fn same_evaluation(figure: &PublishedPart, measured: &Record) -> bool {
    let condition = |name: &str| figure.conditions.get(name).unwrap_or(&Value::Null);
    let text = |name: &str| condition(name).as_str().unwrap_or_default();
    let data = format!("{} {}", text("data"), text("split"));
    let whole = measured.data.last().map(|d| d.samples) == condition("samples").as_u64();
    let options = ["k", "temperature", "templates", "preset"];
    measured.benchmark.as_deref() == Some(data.as_str())
        && whole
        && options.iter().all(|name| {
            let own = measured.options.get(*name).unwrap_or(&Value::Null);
            condition(name) == own
        })
}
