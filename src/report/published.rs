//! Which published figures may stand beside a run: those whose every condition the run meets.
//!
//! They are written into the record when it is made. A table or a plot of old records shows what
//! was known, and true, then.

use super::record::{DataPart, PublishedPart, Record};
use crate::models::options::is_by_flag;
use crate::models::zoo::ZooEntry;
use crate::models::zoo::published::{Protocol, Published, Shape};
use serde_json::{Value, json};

/// The figures of `entry` that stand beside `record`. A record of speed has, besides published
/// speeds, the accuracies published for the same network on the same input: a plot of accuracy
/// against throughput may use these, and no others.
pub fn standing(entry: &ZooEntry, record: &Record) -> Vec<PublishedPart> {
    let of_speed = record.data.is_empty();
    let stands = |figure: &&Published| {
        same_network(entry, figure, record)
            && match (of_speed, figure.protocol) {
                (true, _) => same_input(figure, record.resolution),
                (false, Protocol::Speed) => false,
                (false, _) => same_evaluation(entry, figure, record),
            }
    };
    let figures = entry.published.iter().filter(stands);
    figures.map(PublishedPart::from).collect()
}

impl From<&Published> for PublishedPart {
    fn from(figure: &Published) -> Self {
        PublishedPart {
            metric: figure.metric.name.to_string(),
            value: figure.value,
            source: figure.source.to_string(),
            conditions: figure.conditions(),
        }
    }
}

impl PublishedPart {
    /// Source, size and shape: `arXiv 2312.06709v5 Table 1, 432 px (square, inferred)`.
    pub fn describe(&self) -> String {
        let condition = |name: &str| self.conditions.get(name).unwrap_or(&Value::Null);
        let shape = condition("shape").as_str();
        let inferred = condition("shape_is") == "inferred";
        let mut text = self.source.clone();
        if let Some(side) = condition("resolution").as_i64() {
            text += &format!(", {side} px");
            text += &match (shape, inferred) {
                (Some(shape), false) => format!(" ({shape})"),
                (Some(shape), true) => format!(" ({shape}, inferred)"),
                (None, _) => String::new(),
            };
        }
        text
    }
}

/// The published value beside `metric` of this record.
pub fn beside<'a>(record: &'a Record, metric: &str) -> Option<&'a PublishedPart> {
    record.published.iter().find(|p| p.metric == metric)
}

/// The heading of the column of published values beside the column `title` of `metric`.
pub fn heading(metric: &str, title: &str) -> String {
    match metric {
        "throughput" => format!("{title} (published, A100 TensorRT)"),
        _ => format!("{title} (published)"),
    }
}

/// Settings that change the features are those of the figure: the window as trained, ViTDet's
/// window, the rule of positions that the zoo gives for it, nothing that a flag changed.
fn same_network(entry: &ZooEntry, figure: &Published, record: &Record) -> bool {
    let settings = &record.model.settings;
    let vitdet = settings.get("vitdet").map(|v| v["window"].as_i64());
    let hints = (entry.hints)();
    let as_hinted = |name: &str| match (hints.get(name), settings.get(name)) {
        (Some(hint), Some(setting)) => hint == setting,
        _ => true,
    };
    vitdet == figure.vitdet_window.map(Some)
        && settings.get("window").is_none_or(|w| w == "trained")
        && as_hinted("pos_align_corners")
        && !settings.values().any(is_by_flag)
}

/// A square input of the figure's size.
fn same_input(figure: &Published, resolution: (i64, i64)) -> bool {
    figure.shape == Some(Shape::Square)
        && figure.side.is_some_and(|side| resolution == (side, side))
}

fn same_evaluation(entry: &ZooEntry, figure: &Published, record: &Record) -> bool {
    let (Some(benchmark), Some(val)) = (figure.benchmark, record.data.last()) else {
        return false;
    };
    let train = record.data.iter().find(|data| data.split == "train");
    let whole_train = || {
        train.is_some_and(|data| data.samples == benchmark.train_samples && data.skipped == 0)
            && is_absent(record, "train_limit")
    };
    let option = |name: &str| record.options.get(name).cloned().unwrap_or_default();
    let same_protocol = match figure.protocol {
        Protocol::Knn { k, temperature } => {
            option("k") == json!(k)
                && option("temperature") == json!(temperature)
                && whole_train()
                && same_pixels(entry, figure, val, record.resolution)
        }
        Protocol::ZeroShot { templates } => {
            let names = option("class_names");
            option("templates") == json!(templates)
                && names.as_str().is_some_and(|n| n.starts_with("open_clip"))
                && same_pixels(entry, figure, val, record.resolution)
        }
        Protocol::LinearProbe { preset } => {
            preset.is_some_and(|preset| option("preset") == json!(preset))
                && option("recipe_changes") == json!([])
                && is_absent(record, "head")
                && whole_train()
                && figure
                    .side
                    .is_some_and(|crop| record.resolution == (crop, crop))
        }
        Protocol::SamSwap => {
            option("prompt") == json!("box")
                && option("changes") == json!([])
                && option("sam")["name"] == json!("sam-h")
                && figure
                    .side
                    .is_some_and(|side| record.resolution == (side, side))
        }
        Protocol::Speed => false,
    };
    same_protocol
        && !record.model.random_weights
        && record.benchmark.as_deref() == Some(benchmark.to_string().as_str())
        && val.samples == benchmark.samples
        && val.skipped == 0
        && record.model.adaptor.as_deref() == adaptor_of(entry, figure)
}

/// The adaptor that a run must have for the figure to stand beside it: for SAM's decoder on a
/// student the one that imitates SAM, whose features it takes.
fn adaptor_of(entry: &ZooEntry, figure: &Published) -> Option<&'static str> {
    match figure.protocol {
        Protocol::SamSwap => entry.adaptors.iter().copied().find(|name| *name == "sam"),
        _ => figure.adaptor,
    }
}

/// Whether images came to the network at the figure's size and shape.
fn same_pixels(
    entry: &ZooEntry,
    figure: &Published,
    val: &DataPart,
    resolution: (i64, i64),
) -> bool {
    let (Some(side), Some(shape)) = (figure.side, figure.shape) else {
        return false;
    };
    let transform = &val.transform;
    let size = match shape {
        Shape::Square => transform["resize"] == "cover" && resolution == (side, side),
        Shape::ShortestSide => {
            transform["resize"] == "shortest" && transform["size"] == json!([side])
        }
    };
    let multiple = &transform["multiple"];
    size && [entry.patch, entry.step]
        .iter()
        .any(|own| *multiple == json!(own))
}

/// Not among the options, or `null` there.
fn is_absent(record: &Record, option: &str) -> bool {
    record.options.get(option).is_none_or(Value::is_null)
}
