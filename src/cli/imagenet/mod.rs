//! `radio-eval imagenet`: classification with frozen features, on ImageNet or any data set of
//! images with one class each.

mod details;
mod resize_mode;

use super::common::{ModelArgs, OutputArgs, RuntimeArgs};
use super::resolution::Resolution;
use super::results::{Results, writable_file};
use super::{Outcome, numbers};
use crate::config::DatasetLayout;
use crate::data::classification::{self, Classification, OpenOptions};
use crate::data::transform::Transform;
use crate::metrics::accuracy;
use crate::models::{ModelSpec, Resolved, resolve, zoo};
use crate::report::plot::tokens;
use crate::report::{ModelPart, Record};
use crate::runtime::Runtime;
use crate::runtime::limits::check_batch;
use crate::tasks::Finished;
use crate::tasks::classify::{self, Job, Method};
use crate::tasks::extract::Extractor;
use crate::tasks::knn::{self, Knn};
use crate::tasks::zero_shot::{self, ZeroShot};
use crate::{Error, Result};
use clap::{Args, ValueEnum};
use details::Details;
use resize_mode::ResizeMode;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Classify images with frozen features: kNN on the train split, zero-shot by class names.
#[derive(Debug, Args)]
pub struct ImagenetArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Name from `radio-eval datasets`, or a folder, tar file, shard pattern or parquet file
    #[arg(long, default_value = "imagenet-1k")]
    data: String,
    /// How the data lies on disk, where it is not recognised
    #[arg(long)]
    layout: Option<DatasetLayout>,
    /// Train images, when they are not beside the rest
    #[arg(long, value_name = "PATH")]
    train_data: Option<String>,
    /// Val images, when they are not beside the rest
    #[arg(long, value_name = "PATH")]
    val_data: Option<String>,
    /// Classes of a flat split: a table of images and classes (CSV, TSV, or lines `FILE CLASS`)
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,
    /// Column of the encoded images in parquet files, or of the image names in a mapping
    #[arg(long, value_name = "NAME")]
    image_column: Option<String>,
    /// Column of the classes in parquet files or in a mapping
    #[arg(long, value_name = "NAME")]
    label_column: Option<String>,
    /// Numbers as classes are places in the order of the other split's classes (ImageNet-V2's
    /// folders, caffe's val.txt), even where they do not cover it
    #[arg(long)]
    labels_by_index: bool,
    /// What to measure
    #[arg(long, value_enum, default_value = "knn", value_delimiter = ',')]
    task: Vec<Task>,
    /// Neighbours that vote; several with commas, from one search
    #[arg(long, default_value = "20", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..))]
    k: Vec<u32>,
    /// Temperatures of the votes exp(similarity / T); several with commas
    #[arg(long, default_value = "0.07", value_delimiter = ',', value_parser = numbers::positive)]
    temperature: Vec<f64>,
    /// Use this adaptor's summary instead of the backbone's (zero-shot: instead of the first that
    /// imitates an image-text teacher)
    #[arg(long)]
    adaptor: Option<String>,
    /// Zero-shot prompts: openai (80), simple (7), base (1), or a file with one template a line, `{}`
    /// standing for the name
    #[arg(long, default_value = "openai", value_name = "SET|FILE")]
    templates: String,
    /// Classes in index order, `id<TAB>name[, synonym ...]` a line; prompts use the first name
    /// (default: the data set's own list, or open_clip's names of ImageNet)
    #[arg(long, value_name = "FILE")]
    classnames: Option<PathBuf>,
    /// Weights with the text tower for zero-shot (default: the model's own, or those of the teacher
    /// that the adaptor imitates)
    #[arg(long, value_name = "PATH")]
    text_weights: Option<PathBuf>,
    /// Side of the square, or HxW, in pixels (default: what the model prefers)
    #[arg(long, value_name = "R|HxW")]
    resolution: Option<Resolution>,
    /// How an image comes to that size
    #[arg(long, value_enum, default_value = "cover")]
    resize_mode: ResizeMode,
    /// Round resized sides to multiples of N (default: the model's patch; where the aspect ratio
    /// is kept, its resolution step)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=numbers::MAX_SIDE))]
    resize_multiple: Option<u32>,
    /// Use N val images, spread evenly over the split
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Use the first N train images of each class
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    train_limit: Option<u32>,
    /// Measure kNN although val has images of classes that train has not (a record says so)
    #[arg(long)]
    unseen_classes: bool,
    /// Images per forward pass
    #[arg(long, default_value = "32", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch_size: u32,
    /// Leave out up to N unreadable images (of each split) instead of failing
    #[arg(long, value_name = "N", default_value_t = 0)]
    skip_bad: usize,
    /// Write the accuracy of every class
    #[arg(long, value_name = "FILE")]
    per_class: Option<PathBuf>,
    /// Write the prediction for every val image
    #[arg(long, value_name = "FILE")]
    predictions: Option<PathBuf>,
    /// Write beside each record which images were classified rightly, for `radio-eval compare`
    #[arg(long)]
    samples: bool,
    #[command(flatten)]
    runtime: RuntimeArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// One way of classifying: one module in `tasks`, one line here and one in [`prepare`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Task {
    /// Votes of the k nearest train images
    Knn,
    /// The class whose prompts lie nearest in the joint space of images and text
    ZeroShot,
    /// Both; zero-shot only where the model has such a space
    All,
}

/// The methods of a task, checked: nothing that can be known before the first image is read is
/// found out after it.
fn prepare(
    task: Task,
    job: &Job,
    args: &ImagenetArgs,
    zero_shot: &zero_shot::Options,
) -> Result<Vec<Box<dyn Method>>> {
    match task {
        Task::Knn => {
            let options = knn::Options {
                k: args.k.iter().map(|&k| k as usize).collect(),
                temperatures: args.temperature.clone(),
                unseen_classes: args.unseen_classes,
            };
            Ok(vec![Box::new(Knn::prepare(job, &options)?)])
        }
        Task::ZeroShot => Ok(vec![Box::new(ZeroShot::prepare(job, zero_shot)?)]),
        Task::All => {
            let mut methods = prepare(Task::Knn, job, args, zero_shot)?;
            match zero_shot::adaptor(job.extractor.model, job.adaptor) {
                Ok(_) => methods.extend(prepare(Task::ZeroShot, job, args, zero_shot)?),
                Err(reason) => tracing::warn!("zero-shot is left out: {reason}"),
            }
            Ok(methods)
        }
    }
}

/// Runs every task on every model. Records are written after each model, so that a failure in a
/// later one loses nothing; the table of what was finished is printed in any case.
pub fn run(args: &ImagenetArgs, progress: bool) -> anyhow::Result<Outcome> {
    let runtime = args.runtime.runtime()?;
    let specs = args.model.specs()?;
    check_names(&specs)?;
    for path in args.per_class.iter().chain(&args.predictions) {
        writable_file(path)?;
    }
    let mut results = Results::begin("Classification", &args.output.out, &args.output.tables)?;
    let data = classification::open_with(
        &args.data,
        &OpenOptions {
            layout: args.layout,
            train: args.train_data.clone(),
            val: args.val_data.clone(),
            mapping: args.mapping.clone(),
            classes: args.classnames.clone(),
            labels_by_index: args.labels_by_index,
            image_column: args.image_column.clone(),
            label_column: args.label_column.clone(),
        },
    )
    .map_err(|e| args.model.with_missing_weights(e))?;
    results.set_title(format!("Classification on {}", data.name));
    results.already_warned(&data.warnings);
    let zero_shot = zero_shot::Options {
        templates: zero_shot::Templates::open(&args.templates)?,
        names_given: args.classnames.is_some(),
        text_weights: args.text_weights.clone(),
    };
    let mut details = Details::new(args.per_class.as_deref(), args.predictions.as_deref());
    let measurement = Measurement {
        args,
        data: &data,
        zero_shot: &zero_shot,
        runtime: &runtime,
        progress,
    };
    let outcome = specs.iter().try_for_each(|spec| {
        measurement.run(spec, &mut |mut finished| {
            details.add(&finished, &data)?;
            if args.samples {
                finished.beside.extend(details::samples(&finished, &data)?);
            }
            results.add(finished)
        })
    });
    let outcome = outcome.and_then(|()| match args.model.tokens.len() {
        0 | 1 => Ok(()),
        _ => plot_tokens(&results, &args.output.out),
    });
    results.end(outcome)
}

/// `knn_top1-tokens.svg` (and zero-shot's) beside the records of several code lengths.
fn plot_tokens(results: &Results, folder: &Path) -> Result<()> {
    for metric in [&accuracy::KNN_TOP1, &accuracy::ZERO_SHOT_TOP1] {
        let measured = |record: &Record| record.metrics.contains_key(metric.name);
        if results.records().iter().any(measured) {
            let path = folder.join(format!("{}-tokens.svg", metric.name));
            let plot = tokens::draw(results.records(), metric)?;
            for sentence in plot.save(&path)? {
                tracing::warn!("{sentence}");
            }
            tracing::info!("wrote {}", path.display());
        }
    }
    Ok(())
}

/// A misspelt last model should not be found out after hours of work on the first.
fn check_names(specs: &[ModelSpec]) -> Result<()> {
    for spec in specs {
        if !Path::new(&spec.model).exists() {
            zoo::find(&spec.model)?;
        }
    }
    Ok(())
}

/// What every model is measured with.
struct Measurement<'a> {
    args: &'a ImagenetArgs,
    data: &'a Classification,
    zero_shot: &'a zero_shot::Options,
    runtime: &'a Runtime,
    progress: bool,
}

impl Measurement<'_> {
    /// Loads a model, and measures it with each of its code lengths.
    fn run(
        &self,
        spec: &ModelSpec,
        finished: &mut dyn FnMut(Finished) -> Result<()>,
    ) -> Result<()> {
        let started = Instant::now();
        let asked = self.args.runtime.precision;
        let options = (self.args.model).build_options(self.runtime.device, asked);
        let mut model = resolve(spec, &options)?;
        // Loaded once, which the first record says.
        let mut load_s = started.elapsed().as_secs_f64();
        let args = &self.args.model;
        args.for_each_length(&mut model, |model| {
            self.measure(model, std::mem::take(&mut load_s), finished)
        })
    }

    fn measure(
        &self,
        model: &Resolved,
        load_s: f64,
        finished: &mut dyn FnMut(Finished) -> Result<()>,
    ) -> Result<()> {
        let args = self.args;
        let info = model.backbone.info();
        let runtime = &self.runtime.running_in(info.precision);
        let part = ModelPart::for_model(model)?;

        let wanted = args.resolution.unwrap_or(Resolution::from(info.preferred));
        let mode = args.resize_mode.mode(wanted);
        let keeps_aspect = args.resize_mode.keeps_aspect();
        let multiple = match args.resize_multiple {
            Some(n) => i64::from(n),
            None if keeps_aspect => info.step,
            None => info.patch,
        };
        let (height, width) = (wanted.height, wanted.width);
        check_batch(args.batch_size as usize, height, width)?;
        if !keeps_aspect {
            info.check_resolution(height, width)?;
        } else if multiple % info.step != 0 || info.fixed.is_some() {
            return Err(Error::usage(format!(
                "--resize-mode {} gives sizes in multiples of {multiple}, which {} does not take; use --resize-multiple {}, or --resize-mode cover",
                args.resize_mode.name(),
                info.architecture,
                info.step
            )));
        }
        let job = Job {
            data: self.data,
            extractor: Extractor {
                model,
                part: &part,
                transform: Transform::new(mode, multiple as usize),
                runtime,
                batch_size: args.batch_size as usize,
                skip_bad: args.skip_bad,
                padding: [0.0; 3],
                progress: self.progress,
            },
            adaptor: args.adaptor.as_deref(),
            resolution: (height, width),
            limit: args.limit.map(|n| n as usize),
            train_limit: args.train_limit.map(|n| n as usize),
            load_s,
        };
        let mut methods = Vec::new();
        for &task in &args.task {
            methods.extend(prepare(task, &job, args, self.zero_shot)?);
        }
        classify::run(&job, &methods, finished)
    }
}
