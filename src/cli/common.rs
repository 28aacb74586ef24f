//! Flags that several subcommands share.

use super::numbers;
use super::tables::TableArgs;
use crate::models::torchscript::{Given, Layout};
use crate::models::{BuildOptions, ModelSpec, Purpose, Window};
use crate::runtime::device::{self, default_threads};
use crate::runtime::{Precision, Rank, Runtime};
use crate::{Error, Result};
use clap::Args;
use std::path::PathBuf;

/// Which network, and how it is built.
#[derive(Debug, Clone, Args)]
pub struct ModelArgs {
    /// Zoo name (see `radio-eval models`), checkpoint file, weights folder or TorchScript file;
    /// several with commas or by repeating the flag, where the command compares models
    #[arg(long = "model", short = 'm', required = true, value_delimiter = ',')]
    pub models: Vec<String>,
    /// Where the weights are, instead of the zoo entry's own place
    #[arg(long)]
    pub weights: Option<PathBuf>,
    /// Draw the weights from SEED instead of reading any; such figures are never compared with
    /// published ones
    #[arg(long, value_name = "SEED", num_args = 0..=1, default_missing_value = "0")]
    pub random_weights: Option<u64>,
    /// E-RADIO's attention window: trained, optimal or a number of tokens
    #[arg(long, default_value = "trained", value_parser = parse_window)]
    pub window: Window,
    /// ViTDet window in patches (RADIO ViT)
    #[arg(long, value_parser = numbers::side())]
    pub vitdet_window: Option<i64>,
    /// How RADIO's position map is interpolated: true reproduces published figures, false
    /// matches upstream since 2025-06-28 (default: what the zoo entry says)
    #[arg(long)]
    pub pos_align_corners: Option<bool>,
    /// Patch tokens of CLIP teachers from before the final norm
    #[arg(long)]
    pub tokens_before_norm: bool,
    /// LayerNorm eps in C-RADIOv4's attention head: 1e-6 (default), or 1e-5 as older timm has it
    #[arg(long, value_name = "EPS", value_parser = numbers::positive)]
    pub attention_head_eps: Option<f64>,
    /// Mean per channel of pixels in `[0,1]` (TorchScript; else from MODEL.toml beside MODEL.pt)
    #[arg(long, value_name = "R,G,B", value_parser = parse_channels)]
    pub mean: Option<[f64; 3]>,
    /// Standard deviation per channel of pixels in `[0,1]` (TorchScript)
    #[arg(long, value_name = "R,G,B", value_parser = parse_channels)]
    pub std: Option<[f64; 3]>,
    /// Height and width must be multiples of this (TorchScript)
    #[arg(long, value_name = "PIXELS", value_parser = numbers::side())]
    pub step: Option<i64>,
    /// A four-dimensional output is [B, h, w, C] (TorchScript)
    #[arg(long)]
    pub nhwc: bool,
}

fn parse_channels(text: &str) -> Result<[f64; 3], String> {
    let values: Option<Vec<f64>> = text.split(',').map(|v| v.trim().parse().ok()).collect();
    values
        .and_then(|v| v.try_into().ok())
        .ok_or_else(|| "use three numbers, like 0.485,0.456,0.406".into())
}

/// `trained`, `optimal` or a number of tokens.
pub fn parse_window(text: &str) -> Result<Window, String> {
    match text {
        "trained" => Ok(Window::Trained),
        "optimal" => Ok(Window::Optimal),
        _ => match text.parse() {
            Ok(n @ 1..=numbers::MAX_SIDE) => Ok(Window::Size(n)),
            _ => Err("use trained, optimal or a positive number of tokens".into()),
        },
    }
}

/// Sets the threads of each libtorch operator: those asked for, else this process's share of the
/// cores where processes share them, else libtorch's own choice.
pub fn set_threads(asked: Option<usize>, rank: Rank) {
    let shared = (rank.local_world > 1).then(|| default_threads(rank));
    if let Some(threads) = asked.or(shared) {
        tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
    }
}

impl ModelArgs {
    /// One spec per model.
    pub fn specs(&self) -> Result<Vec<ModelSpec>> {
        if self.weights.is_some() && self.models.len() > 1 {
            return Err(Error::usage(
                "--weights goes with one --model only; name each model's file as --model PATH instead",
            ));
        }
        Ok(self
            .models
            .iter()
            .map(|model| ModelSpec {
                model: model.clone(),
                weights: self.weights.clone(),
                random_weights: self.random_weights,
            })
            .collect())
    }

    /// The spec, where a command takes one model.
    pub fn single(&self) -> Result<ModelSpec> {
        match self.specs()?.as_slice() {
            [spec] => Ok(spec.clone()),
            _ => Err(Error::usage("this command takes one --model")),
        }
    }

    pub fn build_options(&self, runtime: &Runtime) -> BuildOptions {
        BuildOptions {
            device: runtime.device,
            kind: runtime.precision.kind(),
            purpose: Purpose::Inference,
            pos_align_corners: self.pos_align_corners,
            window: self.window,
            vitdet_window: self.vitdet_window,
            tokens_before_norm: self.tokens_before_norm,
            attention_head_eps: self.attention_head_eps,
            torchscript: Given {
                mean: self.mean,
                std: self.std,
                resolution: None,
                step: self.step,
                fixed: None,
                layout: self.nhwc.then_some(Layout::Nhwc),
            },
            radio1d: Default::default(),
            zoo_hints: serde_json::Value::Null,
        }
    }
}

/// Where and how to compute.
#[derive(Debug, Clone, Args)]
pub struct RuntimeArgs {
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// fp32, bf16 or fp16
    #[arg(long, alias = "dtype", default_value = "fp32")]
    pub precision: Precision,
    /// Threads that decode and resize (default: one per core)
    #[arg(long, value_parser = numbers::count(numbers::MAX_THREADS))]
    pub workers: Option<usize>,
    /// Threads of each libtorch operator (default: libtorch's own choice)
    #[arg(long, value_parser = numbers::count(numbers::MAX_THREADS))]
    pub threads: Option<usize>,
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Let fp32 matrix products and convolutions on CUDA use TF32: faster, 10 bits of mantissa
    #[arg(long)]
    pub tf32: bool,
}

impl RuntimeArgs {
    pub fn runtime(&self) -> Result<Runtime> {
        let rank = Rank::SINGLE;
        set_threads(self.threads, rank);
        tch::manual_seed(self.seed as i64);
        Ok(Runtime {
            device: device::open(device::parse_device(&self.device)?, self.tf32)?,
            precision: self.precision,
            workers: self.workers.unwrap_or_else(|| default_threads(rank)),
            seed: self.seed,
            tf32: self.tf32,
            rank,
        })
    }
}

/// Where results go. stdout carries the table, or JSON with `--json`.
#[derive(Debug, Clone, Args)]
pub struct OutputArgs {
    /// Folder for the records, one JSON file per cell
    #[arg(long, default_value = "results/run")]
    pub out: PathBuf,
    #[command(flatten)]
    pub tables: TableArgs,
}
