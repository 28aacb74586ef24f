//! One self-describing JSON file per (task, model, settings) cell. Tables are made from records
//! and never recompute.

use crate::files::text;
use crate::models::zoo::ZooEntry;
use crate::runtime::nvml::GpuState;
use crate::{Error, Result};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::Path;

/// Raised whenever a field changes its meaning, or a table needs one that was not there. Records of
/// every earlier version are read.
///
/// 2: `machine`, `benchmark`, and `published` with conditions. A record of version 1 has no published values
/// beside it: whether its run met their conditions was not written down.
pub const SCHEMA_VERSION: u32 = 2;

/// A value with its 95 % interval and sample count where defined; percentages in 0..100.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    pub value: f64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub low: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub high: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub n: Option<u64>,
}

impl Metric {
    pub fn value(value: f64) -> Self {
        Metric {
            value,
            low: None,
            high: None,
            n: None,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ModelPart {
    pub name: String,
    pub architecture: String,
    /// The file or folder, or `random:SEED`.
    pub weights: String,
    /// SHA-256 of the weight files; `None` for random weights.
    pub sha256: Option<String>,
    pub random_weights: bool,
    pub parameters: i64,
    pub adaptor: Option<String>,
    /// Settings that change the features (window, pos_align_corners, ...).
    pub settings: Map<String, Value>,
    /// The zoo's entry, where the model was asked for by its name.
    #[serde(skip)]
    pub entry: Option<&'static ZooEntry>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DataPart {
    pub name: String,
    pub path: String,
    pub split: String,
    pub samples: u64,
    pub fingerprint: String,
    /// What the fingerprint was made of, in words; empty in records of old, whose fingerprints are
    /// over names, labels and encoded sizes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fingerprint_of: String,
    /// Unreadable samples passed over under `--skip-bad`.
    pub skipped: u64,
    pub transform: Value,
}

/// A published figure whose every condition the run met.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PublishedPart {
    pub metric: String,
    pub value: f64,
    /// Where it was read.
    pub source: String,
    /// By name; `null` where the source does not say.
    pub conditions: Map<String, Value>,
}

/// What else decided how fast the run was.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MachinePart {
    /// Cores that the process may run on.
    pub cores: usize,
    /// Instruction sets of the CPU that networks gain from.
    pub cpu_capabilities: Vec<String>,
    /// Why the run's precision is slow on this CPU, where it is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub slow_precision: Option<String>,
    /// Percent of the time of those cores that other processes used during the run, or the timed
    /// part of it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub others_cpu_percent: Option<f64>,
    /// The GPU right after the timed part.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub gpu: Option<GpuState>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Timings {
    pub wall_s: f64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub images_per_s: Option<f64>,
    /// Seconds by stage name.
    #[serde(default)]
    pub stages: IndexMap<String, f64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    pub schema_version: u32,
    pub tool_version: String,
    pub git_revision: String,
    pub libtorch_version: String,
    pub command: Vec<String>,
    pub created: String,
    pub task: String,
    pub model: ModelPart,
    pub device: String,
    pub precision: String,
    pub threads: usize,
    #[serde(default)]
    pub machine: MachinePart,
    pub seed: u64,
    /// (height, width)
    pub resolution: (i64, i64),
    pub data: Vec<DataPart>,
    /// The benchmark that the evaluated split was recognised as (`ImageNet-1k val`).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub benchmark: Option<String>,
    /// Every option of the task that can change a number.
    pub options: Map<String, Value>,
    pub metrics: IndexMap<String, Metric>,
    /// Published figures beside these, as known when the record was made.
    #[serde(default)]
    pub published: Vec<PublishedPart>,
    pub timings: Timings,
    pub warnings: Vec<String>,
}

impl Record {
    /// The bytes of its file.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec_pretty(self)
            .map_err(|e| Error::model(format!("the record of {} is no JSON: {e}", self.task)))
    }

    pub fn read(path: &Path) -> Result<Self> {
        serde_json::from_str(&text::read(path)?)
            .map_err(|e| Error::file(path, format!("not a radio-eval record: {e}")))
    }

    /// Every record in a folder, in the order of file names.
    pub fn read_folder(folder: &Path) -> Result<Vec<Self>> {
        let entries = std::fs::read_dir(folder).map_err(|e| Error::file(folder, e))?;
        let mut paths: Vec<_> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|e| e == "json"))
            .collect();
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }
}
