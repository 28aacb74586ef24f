//! Fills in what every record says the same way, so that a task adds only what is its own.

use super::record::{DataPart, Metric, ModelPart, Record, SCHEMA_VERSION, Timings};
use super::{environment, published};
use crate::Result;
use crate::metrics::{Benchmark, Definition};
use crate::models::Resolved;
use crate::runtime::Runtime;
use crate::runtime::load::LoadWatch;
use crate::runtime::nvml::GpuState;
use indexmap::IndexMap;
use serde_json::{Map, Value};
use std::time::Instant;

impl ModelPart {
    /// What a record says about a loaded model; hashes the weight files.
    pub fn for_model(model: &Resolved) -> Result<Self> {
        let info = model.backbone.info();
        Ok(ModelPart {
            name: model.name.clone(),
            architecture: info.architecture.clone(),
            weights: model.checkpoint.path.display().to_string(),
            sha256: model.checkpoint.sha256()?,
            random_weights: model.checkpoint.tensors().is_none()
                && model.checkpoint.files.is_empty(),
            parameters: info.parameters,
            adaptor: None,
            settings: {
                let mut settings = info.settings.clone();
                settings.extend(model.checkpoint.notes.clone());
                settings
            },
            entry: model.entry,
        })
    }
}

/// How CUDA computes, among the options of every record.
fn arithmetic(runtime: &Runtime) -> Map<String, Value> {
    match runtime.arithmetic() {
        Value::Null => Map::new(),
        stated => Map::from_iter([("arithmetic".to_string(), stated)]),
    }
}

/// A record in the making; its wall time runs from [`RecordBuilder::new`] to
/// [`RecordBuilder::build`].
#[derive(Debug, Clone)]
pub struct RecordBuilder {
    record: Record,
    started: Instant,
    load: LoadWatch,
}

impl RecordBuilder {
    /// A record of `task` (`knn`, `zero_shot`, ...) on `model` at `resolution` (height, width).
    pub fn new(task: &str, model: ModelPart, runtime: &Runtime, resolution: (i64, i64)) -> Self {
        RecordBuilder {
            record: Record {
                schema_version: SCHEMA_VERSION,
                tool_version: env!("CARGO_PKG_VERSION").to_string(),
                git_revision: environment::GIT_REVISION.to_string(),
                libtorch_version: environment::LIBTORCH_VERSION.to_string(),
                command: std::env::args().collect(),
                created: environment::timestamp(),
                task: task.to_string(),
                model,
                device: environment::device_name(runtime.device),
                precision: runtime.precision.name().to_string(),
                threads: usize::try_from(tch::get_num_threads()).unwrap_or(1),
                machine: environment::machine(runtime),
                seed: runtime.seed,
                resolution,
                data: Vec::new(),
                benchmark: None,
                options: arithmetic(runtime),
                metrics: IndexMap::new(),
                published: Vec::new(),
                timings: Timings::default(),
                warnings: Vec::new(),
            },
            started: Instant::now(),
            load: LoadWatch::start(),
        }
    }

    /// The adaptor whose features were measured; `None` for the backbone's own.
    pub fn adaptor(mut self, adaptor: Option<&str>) -> Self {
        self.record.model.adaptor = adaptor.map(str::to_string);
        self
    }

    pub fn data(mut self, part: DataPart) -> Self {
        self.record.data.push(part);
        self
    }

    /// The benchmark that the evaluated split is, where it is one.
    pub fn benchmark(mut self, benchmark: Option<&Benchmark>) -> Self {
        self.record.benchmark = benchmark.map(ToString::to_string);
        self
    }

    /// An option of the task that can change a number.
    pub fn option(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.record.options.insert(name.to_string(), value.into());
        self
    }

    /// The value of a declared metric, in its unit.
    pub fn metric(mut self, metric: &Definition, value: Metric) -> Self {
        self.record.metrics.insert(metric.name.to_string(), value);
        self
    }

    /// Adds `seconds` to a stage of the timing split.
    pub fn stage(mut self, name: &str, seconds: f64) -> Self {
        *self
            .record
            .timings
            .stages
            .entry(name.to_string())
            .or_default() += seconds;
        self
    }

    pub fn images_per_s(mut self, rate: Option<f64>) -> Self {
        self.record.timings.images_per_s = rate;
        self
    }

    /// Others' share of the CPU over the timed part, instead of over all of the run, and the GPU
    /// after it.
    pub fn load(mut self, others_cpu_percent: Option<f64>, gpu: Option<GpuState>) -> Self {
        self.record.machine.others_cpu_percent = others_cpu_percent;
        self.record.machine.gpu = gpu;
        self
    }

    pub fn warning(mut self, text: impl Into<String>) -> Self {
        self.record.warnings.push(text.into());
        self
    }

    /// The finished record, with the published figures that may stand beside it.
    pub fn build(mut self) -> Record {
        if let Some(entry) = self.record.model.entry {
            self.record.published = published::standing(entry, &self.record);
        }
        let load = &mut self.record.machine.others_cpu_percent;
        *load = load.or_else(|| self.load.others());
        self.record.timings.wall_s = self.started.elapsed().as_secs_f64();
        self.record
    }
}
