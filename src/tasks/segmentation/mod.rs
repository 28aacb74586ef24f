//! Linear-probe segmentation (ADE20k): BatchNorm and a 1x1 convolution on frozen spatial features,
//! trained and tested as mmseg does (spec/radio.md §6), mIoU over the val split.

mod batches;
mod cached;
mod course;
mod evaluate;
mod infer;
mod live;
pub(in crate::tasks) mod output;
mod probe;
mod quick;
pub mod recipe;
mod training;
mod validation;

pub use recipe::{Preset, Recipe};

use crate::data::Source;
use crate::data::segmentation::{MaskClass, PairSet, Segmentation, check};
use crate::heads::LinearSegHead;
use crate::metrics::segmentation::{AACC, Confusion, MACC, MIOU, miou_of};
use crate::metrics::{Benchmark, benchmark, bootstrap};
use crate::models::Resolved;
use crate::report::{DataPart, Metric, ModelPart, Record, RecordBuilder};
use crate::runtime::Runtime;
use crate::tasks::finished::{Beside, Contents, Finished};
use crate::tasks::pictures::Predictions;
use crate::tasks::spatial::SpatialFeatures;
use crate::tasks::{contents, extract};
use crate::weights::safetensors;
use crate::{Error, Result};
use evaluate::Evaluated;
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

/// Trains (unless a head is given) and evaluates.
pub fn run(
    model: &Resolved,
    data: &Segmentation,
    recipe: Recipe,
    options: &Options,
    runtime: &Runtime,
) -> Result<Finished> {
    let recipe = recipe.settle(model)?;
    data.rule.expect_bytes()?;
    let part = ModelPart::for_model(model)?;
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
    // Whatever can be wrong is looked at before the first image: the head, the folder, the masks.
    let val = data.need_val()?;
    let channels = features.channels(features.padded(recipe.crop()), runtime.device)?;
    let given = match &options.head {
        None => None,
        Some(path) => {
            let head = open_head(path, data, runtime)?;
            check_head(&head, channels, model, data)?;
            record = record.option("head", path.display().to_string());
            Some(head)
        }
    };
    let train = match given {
        Some(_) => None,
        None => Some(data.need_train()?),
    };
    let predictions = match &options.predictions {
        None => None,
        Some(folder) => Some(Predictions::begin(folder, val)?),
    };
    let mut warnings = data.warnings.clone();
    if recipe.preset == Preset::Quick && given.is_none() {
        warnings.push(quick::distance().unwrap_or_else(|error| {
            format!("preset quick knows no augmentation; how far it was from repo-head is not at hand: {error}")
        }));
    }
    if !options.skip_check {
        let started = Instant::now();
        for (split, set) in train
            .map(|train| ("train", train))
            .into_iter()
            .chain([("val", val)])
        {
            let statistics = check::check(set)?;
            warnings.extend(statistics.missing(split, &data.rule));
        }
        record = record.stage("check", started.elapsed().as_secs_f64());
    }
    let all: Vec<usize> = (0..val.len()).collect();
    let started = Instant::now();
    let val_images = contents::hash_all(val, &all, options.show)?;
    let mut hashing_s = started.elapsed().as_secs_f64();
    let trained = match (given, train) {
        (Some(head), _) => vec![(0, head)],
        (None, None) => return Err(Error::model("there is neither a head nor a train split")),
        (None, Some(train)) => {
            let indices = training::indices(&recipe, train);
            let started = Instant::now();
            let images = contents::hash_all(train, &indices, options.show)?;
            hashing_s += started.elapsed().as_secs_f64();
            let training = Training {
                features: &features,
                data,
                recipe: &recipe,
                network: extract::key::network_key(model, &part, runtime)?,
                train_images: &images,
                val_images: &val_images,
                options,
                runtime,
            };
            let trained = training.run()?;
            let (indices, transform) = (trained.indices.len(), train_transform(&recipe));
            record = record.data(data_part(data, "train", indices, images, transform));
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
    let (results, seconds) = evaluate::evaluate(
        &features,
        &heads,
        &recipe,
        val,
        runtime,
        predictions.as_ref(),
        options.show,
    )?;
    if let Some(first) = results.first() {
        expect_classes(&first.confusion, val)?;
    }
    let transform = test_transform(&recipe);
    record = record
        .data(data_part(data, "val", val.len(), val_images, transform))
        .stage("hashing", hashing_s)
        .stage("evaluation", seconds)
        .images_per_s(Some(val.len() as f64 / seconds.max(1e-9)));
    record = with_metrics(record, &results, val.len(), runtime.seed);
    for warning in warnings {
        record = record.warning(warning);
    }
    let mut confusion = Confusion::new(data.rule.classes.len());
    for result in &results {
        confusion.merge(&result.confusion);
    }
    let record = record.build();
    let trained = match options.head {
        Some(_) => &[][..],
        None => &trained,
    };
    Ok(Finished {
        beside: beside(&record, data, &confusion, trained)?,
        ..Finished::record(record)
    })
}

/// Fails where the labels that were evaluated are of one class only: without the check of all masks
/// (`--skip-check`) this is the first to know, and every model would reach 100 %.
pub(in crate::tasks) fn expect_classes(confusion: &Confusion, val: &PairSet) -> Result<()> {
    let all = 0..confusion.classes();
    let has_pixels = |&label: &usize| all.clone().any(|p| confusion.count(label, p) > 0);
    match all.clone().filter(has_pixels).nth(1) {
        Some(_) => Ok(()),
        None => Err(Error::file(
            val.mask_path(0),
            "and all other masks of the val split hold pixels of one class at most, so that every model would reach 100 %; run without --skip-check to see why",
        )),
    }
}

/// The benchmark whose val split the data has.
pub(in crate::tasks) fn benchmark(data: &Segmentation) -> Option<&'static Benchmark> {
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

/// How train images come to the network, for the record.
fn train_transform(recipe: &Recipe) -> Value {
    json!({"features": recipe.features, "size": recipe.resolution})
}

/// The same of val images.
fn test_transform(recipe: &Recipe) -> Value {
    json!({
        "inference": recipe.inference,
        "size": recipe.resolution,
        "test_scale": recipe.test_scale,
        "stride": recipe.stride,
    })
}

pub(in crate::tasks) fn data_part(
    data: &Segmentation,
    split: &str,
    images: usize,
    fingerprint: String,
    transform: Value,
) -> DataPart {
    DataPart {
        name: data.name.clone(),
        path: data.path.display().to_string(),
        split: split.to_string(),
        samples: images as u64,
        fingerprint,
        fingerprint_of: contents::FINGERPRINT_OF.to_string(),
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

/// Whether a head, features of `channels` and the data's classes go together.
fn check_head(
    head: &LinearSegHead,
    channels: i64,
    model: &Resolved,
    data: &Segmentation,
) -> Result<()> {
    if head.classes() != data.rule.classes.len() as i64 {
        return Err(Error::usage(format!(
            "the head has {} classes, the data {}",
            head.classes(),
            data.rule.classes.len()
        )));
    }
    if head.channels() != channels {
        return Err(Error::usage(format!(
            "the head takes features of {} channels, {} makes {channels}",
            head.channels(),
            model.name
        )));
    }
    Ok(())
}

/// The classes, the confusion matrix and the trained heads.
fn beside(
    record: &Record,
    data: &Segmentation,
    confusion: &Confusion,
    heads: &[(u64, LinearSegHead)],
) -> Result<Vec<Beside>> {
    let mut files = output::tables(&data.rule, confusion)?;
    for (seed, head) in heads {
        let ending = match heads.len() {
            1 => "head.safetensors".to_string(),
            _ => format!("head{seed}.safetensors"),
        };
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let metadata = [
            ("model", record.model.name.clone()),
            ("weights", text(&record.model.sha256)),
            ("adaptor", text(&record.model.adaptor)),
            ("data", data.name.clone()),
            ("classes", class_names(data)),
            ("seed", seed.to_string()),
            ("recipe", Value::Object(record.options.clone()).to_string()),
        ];
        let metadata = metadata.map(|(name, value)| (name.to_string(), value));
        files.push(Beside {
            ending,
            contents: Contents::Tensors(head.tensors(), HashMap::from(metadata)),
        });
    }
    Ok(files)
}
