//! Detection on a frozen backbone: trains a detector (unless one is given) and gives its average
//! precision on the val split.

use super::ap::{self, Evaluation, Settings};
use super::draw::draw;
use super::evaluate;
use super::frozen::FrozenMap;
use super::head_file::{self, HeadFile};
use super::recipe::Recipe;
use super::results_file;
use super::trainer::{StateFile, Validated};
use super::training::{Training, test_batch};
use super::{batches, output};
use crate::data::Source;
use crate::data::coco::CocoSet;
use crate::hash::sha256;
use crate::heads::detection::Detector;
use crate::metrics::detection::{BOX_AP, MASK_AP};
use crate::models::Resolved;
use crate::report::{DataPart, Metric, ModelPart, RecordBuilder};
use crate::runtime::{Runtime, home};
use crate::tasks::finished::{Beside, Contents, Finished};
use crate::tasks::{contents, extract};
use crate::{Error, Result};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// What to do besides the recipe.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub adaptor: Option<String>,
    /// A trained detector: evaluate it, train nothing.
    pub head: Option<PathBuf>,
    /// Epochs between evaluations in training.
    pub val_every: Option<f64>,
    /// Iterations between saved states.
    pub checkpoint_every: u64,
    /// Forget the state of an earlier run.
    pub restart: bool,
    /// Where detections are written as COCO's results.
    pub save_detections: Option<PathBuf>,
    /// How many images are drawn, and where.
    pub draw: Option<(usize, PathBuf)>,
    /// Show progress bars.
    pub show: bool,
}

/// Trains (unless a head is given) and evaluates. `train` is needed where there is no head.
pub fn run(
    model: &Resolved,
    train: Option<&Arc<CocoSet>>,
    val: &Arc<CocoSet>,
    recipe: &Recipe,
    options: &Options,
    runtime: &Runtime,
) -> Result<Finished> {
    recipe.check()?;
    let part = ModelPart::for_model(model)?;
    let frozen = FrozenMap::new(model, options.adaptor.as_deref(), recipe)?;
    let side = frozen.side;
    let mut record = RecordBuilder::new("detection", part.clone(), runtime, (side, side))
        .adaptor(options.adaptor.as_deref());
    for (name, value) in recipe.describe() {
        record = record.option(&name, value);
    }
    record = record.option("categories", head_file::categories(val));
    let truth = Arc::new(evaluate::truth(val)?);
    if let Some((_, folder)) = &options.draw {
        std::fs::create_dir_all(folder).map_err(|e| Error::file(folder, e))?;
    }
    let channels = frozen.channels(runtime.device)?;
    let started = Instant::now();
    let val_images = hash(val, options.show)?;
    record = record.stage("hashing", started.elapsed().as_secs_f64());
    let (detector, validated) = match (&options.head, train) {
        (Some(path), _) => {
            record = record.option("head", path.display().to_string());
            let file = HeadFile::open(path)?;
            (
                file.detector(path, channels, val, runtime.device)?,
                Vec::new(),
            )
        }
        (None, None) => return Err(Error::model("there is neither a head nor a train split")),
        (None, Some(train)) => {
            let images = with_objects(train)?;
            let train_images = hash(train, options.show)?;
            if head_file::categories(train) != head_file::categories(val) {
                return Err(Error::file(
                    &train.annotations_path,
                    "has other categories than the val split",
                ));
            }
            let labels = batches::labels(train);
            let mut network = recipe.detector(channels, train.categories.len() as i64);
            let lacking = without_mask(train, &images);
            if network.masks && lacking > 0 {
                network.masks = false;
                record = record.warning(format!(
                    "{lacking} train objects have no mask: the detector finds boxes only"
                ));
            }
            let iterations = recipe.iterations(images.len());
            let epoch = images.len() as f64 / recipe.batch_size as f64;
            let val_every = options
                .val_every
                .map(|n| (n * epoch).round().max(1.0) as u64);
            let key = json!({
                "recipe": recipe.describe(),
                "network": extract::key::network_key(model, &part, runtime)?,
                "adaptor": options.adaptor,
                "train": train_images,
                "val": val_every.map(|_| &val_images),
                "val_every": val_every,
            });
            let training = Training {
                frozen: &frozen,
                recipe,
                options: network,
                train,
                images: &images,
                labels: &labels,
                val,
                truth: &truth,
                iterations,
                val_every,
                checkpoint_every: options.checkpoint_every,
                state: state(&key, model, iterations, options.restart)?,
                runtime,
                show: options.show,
            };
            let (trainer, spent) = training.run()?;
            let transform = json!({"jitter": recipe.jitter, "side": side});
            record = record
                .data(data_part(
                    train,
                    "train",
                    images.len(),
                    train_images,
                    transform,
                ))
                .option("iterations", iterations)
                .stage("data wait", spent.data)
                .stage("backbone", spent.backbone)
                .stage("head", spent.head)
                .stage("validation", spent.validation);
            let averaged = trainer.evaluated()?;
            (averaged.unwrap_or(trainer.detector), trainer.validated)
        }
    };
    record = record.option("head_parameters", detector.size());
    let started = Instant::now();
    let batch = test_batch(recipe);
    let found = evaluate::detect(&frozen, &detector, val, batch, runtime, options.show)?;
    let seconds = started.elapsed().as_secs_f64();
    if let Some(path) = &options.save_detections {
        results_file::write(path, val, &found)?;
        record = record.option("detections_file", path.display().to_string());
    }
    if let Some((count, folder)) = &options.draw {
        for index in 0..(*count).min(val.len()) {
            crate::runtime::interrupt::check()?;
            let path = draw(val, index, &found, folder)?;
            tracing::info!("drew {}", path.display());
        }
    }
    let settings = Settings::default();
    let started = Instant::now();
    let mut evaluations =
        evaluate::average_precision(&truth, val, &found, &settings)?.unwrap_or_default();
    for evaluation in &mut evaluations {
        evaluation.find_intervals(&settings, runtime.seed)?;
    }
    let transform = batches::test_transform(frozen.frame()).describe();
    record = record
        .data(data_part(val, "val", val.len(), val_images, transform))
        .option("detections", found.len())
        .stage("evaluation", seconds)
        .stage("average precision", started.elapsed().as_secs_f64())
        .images_per_s(Some(val.len() as f64 / seconds.max(1e-9)));
    record = with_metrics(record, &evaluations, &detector, val);
    if !validated.is_empty() {
        record = record.option("validation", json!(validated));
    }
    for warning in &val.warnings {
        record = record.warning(warning.clone());
    }
    let record = record.build();
    let mut beside = ap::beside(&evaluations)?;
    if options.head.is_none() {
        beside.push(trained(&detector, recipe, val, &record)?);
        let last = last_point(recipe, train, &evaluations);
        beside.extend(output::curve(&record.model.name, &validated, last)?);
    }
    Ok(Finished {
        beside,
        ..Finished::record(record)
    })
}

/// The point of the curve at the end of training.
fn last_point(
    recipe: &Recipe,
    train: Option<&Arc<CocoSet>>,
    evaluations: &[Evaluation],
) -> Option<Validated> {
    let images = with_objects(train?).ok()?;
    let ap = |at: usize| evaluations.get(at).map(|e| 100.0 * e.stats[0]);
    Some(Validated {
        iteration: recipe.iterations(images.len()),
        box_ap: ap(0).unwrap_or(0.0),
        mask_ap: ap(1),
    })
}

/// The numbers; where nothing was detected, AP is 0.
fn with_metrics(
    mut record: RecordBuilder,
    evaluations: &[Evaluation],
    detector: &Detector,
    val: &CocoSet,
) -> RecordBuilder {
    for evaluation in evaluations {
        record = ap::with_evaluation(record, evaluation);
    }
    if evaluations.is_empty() {
        let nothing = Metric {
            n: Some(val.len() as u64),
            ..Metric::value(0.0)
        };
        record = record
            .warning("nothing was detected in any image")
            .metric(&BOX_AP, nothing);
        if detector.options().masks {
            record = record.metric(&MASK_AP, nothing);
        }
    }
    record
}

/// Train images with an object that is no crowd.
fn with_objects(train: &CocoSet) -> Result<Vec<usize>> {
    let has = |&index: &usize| train.instances(index).iter().any(|object| !object.crowd);
    let images: Vec<usize> = (0..train.len()).filter(has).collect();
    match images.is_empty() {
        true => Err(Error::file(
            &train.annotations_path,
            "has no objects to train on",
        )),
        false => Ok(images),
    }
}

/// Train objects without a mask.
fn without_mask(train: &CocoSet, images: &[usize]) -> usize {
    let objects = images.iter().flat_map(|&index| train.instances(index));
    objects.filter(|o| !o.crowd && o.shape.is_none()).count()
}

fn hash(set: &Arc<CocoSet>, show: bool) -> Result<String> {
    let all: Vec<usize> = (0..set.len()).collect();
    let images = contents::hash_all(set.as_ref(), &all, show)?;
    Ok(sha256(format!("{images} {}", set.annotations_sha256)))
}

fn state(key: &Value, model: &Resolved, iterations: u64, restart: bool) -> Result<StateFile> {
    let identity = sha256(key.to_string());
    let folder = home().join("cache/detection");
    let path = folder.join(format!("{}.safetensors", &identity[..32]));
    if restart && path.exists() {
        std::fs::remove_file(&path).map_err(|e| Error::file(&path, e))?;
    }
    Ok(StateFile {
        path,
        identity,
        model: model.name.clone(),
        iterations,
    })
}

fn data_part(
    set: &CocoSet,
    split: &str,
    samples: usize,
    fingerprint: String,
    transform: Value,
) -> DataPart {
    DataPart {
        name: set.name.clone(),
        path: set.images_path().display().to_string(),
        split: split.to_string(),
        samples: samples as u64,
        fingerprint,
        fingerprint_of: format!("{}, and of the annotation file", contents::FINGERPRINT_OF),
        skipped: 0,
        transform,
    }
}

/// `head.safetensors`
fn trained(
    detector: &Detector,
    recipe: &Recipe,
    val: &CocoSet,
    record: &crate::report::Record,
) -> Result<Beside> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let backbone = [
        ("model", record.model.name.clone()),
        ("weights", text(&record.model.sha256)),
        ("adaptor", text(&record.model.adaptor)),
    ];
    let tensors = detector.parameters().iter();
    let tensors = tensors
        .map(|(name, tensor)| (name.clone(), tensor.detach()))
        .collect();
    let metadata = head_file::metadata(recipe, detector.options(), val, backbone)?;
    Ok(Beside {
        ending: "head.safetensors".to_string(),
        contents: Contents::Tensors(tensors, metadata),
    })
}
