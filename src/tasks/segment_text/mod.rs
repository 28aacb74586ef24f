//! Text-driven segmentation: every pixel belongs to the class whose name lies nearest to its patch
//! in the joint space of images and text; nothing is trained (spec/open_vocabulary.md).

pub mod decide;
mod evaluate;
pub mod method;
pub mod names;
pub mod prepare;
pub mod protocol;
mod query;
mod record;
pub mod scores;
pub mod segmenter;

pub use prepare::Options;
pub use query::{Shown, run as query};

use crate::Result;
use crate::data::Source;
use crate::data::segmentation::{Segmentation, check, label_sets};
use crate::models::Resolved;
use crate::report::ModelPart;
use crate::runtime::Runtime;
use crate::tasks::pictures::Predictions;
use crate::tasks::segmentation::{benchmark, data_part, expect_classes, output};
use crate::tasks::{Finished, contents, extract};
use decide::Below;
use evaluate::Evaluation;
use names::ClassNames;
use prepare::Prepared;
use serde_json::json;
use std::time::Instant;

/// Name of the task in records.
pub const TASK: &str = "segment_text";
/// Segments the val split by the names of its classes.
///
/// # Errors
/// Everything that is wrong is said before the first picture; what was finished before a failure
/// or an interruption is kept, and the same call goes on.
pub fn run(
    model: &Resolved,
    data: &Segmentation,
    options: &Options,
    runtime: &Runtime,
) -> Result<Finished> {
    let val = data.need_val()?;
    let set = label_sets::recognise(&data.rule);
    let background = data
        .rule
        .classes
        .first()
        .is_some_and(|c| c.name == "background");
    let prepared = Prepared::new(model, options, set, background, runtime, |settings| {
        ClassNames::find(
            &data.rule,
            set,
            &settings.names,
            options.changes.names.is_some(),
            options.classnames.as_deref(),
        )
    })?;
    let predictions = match &options.predictions {
        None => None,
        Some(folder) => Some(Predictions::begin(folder, val)?),
    };
    let part = ModelPart::for_model(model)?;
    let mut record = record::begin(TASK, &part, &prepared, runtime).benchmark(benchmark(data));
    let mut warnings = data.warnings.clone();
    if !options.skip_check {
        let started = Instant::now();
        warnings.extend(check::check(val)?.missing("val", &data.rule));
        record = record.stage("check", started.elapsed().as_secs_f64());
    }
    let started = Instant::now();
    let all: Vec<usize> = (0..val.len()).collect();
    let fingerprint = contents::hash_all(val, &all, options.show)?;
    record = record.stage("hashing", started.elapsed().as_secs_f64());
    let evaluation = Evaluation {
        prepared: &prepared,
        set: val,
        below: Below::Background,
        runtime,
        predictions: predictions.as_ref(),
        show: options.show,
    };
    let key = json!({
        "network": extract::key::network_key(model, &part, runtime)?,
        "segmentation": prepared.describe(),
        "text": prepared.text_sha256,
        "data": fingerprint,
        "classes": data.rule.classes,
    });
    let (counted, spent) = evaluation.run(key, options.restart)?;
    expect_classes(&counted.confusion, val)?;
    let transform = json!({
        "resize": "cv2 bilinear, aspect kept",
        "short_side": prepared.segmenter.settings.short_side,
        "long_side": prepared.segmenter.settings.long_side,
    });
    record = record.data(data_part(data, "val", val.len(), fingerprint, transform));
    record = record::with_counts(record, &counted, &spent, runtime.seed);
    for warning in warnings.into_iter().chain(counted.warnings()) {
        record = record.warning(warning);
    }
    Ok(Finished {
        beside: output::tables(&data.rule, &counted.confusion)?,
        ..Finished::record(record.build())
    })
}
