//! What a record says of text-driven segmentation.

use super::evaluate::{Counted, Spent};
use super::prepare::Prepared;
use crate::metrics::bootstrap;
use crate::metrics::segmentation::{OPEN_VOCAB_AACC, OPEN_VOCAB_MACC, OPEN_VOCAB_MIOU, miou_of};
use crate::report::{Metric, ModelPart, RecordBuilder};
use crate::runtime::Runtime;
use serde_json::{Value, json};

/// A record with everything that decides labels.
pub fn begin(
    task: &str,
    part: &ModelPart,
    prepared: &Prepared,
    runtime: &Runtime,
) -> RecordBuilder {
    let segmenter = &prepared.segmenter;
    let settings = &segmenter.settings;
    let side = settings
        .window
        .map_or(settings.short_side as i64, |(crop, _)| crop);
    let mut record = RecordBuilder::new(task, part.clone(), runtime, (side, side))
        .adaptor(Some(&segmenter.adaptor))
        .option("method", segmenter.method.name());
    for value in [json!(segmenter.constants), json!(settings)] {
        let Value::Object(values) = value else {
            continue;
        };
        for (name, value) in values.into_iter().filter(|(_, value)| !value.is_null()) {
            record = record.option(&name, value);
        }
    }
    if settings.window.is_none() {
        record = record.option("window", "none");
    }
    record
        .option("class_names", prepared.names.source.as_str())
        .option("class_names_sha256", prepared.names.sha256())
        .option("name_count", prepared.names.names.len())
        .option("templates", prepared.templates.name.as_str())
        .option("prompts_per_name", prepared.templates.lines.len())
        .option("text_weights", prepared.text_path.as_str())
        .option("text_sha256", prepared.text_sha256.as_str())
        .option("text_settings", prepared.text_settings.clone())
        .stage("load_text", prepared.seconds.0)
        .stage("classifier", prepared.seconds.1)
}

/// Metrics with their interval over pictures, what happened to pictures, and where time went.
pub fn with_counts(
    record: RecordBuilder,
    counted: &Counted,
    spent: &Spent,
    seed: u64,
) -> RecordBuilder {
    let images = counted.images.len();
    let score = counted.confusion.score();
    let interval = bootstrap::interval(images, seed, |chosen| {
        100.0 * miou_of(&counted.images, chosen, counted.confusion.classes())
    });
    let metric = |value: f64, interval: Option<(f64, f64)>| Metric {
        value: 100.0 * value,
        low: interval.map(|i| i.0),
        high: interval.map(|i| i.1),
        n: Some(images as u64),
    };
    let of_pixels = |n: u64| n as f64 / counted.pixels.max(1) as f64;
    let per_image = |n: u64| n as f64 / images.max(1) as f64;
    let ms = |seconds: f64| 1000.0 * seconds / spent.images.max(1) as f64;
    let mut record = record
        .metric(&OPEN_VOCAB_MIOU, metric(score.miou, interval))
        .metric(&OPEN_VOCAB_AACC, metric(score.aacc, None))
        .metric(&OPEN_VOCAB_MACC, metric(score.macc, None))
        .option("sizes_fed", json!(counted.fed))
        .option("windows_per_image", per_image(counted.windows))
        .option("share_below_threshold", of_pixels(counted.below))
        .option("mean_removed_classes", per_image(counted.removed))
        .option("images_without_a_class", counted.empty);
    if spent.images > 0 {
        record = record
            .stage("evaluation", spent.wall)
            .stage("backbone", spent.seconds.backbone)
            .stage("aggregation", spent.seconds.aggregation)
            .stage("head_and_cosine", spent.seconds.head)
            .stage("labels", spent.labels)
            .stage("ms_per_image", ms(spent.wall))
            .images_per_s(Some(spent.images as f64 / spent.wall.max(1e-9)));
    }
    record
}
