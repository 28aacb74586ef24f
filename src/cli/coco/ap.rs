//! `radio-eval coco --task ap`.

use super::CocoArgs;
use crate::cli::Outcome;
use crate::cli::results::Results;
use crate::metrics::detection::HEADLINE;
use crate::tasks::detection::ap::{self, IouKind, Options, Settings};
use crate::{Error, Result};
use clap::Args;
use std::path::PathBuf;

/// Average precision of a file of detections.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Average precision of a file (--task ap)")]
pub struct ApArgs {
    /// COCO instances file that the detections are compared with
    #[arg(long, value_name = "FILE")]
    ground_truth: Option<PathBuf>,
    /// COCO results file: a list of detections
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
    /// What the detections are called in tables [default: the file's name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// What overlaps are of; both with a comma [default: boxes, and masks where both files have
    /// them]
    #[arg(long, value_enum, value_delimiter = ',')]
    iou_type: Vec<IouKind>,
    /// IoU thresholds that AP is the mean over, rising [default: 0.5, 0.55 ... 0.95]
    #[arg(long, value_name = "T,T,...", value_delimiter = ',')]
    iou: Vec<f64>,
    /// Most detections per image and category, for AR1, AR10, AR100; the last also for AP
    /// [default: 1,10,100]
    #[arg(long, value_name = "A,B,C", value_delimiter = ',')]
    max_dets: Vec<usize>,
    /// No bootstrap intervals over images
    #[arg(long)]
    no_intervals: bool,
}

impl ApArgs {
    fn options(&self) -> Result<Options> {
        let need = |path: &Option<PathBuf>, flag: &str| {
            path.clone()
                .ok_or_else(|| Error::usage(format!("--task ap needs {flag} FILE")))
        };
        let mut settings = Settings {
            intervals: !self.no_intervals,
            ..Settings::default()
        };
        if !self.iou.is_empty() {
            settings.thresholds = self.iou.clone();
        }
        if !self.max_dets.is_empty() {
            settings.max_dets = self.max_dets.as_slice().try_into().map_err(|_| {
                Error::usage("--max-dets takes three numbers that rise, like 1,10,100")
            })?;
        }
        settings.check()?;
        Ok(Options {
            ground_truth: need(&self.ground_truth, "--ground-truth")?,
            results: need(&self.results, "--results")?,
            name: self.name.clone(),
            kinds: self.iou_type.clone(),
            settings,
        })
    }
}

pub fn run(args: &CocoArgs) -> anyhow::Result<Outcome> {
    let runtime = args.runtime.runtime()?;
    let options = args.ap.clone().unwrap_or_default().options()?;
    let mut results = Results::begin(
        "Average precision of detections",
        &args.output.out,
        &args.output.tables,
    )?
    .showing(HEADLINE);
    let outcome = ap::run(&options, &runtime).and_then(|finished| results.add(finished));
    results.end(outcome)
}
