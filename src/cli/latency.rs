//! `radio-eval latency`: how fast models are, side by side.

use super::Outcome;
use super::common;
use super::latency_comparison::{self as comparison, Machine};
use super::latency_sweep::LatencyConfig;
use super::numbers::MAX_THREADS;
use super::resolution::Resolution;
use super::results::Results;
use super::tables::TableArgs;
use crate::metrics::{self, Definition, latency as metric};
use crate::models::{ModelSpec, zoo};
use crate::report::Record;
use crate::report::plot::{self, accuracy_throughput};
use crate::runtime::shim::OperatorRow;
use crate::runtime::{Precision, Rank, device};
use crate::tasks::Finished;
use crate::tasks::latency::{self, Observer, Options};
use crate::{Error, Result};
use clap::Args;
use std::path::{Path, PathBuf};

/// Metrics of the table for people; programs get them all.
const SHOWN: &[&Definition] = &[
    &metric::LATENCY_MS_P50,
    &metric::LATENCY_MS_P90,
    &metric::LATENCY_MS_P99,
    &metric::BATCH_MS_P50,
    &metric::THROUGHPUT,
    &metric::SPEEDUP,
    &metric::GFLOPS,
    &metric::MATRIX_PEAK_SHARE,
    &metric::PEAK_MEMORY_BYTES,
];

/// Measure latency and throughput, models in turns; random weights unless --weights or a path
///
/// Without a model: the paper's comparison, E-RADIO and RADIO beside their teachers at one
/// resolution, as much of it as this machine's memory and two minutes allow.
#[derive(Debug, Args)]
pub struct LatencyArgs {
    /// Read the sweep from a TOML file (flags override it); also writes the table in every format and
    /// plots into the output folder
    #[arg(long)]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub sweep: LatencyConfig,
    /// Weights of the one --model, instead of random ones
    #[arg(long)]
    pub weights: Option<PathBuf>,
    /// Seed of the random weights
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub random_weights: u64,
    /// Folder of records whose accuracy is plotted against throughput; published values are used,
    /// and marked, where it has none
    #[arg(long)]
    pub accuracy_records: Option<PathBuf>,
    /// Metric of the accuracy plot
    #[arg(long, default_value = "knn_top1")]
    pub accuracy: String,
    /// Write the table in every format, and plots, into the output folder
    #[arg(long)]
    pub plots: bool,
    /// Print the operators of one pass, slowest first, on stderr
    #[arg(long)]
    pub profile: bool,
    /// Replay captured CUDA graphs instead of launching operators
    #[arg(long)]
    pub cuda_graph: bool,
    /// Let fp32 matrix products and convolutions on CUDA use TF32: faster, 10 bits of mantissa
    #[arg(long)]
    pub tf32: bool,
    #[command(flatten)]
    pub tables: TableArgs,
}

pub fn run(args: LatencyArgs) -> anyhow::Result<Outcome> {
    let mut sweep = match &args.config {
        Some(path) => args.sweep.clone().or(LatencyConfig::read(path)?),
        None => args.sweep.clone(),
    };
    let mut chosen = None;
    if sweep.models.is_empty() && args.weights.is_none() {
        let device = device::parse_device(sweep.device.as_deref().unwrap_or("auto"))?;
        let precision = sweep.dtype.first().copied();
        let precision = precision.unwrap_or_else(|| comparison::precision(device));
        let choice = comparison::choose(Machine::this(device, precision));
        sweep = choice.sweep(sweep, device);
        chosen = Some(choice);
    }
    if let Some(threads) = sweep.threads.filter(|n| !(1..=MAX_THREADS).contains(n)) {
        return Err(Error::usage(format!("--threads {threads}: use 1 to {MAX_THREADS}")).into());
    }
    common::set_threads(sweep.threads, Rank::SINGLE);
    if metrics::find(&args.accuracy).is_none() {
        let known: Vec<&str> = metrics::declared().map(|m| m.name).collect();
        return Err(Error::usage(format!(
            "--accuracy {}: no such metric; the metrics are {}",
            args.accuracy,
            known.join(", ")
        ))
        .into());
    }
    let options = options(&args, &sweep)?;
    let out = sweep.out.unwrap_or_else(|| "results/latency".into());
    let mut results = Results::begin("Latency and throughput", &out, &args.tables)?.showing(SHOWN);
    let measured = latency::run(&options, &mut Writer(&mut results));
    let measured = measured.and_then(|()| {
        if let Some(choice) = &chosen {
            results.add_notes(comparison::summary(results.records()));
            results.add_notes(choice.note());
        }
        if args.plots || args.config.is_some() {
            results.write_tables()?;
            draw(&out, &args, results.records())?;
        }
        Ok(())
    });
    results.end(measured)
}

fn options(args: &LatencyArgs, sweep: &LatencyConfig) -> Result<Options> {
    if sweep.models.is_empty() {
        return Err(Error::usage(
            "name at least one model with --model, or a --config that does",
        ));
    }
    if args.weights.is_some() && sweep.models.len() > 1 {
        return Err(Error::usage("--weights goes with one --model only"));
    }
    let spec = |model: &String| ModelSpec {
        model: model.clone(),
        weights: args.weights.clone(),
        random_weights: (args.weights.is_none() && zoo::find(model).is_ok())
            .then_some(args.random_weights),
    };
    let or = |own: &[Precision], default| match own {
        [] => vec![default],
        own => own.to_vec(),
    };
    let resolution = |text: &String| match text.parse::<Resolution>() {
        Ok(resolution) => Ok(resolution.size()),
        Err(reason) => Err(Error::usage(reason)),
    };
    let windows = sweep
        .window
        .iter()
        .map(|w| common::parse_window(w).map_err(|e| Error::usage(format!("window `{w}`: {e}"))))
        .collect::<Result<Vec<_>>>()?;
    Ok(Options {
        models: sweep.models.iter().map(spec).collect(),
        resolutions: sweep
            .resolution
            .iter()
            .map(resolution)
            .collect::<Result<_>>()?,
        batches: if sweep.batch.is_empty() {
            vec![1]
        } else {
            sweep.batch.clone()
        },
        precisions: or(&sweep.dtype, Precision::Fp32),
        windows,
        vitdet_windows: sweep.vitdet_window.clone(),
        tokens: sweep.tokens.clone(),
        adaptors: sweep.adaptors.clone(),
        device: device::open(
            device::parse_device(sweep.device.as_deref().unwrap_or("auto"))?,
            args.tf32,
        )?,
        seed: args.random_weights,
        min_rounds: sweep.rounds.unwrap_or(7),
        seconds: sweep.seconds.unwrap_or(5.0),
        baseline: sweep.baseline.clone(),
        cuda_graph: args.cuda_graph,
        tf32: args.tf32,
        profile: args.profile,
    })
}

fn draw(folder: &Path, args: &LatencyArgs, records: &[Record]) -> Result<()> {
    let accuracies = match &args.accuracy_records {
        Some(from) => Record::read_folder(from)?,
        None => Vec::new(),
    };
    let plots = [
        ("latency.svg", plot::latency::draw(records)?),
        (
            "accuracy-throughput.svg",
            accuracy_throughput::draw(records, &accuracies, &args.accuracy)?,
        ),
    ];
    for (name, plot) in plots {
        for sentence in plot.save(&folder.join(name))? {
            tracing::warn!("{sentence}");
        }
    }
    Ok(())
}

/// Logs stages and writes each record as soon as it is there: a later failure loses nothing.
struct Writer<'a, 'b>(&'a mut Results<'b>);

impl Observer for Writer<'_, '_> {
    fn stage(&mut self, text: &str) {
        tracing::info!("{text}");
    }

    fn profile(&mut self, label: &str, operators: &[OperatorRow]) {
        let total: f64 = operators.iter().map(|o| o.self_seconds).sum();
        eprintln!(
            "{label}: operators of one pass, {:.2} ms in all",
            total * 1e3
        );
        for row in operators.iter().take(20) {
            eprintln!(
                "{:>9.3} ms {:>5.1} % {:>6} calls {:>10.3} GFLOP  {}",
                row.self_seconds * 1e3,
                100.0 * row.self_seconds / total,
                row.calls,
                row.flops / 1e9,
                row.name
            );
        }
    }

    fn finished(&mut self, finished: Finished) -> Result<()> {
        self.0.add(finished)
    }
}
