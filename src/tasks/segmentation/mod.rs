//! Linear-probe segmentation (ADE20k): BatchNorm and a 1x1 convolution on frozen spatial features,
//! trained and tested as mmseg does (spec/radio.md §6), mIoU over the val split.

mod batches;
mod cached;
mod course;
mod evaluate;
mod features;
mod font;
mod infer;
mod live;
mod order;
mod output;
mod probe;
mod quick;
pub mod recipe;
mod training;
mod validation;

pub use output::Predictions;
pub use recipe::{Preset, Recipe};

use crate::data::Source;
use crate::data::fingerprint::fingerprint;
use crate::data::segmentation::{MaskClass, PairSet, Segmentation, check};
use crate::heads::LinearSegHead;
use crate::metrics::segmentation::{AACC, Confusion, MACC, MIOU, miou_of};
use crate::metrics::{Benchmark, benchmark, bootstrap};
use crate::models::Resolved;
use crate::report::{DataPart, Metric, ModelPart, Record, RecordBuilder, write_record};
use crate::runtime::Runtime;
use crate::weights::safetensors;
use crate::{Error, Result};
use evaluate::Evaluated;
use features::SpatialFeatures;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;
use training::Training;

/// What to do besides the recipe.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub adaptor: Option<String>,
    /// A trained head: evaluate it, train nothing.
    pub head: Option<PathBuf>,
    /// Where predictions are drawn.
    pub predictions: Option<PathBuf>,
    /// Forget the state of an earlier run.
    pub restart: bool,
    /// Leave out the check of all masks.
    pub skip_check: bool,
    /// Show progress bars.
    pub show: bool,
}

/// A finished probe: its record, and what lies beside it.
pub struct Finished {
    pub record: Record,
    confusion: Confusion,
    /// The heads that were trained; none where one was given.
    heads: Vec<(u64, LinearSegHead)>,
}

/// Trains (unless a head is given) and evaluates.
pub fn run(
    model: &Resolved,
    data: &Segmentation,
    recipe: Recipe,
    options: &Options,
    runtime: &Runtime,
) -> Result<Finished> {
    let recipe = recipe.settle(model)?;
    let part = ModelPart::of(model)?;
    let resolution = (recipe.crop(), recipe.crop());
    let mut record = RecordBuilder::new("segmentation", part.clone(), runtime, resolution)
        .adaptor(options.adaptor.as_deref())
        .benchmark(benchmark(data));
    for (name, value) in recipe.describe() {
        record = record.option(&name, value);
    }
    record = record.option("recipe_changes", recipe.changes(model)?);
    let features = SpatialFeatures {
        model,
        adaptor: options.adaptor.as_deref(),
    };
    let val = data.need_val()?;
    let predictions = options
        .predictions
        .clone()
        .map(|folder| Predictions { folder });
    if let Some(predictions) = &predictions {
        predictions.check(val)?;
    }
    let mut warnings = data.warnings.clone();
    if recipe.preset == Preset::Quick && options.head.is_none() {
        warnings.push(quick::distance().unwrap_or_else(|error| {
            format!("preset quick knows no augmentation; how far it was from repo-head is not at hand: {error}")
        }));
    }
    if !options.skip_check {
        let started = Instant::now();
        let train = data.train.as_ref().filter(|_| options.head.is_none());
        for (split, set) in train
            .map(|t| ("train", t))
            .into_iter()
            .chain([("val", val)])
        {
            let statistics = check::check(set)?;
            warnings.extend(statistics.missing(split, &data.rule));
        }
        record = record.stage("check", started.elapsed().as_secs_f64());
    }
    let trained = match &options.head {
        Some(path) => {
            record = record.option("head", path.display().to_string());
            vec![(0, open_head(path, data, runtime)?)]
        }
        None => {
            let training = Training {
                features: &features,
                data,
                recipe: &recipe,
                part: &part,
                options,
                runtime,
            };
            let trained = training.run()?;
            let (train, indices) = (data.need_train()?, &trained.indices);
            record = record.data(data_part(data, train, "train", indices, &recipe, false));
            for (stage, seconds) in trained.stages {
                record = record.stage(stage, seconds);
            }
            if !trained.validated.is_empty() {
                record = record.option("validation", json!(trained.validated));
            }
            trained.heads
        }
    };
    let heads: Vec<&LinearSegHead> = trained.iter().map(|(_, head)| head).collect();
    for head in &heads {
        check_head(head, &features, &recipe, data, runtime)?;
    }
    let (results, seconds) = evaluate::evaluate(
        &features,
        &heads,
        &recipe,
        val,
        runtime,
        predictions.as_ref(),
        options.show,
    )?;
    expect_classes(&results, val)?;
    let all: Vec<usize> = (0..val.len()).collect();
    record = record
        .data(data_part(data, val, "val", &all, &recipe, true))
        .stage("evaluation", seconds)
        .images_per_s(Some(val.len() as f64 / seconds.max(1e-9)));
    record = with_metrics(record, &results, val.len(), runtime.seed);
    for warning in warnings {
        // Those of the data were told when it was opened.
        if !data.warnings.contains(&warning) {
            tracing::warn!("{warning}");
        }
        record = record.warning(warning);
    }
    let mut confusion = Confusion::new(data.rule.classes.len());
    for result in &results {
        confusion.merge(&result.confusion);
    }
    Ok(Finished {
        record: record.build(),
        confusion,
        heads: match options.head {
            Some(_) => Vec::new(),
            None => trained,
        },
    })
}

/// Fails where the labels that were evaluated are of one class only: without the check of all masks
/// (`--skip-check`) this is the first to know, and every model would reach 100 %.
fn expect_classes(results: &[Evaluated], val: &PairSet) -> Result<()> {
    let Some(result) = results.first() else {
        return Ok(());
    };
    let all = 0..result.confusion.classes();
    let has_pixels = |&label: &usize| all.clone().any(|p| result.confusion.count(label, p) > 0);
    match all.clone().filter(has_pixels).nth(1) {
        Some(_) => Ok(()),
        None => Err(Error::file(
            val.mask_path(0),
            "and all other masks of the val split hold pixels of one class at most, so that every model would reach 100 %; run without --skip-check to see why",
        )),
    }
}

/// The benchmark whose val split the data has.
fn benchmark(data: &Segmentation) -> Option<&'static Benchmark> {
    let val = data.val.as_ref()?;
    let classes = &data.rule.classes;
    let name = |class: Option<&MaskClass>| vec![class.map_or(String::new(), |c| c.name.clone())];
    benchmark::recognise(
        val.len() as u64,
        classes.len(),
        [&name(classes.first()), &name(classes.last())],
        || (0..val.len()).map(|i| val.size(i)).sum(),
    )
}

/// Means over the heads; mIoU with the bootstrap interval over images, and its value per head.
fn with_metrics(
    record: RecordBuilder,
    results: &[Evaluated],
    images: usize,
    seed: u64,
) -> RecordBuilder {
    let scores: Vec<_> = results.iter().map(|r| r.confusion.score()).collect();
    let mean = |values: &dyn Fn(usize) -> f64| {
        100.0 * (0..results.len()).map(values).sum::<f64>() / results.len().max(1) as f64
    };
    let interval = bootstrap::interval(images, seed, |chosen| {
        mean(&|i| {
            let result = &results[i];
            miou_of(&result.images, chosen, result.confusion.classes())
        })
    });
    let metric = |value: f64, interval: Option<(f64, f64)>| Metric {
        value,
        low: interval.map(|i| i.0),
        high: interval.map(|i| i.1),
        n: Some(images as u64),
    };
    let per_head: Vec<Value> = scores.iter().map(|s| json!(100.0 * s.miou)).collect();
    record
        .metric(&MIOU, metric(mean(&|i| scores[i].miou), interval))
        .metric(&AACC, metric(mean(&|i| scores[i].aacc), None))
        .metric(&MACC, metric(mean(&|i| scores[i].macc), None))
        .option("miou_per_seed", per_head)
}

fn data_part(
    data: &Segmentation,
    set: &PairSet,
    split: &str,
    indices: &[usize],
    recipe: &Recipe,
    test: bool,
) -> DataPart {
    let transform = match test {
        true => {
            json!({"inference": recipe.inference, "size": recipe.resolution, "test_scale": recipe.test_scale, "stride": recipe.stride})
        }
        false => json!({"features": recipe.features, "size": recipe.resolution}),
    };
    DataPart {
        name: data.name.clone(),
        path: data.path.display().to_string(),
        split: split.to_string(),
        samples: indices.len() as u64,
        fingerprint: fingerprint(set, indices),
        skipped: 0,
        transform,
    }
}

fn open_head(path: &Path, data: &Segmentation, runtime: &Runtime) -> Result<LinearSegHead> {
    let (tensors, metadata) = safetensors::open(path)?;
    let read = |name: &str| {
        let tensor = tensors.get(name).ok_or_else(|| {
            Error::file(
                path,
                format!("has no `{name}`; --head takes a file that this command wrote"),
            )
        })?;
        tensor.read(runtime.device, tensor.kind)
    };
    let head = LinearSegHead::from_tensors(read, runtime.device).map_err(|e| match e {
        Error::Model(reason) => Error::file(path, reason),
        other => other,
    })?;
    let names = class_names(data);
    if let Some(known) = metadata.get("classes").filter(|known| **known != names) {
        return Err(Error::file(
            path,
            format!("was trained on other classes ({known}) than those of the data ({names})"),
        ));
    }
    Ok(head)
}

fn class_names(data: &Segmentation) -> String {
    let names: Vec<&str> = data.rule.classes.iter().map(|c| c.name.as_str()).collect();
    names.join("; ")
}

/// One blank image tells whether head, features and classes go together.
fn check_head(
    head: &LinearSegHead,
    features: &SpatialFeatures,
    recipe: &Recipe,
    data: &Segmentation,
    runtime: &Runtime,
) -> Result<()> {
    if head.classes() != data.rule.classes.len() as i64 {
        return Err(Error::usage(format!(
            "the head has {} classes, the data {}",
            head.classes(),
            data.rule.classes.len()
        )));
    }
    let side = features.padded(recipe.crop());
    let channels = features.channels(side, runtime.device)?;
    if head.channels() != channels {
        return Err(Error::usage(format!(
            "the head takes features of {} channels, {} makes {channels}",
            head.channels(),
            features.model.name
        )));
    }
    Ok(())
}

impl Finished {
    /// Writes the record, and beside it the classes, the confusion matrix and the heads; returns
    /// the record's path.
    pub fn write(&self, folder: &Path, data: &Segmentation) -> Result<PathBuf> {
        let path = write_record(folder, &self.record)?;
        output::write_classes(
            &path.with_extension("classes.csv"),
            &data.rule,
            &self.confusion,
        )?;
        output::write_confusion(
            &path.with_extension("confusion.csv"),
            &data.rule,
            &self.confusion,
        )?;
        for (seed, head) in &self.heads {
            let ending = match self.heads.len() {
                1 => "head.safetensors".to_string(),
                _ => format!("head{seed}.safetensors"),
            };
            let metadata = HashMap::from([
                ("model".to_string(), self.record.model.name.clone()),
                (
                    "weights".to_string(),
                    self.record.model.sha256.clone().unwrap_or_default(),
                ),
                (
                    "adaptor".to_string(),
                    self.record.model.adaptor.clone().unwrap_or_default(),
                ),
                ("data".to_string(), data.name.clone()),
                ("classes".to_string(), class_names(data)),
                ("seed".to_string(), seed.to_string()),
                (
                    "recipe".to_string(),
                    Value::Object(self.record.options.clone()).to_string(),
                ),
            ]);
            output::write_head(&path.with_extension(ending), head, metadata)?;
        }
        Ok(path)
    }
}
