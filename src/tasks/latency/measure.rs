//! Warm-up, timing in turns, and the record of each case.

use super::Observer;
use super::case::Case;
use super::clock;
use super::memory;
use super::options::Options;
use super::rival::Rival;
use super::stages;
use crate::metrics::Definition;
use crate::metrics::latency::{self, DRIFT_LIMIT, Summary};
use crate::models::{Features, backbone};
use crate::report::{Metric, Record, RecordBuilder};
use crate::runtime::load::{DISTURBED, LoadWatch};
use crate::runtime::nvml::{self, GpuState};
use crate::runtime::shim::{DeviceGraph, OperatorRow, observe};
use crate::runtime::{Precision, Rank, Runtime, interrupt};
use crate::{Error, Result};
use serde_json::json;
use std::time::Instant;
use tch::{Device, Kind, Tensor};

/// No case is timed more often than this.
const MOST_ROUNDS: usize = 2_000;

/// A case that is ready to be timed.
struct Runner<'a> {
    rival: &'a Rival,
    case: Case,
    record: RecordBuilder,
    input: Tensor,
    graph: Option<DeviceGraph>,
    operators: Vec<OperatorRow>,
    peak_memory: Option<i64>,
    warnings: Vec<String>,
    /// Milliseconds per batch, in the order taken.
    samples: Vec<f64>,
}

/// Times `cases[i]` on `rivals[i]`, in turns, and returns one record per case.
pub fn run(
    rivals: &[Rival],
    cases: Vec<Case>,
    options: &Options,
    precision: Precision,
    matrix_peak: f64,
    observer: &mut dyn Observer,
) -> Result<Vec<Record>> {
    let mut runners = rivals
        .iter()
        .zip(cases)
        .map(|(rival, case)| Runner::prepare(rival, case, options, precision))
        .collect::<Result<Vec<_>>>()?;

    let budget = options.seconds * runners.len() as f64;
    let started = Instant::now();
    let watch = LoadWatch::start();
    let mut rounds = 0;
    while rounds < options.min_rounds
        || (rounds < MOST_ROUNDS && started.elapsed().as_secs_f64() < budget)
    {
        for runner in &mut runners {
            interrupt::check()?;
            let ms = runner.time_once(options.device)?;
            runner.samples.push(ms);
        }
        rounds += 1;
    }
    let load = Load {
        others: watch.others(),
        gpu: match options.device {
            Device::Cuda(index) => nvml::state(index),
            _ => None,
        },
    };

    if options.profile {
        for runner in &runners {
            observer.profile(&runner.case.label, &runner.operators);
        }
    }
    let baseline = runners
        .iter()
        .find(|r| r.rival.is_baseline)
        .map(Runner::ms_per_image);
    runners
        .into_iter()
        .map(|runner| runner.finish(options, matrix_peak, baseline.as_deref(), &load))
        .collect()
}

impl<'a> Runner<'a> {
    fn prepare(
        rival: &'a Rival,
        case: Case,
        options: &Options,
        precision: Precision,
    ) -> Result<Self> {
        let runtime = Runtime {
            device: options.device,
            precision,
            workers: 1,
            seed: options.seed,
            rank: Rank::SINGLE,
            tf32: options.tf32,
        };
        let mut runner = Runner {
            record: RecordBuilder::new("latency", rival.part.clone(), &runtime, case.resolution),
            input: Tensor::new(),
            rival,
            case,
            graph: None,
            operators: Vec::new(),
            peak_memory: None,
            warnings: Vec::new(),
            samples: Vec::new(),
        };
        if let Some((height, width)) = runner.case.asked {
            let (h, w) = runner.case.resolution;
            runner.warnings.push(format!(
                "{height}x{width} was asked for; {h}x{w} is the nearest size this network takes"
            ));
        }
        runner.fit_batch(options)?;
        runner.warm_up(options)?;
        // Only now: the first passes make the tables and lay out the weights for this resolution.
        runner.operators = observe(|| runner.forward())?.1;
        if let (true, Device::Cuda(index)) = (options.cuda_graph, options.device) {
            runner.graph = Some(DeviceGraph::capture(index, || runner.forward())?.0);
        }
        Ok(runner)
    }

    fn forward(&self) -> Result<Features> {
        let backbone = self.rival.model.backbone.as_ref();
        backbone::run_unread(backbone, &self.input, &self.rival.request)
    }

    /// The first pass: finds the batch that fits in memory, and the peak memory.
    fn fit_batch(&mut self, options: &Options) -> Result<()> {
        let (height, width) = self.case.resolution;
        loop {
            let shape = [self.case.batch, 3, height, width];
            let first = Tensor::f_rand(shape, (Kind::Float, options.device))
                .map_err(Error::from)
                .and_then(|input| {
                    self.input = input;
                    memory::peak_of(options.device, || self.forward().map(drop))
                });
            match first {
                Ok(peak) => {
                    self.peak_memory = peak;
                    return Ok(());
                }
                Err(Error::Torch(text)) if is_out_of_memory(&text) && self.case.batch > 1 => {
                    let smaller = self.case.batch / 2;
                    self.warnings.push(format!(
                        "batch {} does not fit in memory; measured with {smaller}",
                        self.case.batch
                    ));
                    self.case.batch = smaller;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn warm_up(&mut self, options: &Options) -> Result<()> {
        let started = Instant::now();
        let mut timings = Vec::new();
        while !latency::is_warm(&timings) {
            interrupt::check()?;
            if timings.len() > 1 && started.elapsed().as_secs_f64() > options.seconds {
                self.warnings.push(format!(
                    "warm-up ended by its limit of {} s, not because timings were stable",
                    options.seconds
                ));
                break;
            }
            timings.push(self.time_once(options.device)?);
        }
        Ok(())
    }

    fn time_once(&self, device: Device) -> Result<f64> {
        clock::time(device, || match &self.graph {
            Some(graph) => graph.replay(),
            None => self.forward().map(drop),
        })
    }

    fn ms_per_image(&self) -> Vec<f64> {
        let batch = self.case.batch as f64;
        self.samples.iter().map(|ms| ms / batch).collect()
    }

    fn finish(
        mut self,
        options: &Options,
        matrix_peak: f64,
        baseline: Option<&[f64]>,
        load: &Load,
    ) -> Result<Record> {
        let summary = latency::summarise(&self.samples)
            .ok_or_else(|| Error::usage("--rounds 0: nothing was timed"))?;
        let batch = self.case.batch as f64;
        let flops: f64 = self.operators.iter().map(|o| o.flops).sum();
        let attention: f64 = (self.operators.iter())
            .filter(|o| o.is_fused_attention())
            .map(|o| o.flops)
            .sum();
        let mut record = self
            .record
            .clone()
            .option("batch", self.case.batch)
            .option("cuda_graph", self.graph.is_some());
        if !self.rival.request.adaptors.is_empty() {
            record = record.option("adaptors", json!(self.rival.request.adaptors));
        }
        for (metric, value) in latency_metrics(&summary, self.case.batch) {
            record = record.metric(metric, value);
        }
        record = record
            .metric(
                &latency::THROUGHPUT,
                Metric::value(batch * 1e3 / summary.mean),
            )
            .metric(
                &latency::PARAMS,
                Metric::value(self.rival.part.parameters as f64),
            )
            .metric(&latency::GFLOPS, Metric::value(flops / batch / 1e9))
            .metric(
                &latency::GFLOPS_ATTENTION,
                Metric::value(attention / batch / 1e9),
            )
            .metric(
                &latency::GFLOPS_PER_S,
                Metric::value(flops / (summary.p50 * 1e-3) / 1e9),
            )
            .metric(
                &latency::MATRIX_PEAK_GFLOPS_PER_S,
                Metric::value(matrix_peak / 1e9),
            )
            .metric(&latency::OUTLIERS, Metric::value(summary.outliers as f64))
            .metric(
                &latency::MATRIX_PEAK_SHARE,
                Metric::value(100.0 * flops / (summary.p50 * 1e-3) / matrix_peak),
            );
        if let Some(bytes) = self.peak_memory {
            record = record.metric(&latency::PEAK_MEMORY_BYTES, Metric::value(bytes as f64));
        }
        if let Some(baseline) = baseline
            && let Some((value, low, high)) =
                latency::speedup(baseline, &self.ms_per_image(), options.seed)
        {
            let interval = Metric {
                value,
                low: Some(low),
                high: Some(high),
                n: Some(summary.n as u64),
            };
            record = record.metric(&latency::SPEEDUP, interval);
        }
        for (name, seconds) in stages::measure(self.rival, &self.case, options)? {
            record = record.stage(name, seconds);
        }
        if let Some(drift) = latency::drift(&self.samples)
            && drift > DRIFT_LIMIT
        {
            self.warnings.push(format!(
                "the last third of the timings is {:.0} % slower than the first: throttled or disturbed",
                100.0 * (drift - 1.0)
            ));
        }
        self.warnings.extend(load.warnings());
        record = record.load(load.others, load.gpu.clone());
        for warning in &self.warnings {
            record = record.warning(format!("{}: {warning}", self.case.label));
        }
        Ok(record
            .images_per_s(Some(batch * 1e3 / summary.mean))
            .build())
    }
}

/// Who else was at work during the timed rounds.
struct Load {
    /// Percent of the CPU.
    others: Option<f64>,
    gpu: Option<GpuState>,
}

impl Load {
    fn warnings(&self) -> Vec<String> {
        let cpu = self.others.filter(|&share| share > DISTURBED).map(|share| {
            format!(
                "other processes used {share:.0} % of the CPU during the timings, which are too slow by about as much or more: measure again on a quiet machine"
            )
        });
        let gpu = self.gpu.iter();
        let neighbours = gpu.clone().filter(|gpu| gpu.processes > 1).map(|gpu| {
            format!(
                "{} processes hold memory of this GPU: measure again when it is yours alone",
                gpu.processes
            )
        });
        let slowed = gpu.filter(|gpu| !gpu.slowed_by.is_empty()).map(|gpu| {
            format!(
                "the GPU ran at {} of {} MHz: {}",
                gpu.sm_clock_mhz,
                gpu.sm_clock_max_mhz,
                gpu.slowed_by.join(", ")
            )
        });
        cpu.into_iter().chain(neighbours).chain(slowed).collect()
    }
}

/// Latency is a word for batch 1; a larger batch has its time per batch under another name.
fn latency_metrics(s: &Summary, batch: i64) -> Vec<(&'static Definition, Metric)> {
    let metrics: [&'static Definition; 6] = if batch == 1 {
        [
            &latency::LATENCY_MS_P50,
            &latency::LATENCY_MS_P90,
            &latency::LATENCY_MS_P95,
            &latency::LATENCY_MS_P99,
            &latency::LATENCY_MS_MIN,
            &latency::LATENCY_MS_MEAN,
        ]
    } else {
        [
            &latency::BATCH_MS_P50,
            &latency::BATCH_MS_P90,
            &latency::BATCH_MS_P95,
            &latency::BATCH_MS_P99,
            &latency::BATCH_MS_MIN,
            &latency::BATCH_MS_MEAN,
        ]
    };
    let values = [s.p50, s.p90, s.p95, s.p99, s.min, s.mean];
    let metric = |value| Metric {
        n: Some(s.n as u64),
        ..Metric::value(value)
    };
    metrics.into_iter().zip(values.map(metric)).collect()
}

/// libtorch's wording on the CPU (`can't allocate memory`) and on CUDA (`out of memory`).
fn is_out_of_memory(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.contains("out of memory") || text.contains("allocate memory")
}
