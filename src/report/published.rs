//! Published figures beside measured ones.

use super::record::Record;
use crate::metrics;
use crate::models::zoo::{self, SPEED_SOURCE, ZooEntry};

/// A published value that may stand beside a measured one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Beside {
    pub value: f64,
    pub source: &'static str,
}

/// The published value that may stand beside `metric` of this record, for a model of the zoo.
///
/// An accuracy: never beside random weights, only on the whole evaluation split. A speed: at the
/// same resolution, with the trained window and global attention, whatever the weights; it is another machine's, which
/// its [`heading`] says.
pub fn beside(record: &Record, metric: &str) -> Option<Beside> {
    let entry = zoo::entries().find(|e| e.name == record.model.name)?;
    match metric {
        "throughput" => speed(entry, record),
        _ => accuracy(entry, record, metric),
    }
}

/// The heading of the column of published values beside the column `title` of `metric`.
pub fn heading(metric: &str, title: &str) -> String {
    match metric {
        "throughput" => format!("{title} (published, A100 TensorRT)"),
        _ => format!("{title} (published)"),
    }
}

fn speed(entry: &ZooEntry, record: &Record) -> Option<Beside> {
    let speed = entry.published_speed?;
    let settings = &record.model.settings;
    let same_work = record.resolution == (speed.resolution, speed.resolution)
        && settings.get("window").is_none_or(|w| w == "trained")
        && !settings.contains_key("vitdet");
    same_work.then_some(Beside {
        value: speed.images_per_s,
        source: SPEED_SOURCE,
    })
}

fn accuracy(entry: &ZooEntry, record: &Record, metric: &str) -> Option<Beside> {
    if record.model.random_weights {
        return None;
    }
    let benchmark = metrics::find(metric)?.benchmark?;
    if record.data.last()?.samples != benchmark.samples {
        return None;
    }
    let published = entry.published.iter().find(|p| p.metric == metric)?;
    Some(Beside {
        value: published.value,
        source: published.source,
    })
}
