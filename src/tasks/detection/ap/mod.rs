//! COCO's average precision of a file of detections, by the crate `hotcoco`, which gives
//! pycocotools' numbers to the last bit (spec/coco.md §3.3), behind validation of our own.

pub mod evaluation;
pub mod input;
mod output;
mod ranking;

pub use evaluation::{Evaluation, IouKind, Settings};
pub use output::{beside, with_evaluation};

use crate::Result;
use crate::hash;
use crate::report::{DataPart, ModelPart, RecordBuilder};
use crate::runtime::Runtime;
use crate::tasks::finished::Finished;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Which files, and how they are compared.
#[derive(Debug, Clone)]
pub struct Options {
    /// COCO instances JSON.
    pub ground_truth: PathBuf,
    /// COCO results JSON: a list of detections.
    pub results: PathBuf,
    /// What the detections are called in the record; the file's name by default.
    pub name: Option<String>,
    /// Boxes, masks; where empty, whatever both files have.
    pub kinds: Vec<IouKind>,
    pub settings: Settings,
}

/// Evaluates the file.
///
/// # Errors
/// A file that cannot be read or that says what makes no sense; see [`input`].
pub fn run(options: &Options, runtime: &Runtime) -> Result<Finished> {
    let started = Instant::now();
    let truth = Arc::new(input::ground_truth(&options.ground_truth)?);
    let loaded = input::results(&truth, &options.results)?;
    let kinds = match options.kinds.is_empty() {
        true => input::kinds(&truth, &loaded.detections),
        false => options.kinds.clone(),
    };
    let load_s = started.elapsed().as_secs_f64();
    let results_sha256 = hash::remembered::of_file(&options.results)?;
    let stem = |path: &Path| {
        let stem = path.file_stem().unwrap_or(path.as_os_str());
        stem.to_string_lossy().into_owned()
    };
    let model = ModelPart {
        name: options
            .name
            .clone()
            .unwrap_or_else(|| stem(&options.results)),
        architecture: "detections of a file".to_string(),
        weights: options.results.display().to_string(),
        sha256: Some(results_sha256),
        random_weights: false,
        parameters: 0,
        adaptor: None,
        settings: Map::new(),
        entry: None,
    };
    let mut record = RecordBuilder::new("ap", model, runtime, (0, 0))
        .data(DataPart {
            name: stem(&options.ground_truth),
            path: options.ground_truth.display().to_string(),
            split: String::new(),
            samples: truth.dataset.images.len() as u64,
            fingerprint: hash::remembered::of_file(&options.ground_truth)?,
            fingerprint_of: "SHA-256 of the annotation file".to_string(),
            skipped: 0,
            transform: Value::Null,
        })
        .option(
            "detections",
            json!(loaded.detections.dataset.annotations.len()),
        )
        .option("max_dets", json!(options.settings.max_dets))
        .option("iou_thresholds", json!(options.settings.thresholds))
        .stage("load", load_s);
    for warning in loaded.warnings {
        record = record.warning(warning);
    }
    let detections = Arc::new(loaded.detections);
    let mut evaluations = Vec::new();
    for kind in kinds {
        let started = Instant::now();
        let mut evaluation = evaluation::evaluate(&truth, &detections, kind, &options.settings)
            .map_err(|reason| crate::Error::file(&options.results, reason))?;
        record = record.stage(kind.name(), started.elapsed().as_secs_f64());
        let started = Instant::now();
        evaluation.find_intervals(&options.settings, runtime.seed)?;
        record = record.stage("intervals", started.elapsed().as_secs_f64());
        evaluations.push(evaluation);
    }
    for evaluation in &evaluations {
        record = with_evaluation(record, evaluation);
    }
    let record = record.build();
    Ok(Finished {
        beside: beside(&evaluations)?,
        ..Finished::record(record)
    })
}
