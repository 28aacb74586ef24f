//! One file per subcommand: flags become the options of a task; no tensor code here.

pub mod ade20k;
pub mod cache;
pub mod choices;
pub mod coco;
pub mod common;
pub mod compare;
pub mod completions;
pub mod datasets;
pub mod distill;
pub mod distill_case;
pub mod features;
pub mod fetch;
pub mod imagenet;
pub mod latency;
pub mod latency_comparison;
pub mod latency_sweep;
pub mod logging;
pub mod man;
pub mod models;
pub mod numbers;
pub mod recipe;
pub mod report;
pub mod resolution;
pub mod results;
pub mod run;
pub mod segment_text;
pub mod tables;
pub mod verify;
pub mod visualize;
pub mod vlm_export;

use crate::{Error, runtime};
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Evaluate vision foundation models: RADIO, E-RADIO and their teachers, on one set of benchmarks.
///
/// Exit codes: 0 done; 1 error; 2 wrong usage; 3 done, but a checked value is out of tolerance;
/// 130 interrupted (state is kept; the same command goes on).
#[derive(Debug, Parser)]
#[command(name = "radio-eval", version)]
pub struct Cli {
    /// More messages on stderr (-v: progress of stages, -vv: everything)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Warnings and errors only; no progress bars
    #[arg(short, long, global = true)]
    pub quiet: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Imagenet(Box<imagenet::ImagenetArgs>),
    Models(models::ModelsArgs),
    Datasets(datasets::DatasetsArgs),
    Latency(latency::LatencyArgs),
    Features(features::FeaturesArgs),
    Fetch(fetch::FetchArgs),
    Verify(verify::VerifyArgs),
    Cache(cache::CacheArgs),
    Ade20k(Box<ade20k::Ade20kArgs>),
    SegmentText(Box<segment_text::SegmentTextArgs>),
    Coco(Box<coco::CocoArgs>),
    VlmExport(Box<vlm_export::VlmExportArgs>),
    Run(run::RunArgs),
    Report(report::ReportArgs),
    Compare(compare::CompareArgs),
    Visualize(Box<visualize::VisualizeArgs>),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
    Distill(Box<distill::DistillArgs>),
    DistillCase(distill_case::DistillCaseArgs),
}

/// How a command that did its work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// A checked value is out of tolerance (exit code 3).
    OutOfTolerance,
}

/// Runs the chosen subcommand.
pub fn run(cli: Cli) -> anyhow::Result<Outcome> {
    runtime::interrupt::install()?;
    let progress = logging::progress_wanted(cli.quiet);
    match cli.command {
        Command::Imagenet(args) => imagenet::run(&args, progress),
        Command::Models(args) => models::run(&args),
        Command::Datasets(args) => datasets::run(&args),
        Command::Latency(args) => latency::run(args),
        Command::Features(args) => features::run(&args, progress),
        Command::Fetch(args) => fetch::run(&args, progress),
        Command::Verify(args) => verify::run(&args),
        Command::Cache(args) => cache::run(&args),
        Command::Ade20k(args) => ade20k::run(&args, progress),
        Command::SegmentText(args) => segment_text::run(&args, progress),
        Command::Compare(args) => compare::run(&args),
        Command::Visualize(args) => visualize::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Coco(args) => coco::run(&args, progress),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
        Command::VlmExport(args) => vlm_export::run(&args, progress, cli.quiet),
        Command::Distill(args) => distill::run(&args, progress),
        Command::DistillCase(args) => distill_case::run(&args),
    }
}

/// Prints an error and maps the outcome to the process's exit code.
pub fn exit_code(outcome: anyhow::Result<Outcome>) -> ExitCode {
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::OutOfTolerance) => ExitCode::from(3),
        Err(error) => {
            // A reader that closed the pipe (`radio-eval models | head`) is not a failure.
            if let Some(io) = error.downcast_ref::<std::io::Error>()
                && io.kind() == std::io::ErrorKind::BrokenPipe
            {
                return ExitCode::SUCCESS;
            }
            eprintln!("error: {error:#}");
            match error.downcast_ref::<Error>() {
                Some(Error::Usage(_)) => ExitCode::from(2),
                Some(Error::Interrupted) => ExitCode::from(130),
                _ => ExitCode::FAILURE,
            }
        }
    }
}
