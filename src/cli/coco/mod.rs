//! `radio-eval coco`: what is measured on data sets in COCO's format, one file per task.

mod sam_swap;

use super::Outcome;
use super::common::{ModelArgs, OutputArgs, RuntimeArgs};
use super::numbers;
use crate::data::coco::{self, CocoSet, Split};
use crate::{Error, Result};
use clap::{Args, ValueEnum};
use sam_swap::SamSwapArgs;
use std::path::PathBuf;

/// COCO: SAM's mask decoder on a student's features
#[derive(Debug, Args)]
pub struct CocoArgs {
    /// What to measure [default: sam-swap, where the model has a `sam` adaptor or is a SAM]
    #[arg(long, value_enum)]
    task: Option<Task>,
    #[command(flatten)]
    model: Option<ModelArgs>,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    sam_swap: Option<SamSwapArgs>,
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
    fn model(&self) -> Result<&ModelArgs> {
        self.model.as_ref().ok_or_else(|| {
            Error::usage(
                "this task measures a model; name it with --model (all: radio-eval models)",
            )
        })
    }
}

pub fn run(args: &CocoArgs, progress: bool) -> anyhow::Result<Outcome> {
    match args.task.unwrap_or(Task::SamSwap) {
        Task::SamSwap => sam_swap::run(args, progress),
    }
}
