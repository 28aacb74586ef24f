//! A latency sweep as the user writes it: flags, or `bench-configs/latency/*.toml`, whose fields have
//! the names of the flags.

use crate::Result;
use crate::config::toml_file;
use crate::files::text;
use crate::runtime::Precision;
use clap::Args;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// A sweep as the user writes it, on the command line or in a file.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LatencyConfig {
    /// Zoo names, checkpoint files, weights folders or TorchScript files (commas, or repeated)
    #[arg(long = "model", short = 'm', value_delimiter = ',')]
    #[serde(rename = "model")]
    pub models: Vec<String>,
    /// Sizes in pixels, S or HxW (default: each model's preferred resolution)
    #[arg(long, value_delimiter = ',')]
    pub resolution: Vec<String>,
    /// Batch sizes [default: 1]
    #[arg(long, value_delimiter = ',')]
    pub batch: Vec<i64>,
    /// Precisions: fp32, bf16, fp16 [default: fp32]
    #[arg(long = "dtype", alias = "precision", value_delimiter = ',')]
    pub dtype: Vec<Precision>,
    /// E-RADIO windows: trained, optimal or numbers of tokens [default: trained]
    #[arg(long, value_delimiter = ',')]
    pub window: Vec<String>,
    /// ViTDet windows in patches, measured beside global attention (RADIO ViT)
    #[arg(long, value_delimiter = ',')]
    pub vitdet_window: Vec<i64>,
    /// Tokens of the code (RADIO1D); other models are measured once [default: as many as there are]
    #[arg(long, value_delimiter = ',')]
    pub tokens: Vec<i64>,
    /// Adaptors to run along with the backbone
    #[arg(long = "adaptor", value_delimiter = ',')]
    #[serde(rename = "adaptor")]
    pub adaptors: Vec<String>,
    /// The model that speed-ups are measured against
    #[arg(long)]
    pub baseline: Option<String>,
    /// Seconds of timing per case, after warm-up [default: 5]
    #[arg(long)]
    pub seconds: Option<f64>,
    /// At least this many timed passes per case [default: 7]
    #[arg(long)]
    pub rounds: Option<usize>,
    /// auto, cpu, cuda or cuda:N [default: auto]
    #[arg(long)]
    pub device: Option<String>,
    /// Threads of each libtorch operator [default: libtorch's own choice]
    #[arg(long)]
    pub threads: Option<usize>,
    /// Folder for records, tables and plots [default: results/latency]
    #[arg(long)]
    pub out: Option<PathBuf>,
}

impl LatencyConfig {
    pub fn read(path: &Path) -> Result<Self> {
        toml_file::parse(path, &text::read(path)?)
    }

    /// What the flags leave open is taken from `file`.
    pub fn or(self, file: Self) -> Self {
        fn list<T>(own: Vec<T>, file: Vec<T>) -> Vec<T> {
            if own.is_empty() { file } else { own }
        }
        LatencyConfig {
            models: list(self.models, file.models),
            resolution: list(self.resolution, file.resolution),
            batch: list(self.batch, file.batch),
            dtype: list(self.dtype, file.dtype),
            window: list(self.window, file.window),
            vitdet_window: list(self.vitdet_window, file.vitdet_window),
            tokens: list(self.tokens, file.tokens),
            adaptors: list(self.adaptors, file.adaptors),
            baseline: self.baseline.or(file.baseline),
            seconds: self.seconds.or(file.seconds),
            rounds: self.rounds.or(file.rounds),
            device: self.device.or(file.device),
            threads: self.threads.or(file.threads),
            out: self.out.or(file.out),
        }
    }
}
