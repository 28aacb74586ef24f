//! `radio-eval coco`: what is measured on data sets in COCO's format, one file per task.

mod ap;
mod detect;
mod sam_swap;

use super::Outcome;
use super::common::{ModelArgs, OutputArgs, RuntimeArgs};
use super::numbers;
use crate::data::coco::{self, CocoSet, Split};
use crate::{Error, Result};
use ap::ApArgs;
use clap::{Args, ValueEnum};
use detect::DetectArgs;
use sam_swap::SamSwapArgs;
use std::path::PathBuf;

/// COCO: SAM's decoder on a student's features, detectors on frozen features, AP of a file
#[derive(Debug, Args)]
// The average precision of a file needs no model; `CocoArgs::model` asks for it where it is needed.
#[command(mut_arg("models", |arg| arg.required(false)))]
pub struct CocoArgs {
    /// What to measure [default: sam-swap, where the model has a `sam` adaptor or is a SAM]
    #[arg(long, value_enum)]
    task: Option<Task>,
    #[command(flatten)]
    model: Option<ModelArgs>,
    #[command(flatten)]
    data: DataArgs,
    /// Features of this adaptor [default: sam for sam-swap, the backbone's own for detect]
    #[arg(long)]
    adaptor: Option<String>,
    /// Side of the square input in pixels [sam-swap: with --grid resize, default: the nearest to
    /// SAM's 1024 that the model takes; detect: the detector's input, default: the recipe's]
    #[arg(long, value_name = "R", value_parser = numbers::side())]
    resolution: Option<i64>,
    #[command(flatten)]
    sam_swap: Option<SamSwapArgs>,
    #[command(flatten)]
    ap: Option<ApArgs>,
    #[command(flatten)]
    detect: Option<DetectArgs>,
    /// Images per forward pass [default: 4]
    #[arg(long, value_name = "N", value_parser = numbers::count(numbers::MAX_BATCH))]
    batch_size: Option<usize>,
    /// Use N images, spread evenly over the split
    #[arg(long, value_name = "N", value_parser = numbers::count(usize::MAX >> 1))]
    limit: Option<usize>,
    /// Leave out up to N unreadable images instead of failing
    #[arg(long, value_name = "N", default_value_t = 0)]
    skip_bad: usize,
    #[command(flatten)]
    runtime: RuntimeArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// One task: a file beside this one, one line here and one in [`run`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Task {
    /// IoU of SAM's masks, decoded from the model's features
    SamSwap,
    /// Average precision of the detections in a file
    Ap,
    /// Average precision of a detector trained on the model's frozen features
    Detect,
}

/// Which images and annotations.
#[derive(Debug, Args)]
struct DataArgs {
    /// Data set name (see `radio-eval datasets`), or a folder, a tar file or an annotation file in
    /// COCO's format [default: coco-2017]
    #[arg(long)]
    data: Option<String>,
    /// Folder or tar of the pictures, when they are not beside the annotations
    #[arg(long, value_name = "PATH")]
    images: Option<PathBuf>,
    /// The annotation file, when it is not in the data set's folder
    #[arg(long, value_name = "FILE")]
    annotations: Option<PathBuf>,
}

impl DataArgs {
    fn open(&self, split: Split) -> Result<CocoSet> {
        let options = coco::OpenOptions {
            images: self.images.clone(),
            annotations: self.annotations.clone(),
        };
        coco::open(self.data.as_deref().unwrap_or("coco-2017"), split, &options)
    }
}

impl CocoArgs {
    /// Refuses flags of another task, which would be passed over in silence.
    fn check(&self, task: Task) -> Result<()> {
        let sam_swap = task == Task::SamSwap;
        let (ap, detect) = (task == Task::Ap, task == Task::Detect);
        let data = &self.data;
        let has_data = [
            data.data.is_some(),
            data.images.is_some(),
            data.annotations.is_some(),
        ];
        let refused = [
            (
                self.sam_swap.is_some() && !sam_swap,
                "flags of the SAM swap go",
                "sam-swap",
            ),
            (
                self.ap.is_some() && !ap,
                "--ground-truth, --results and their flags go",
                "ap",
            ),
            (
                self.detect.is_some() && !detect,
                "flags of detection heads go",
                "detect",
            ),
            (
                self.limit.is_some() && !sam_swap,
                "--limit goes",
                "sam-swap",
            ),
            (
                self.skip_bad > 0 && !sam_swap,
                "--skip-bad goes",
                "sam-swap",
            ),
            (
                self.model.is_some() && ap,
                "--model and its flags go",
                "sam-swap or detect",
            ),
            (
                has_data.contains(&true) && ap,
                "--data and its flags go",
                "sam-swap or detect",
            ),
            (
                self.adaptor.is_some() && ap,
                "--adaptor goes",
                "sam-swap or detect",
            ),
            (
                self.resolution.is_some() && ap,
                "--resolution goes",
                "sam-swap or detect",
            ),
            (
                self.batch_size.is_some() && ap,
                "--batch-size goes",
                "sam-swap or detect",
            ),
        ];
        match refused.iter().find(|(is_wrong, ..)| *is_wrong) {
            Some((_, what, tasks)) => Err(Error::usage(format!("{what} with --task {tasks}"))),
            None => Ok(()),
        }
    }

    fn model(&self) -> Result<&ModelArgs> {
        self.model.as_ref().ok_or_else(|| {
            Error::usage(
                "this task measures a model; name it with --model (all: radio-eval models)",
            )
        })
    }
}

pub fn run(args: &CocoArgs, progress: bool) -> anyhow::Result<Outcome> {
    let task = args.task.unwrap_or(Task::SamSwap);
    args.check(task)?;
    match task {
        Task::SamSwap => sam_swap::run(args, progress),
        Task::Ap => ap::run(args),
        Task::Detect => detect::run(args, progress),
    }
}
