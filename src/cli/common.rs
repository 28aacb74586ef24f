//! Flags that several subcommands share.

use super::numbers;
use super::tables::TableArgs;
use crate::models::radio1d::{self, MOST_TOKENS, Neck};
use crate::models::torchscript::{Declared, OutputAxes};
use crate::models::{self, BuildOptions, ModelSpec, Resolved, Window, clip, eradio, radio, zoo};
use crate::runtime::device::{self, default_threads};
use crate::runtime::{Precision, Rank, Runtime};
use crate::{Error, Result};
use clap::Args;
use std::path::{Path, PathBuf};
use tch::Device;

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
    /// E-RADIO's attention window: trained (default), optimal or a number of tokens
    #[arg(long, value_parser = parse_window)]
    pub window: Option<Window>,
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
    /// Tokens of the code of a picture, as many as there are by default; several with commas give
    /// a record each; -N lets a model with dynamic rate choose for each picture (RADIO1D)
    #[arg(long, value_delimiter = ',', allow_hyphen_values = true, value_parser = parse_tokens)]
    pub tokens: Vec<i64>,
    /// The last tokens of the code, instead of the first (RADIO1D)
    #[arg(long)]
    pub last_tokens: bool,
    /// What makes the features: decoder (a feature per patch; the default), encoder, or tokens (the
    /// mean of the code) (RADIO1D)
    #[arg(long)]
    pub neck: Option<Neck>,
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

/// Tokens of a code, or the negative of them.
pub fn parse_tokens(text: &str) -> Result<i64, String> {
    match text.trim().parse() {
        Ok(n) if n != 0 && (-MOST_TOKENS..=MOST_TOKENS).contains(&n) => Ok(n),
        _ => Err(format!(
            "use 1 to {MOST_TOKENS} tokens (or -1 to -{MOST_TOKENS}: dynamic rate)"
        )),
    }
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
        let spec = |model: &String| ModelSpec {
            model: model.clone(),
            weights: self.weights.clone(),
            random_weights: self.random_weights,
        };
        Ok(self.models.iter().map(spec).collect())
    }

    /// Does `work` with a loaded model, once for each of --tokens: the weights stay as they are.
    pub fn for_each_length(
        &self,
        model: &mut Resolved,
        mut work: impl FnMut(&Resolved) -> Result<()>,
    ) -> Result<()> {
        // It was built for the first.
        work(model)?;
        self.tokens.iter().skip(1).try_for_each(|&tokens| {
            model.backbone.set_code_length(tokens)?;
            work(model)
        })
    }

    /// An error about data, and with it what else is missing: both are put right in one go.
    pub fn with_missing_weights(&self, error: Error) -> Error {
        let named = self.weights.is_none() && self.random_weights.is_none();
        let missing = (self.models.iter())
            .filter(|model| named && !Path::new(model).exists())
            .filter_map(|model| models::locate(zoo::find(model).ok()?).err())
            .map(|reason| format!("\n{reason}"));
        match error {
            Error::Usage(text) => Error::Usage(text + &missing.collect::<String>()),
            other => other,
        }
    }

    /// The spec, where a command takes one model.
    pub fn single(&self) -> Result<ModelSpec> {
        match self.specs()?.as_slice() {
            [spec] if self.tokens.len() < 2 => Ok(spec.clone()),
            _ => Err(Error::usage(
                "this command takes one --model (and one number of --tokens)",
            )),
        }
    }

    /// `precision`: what the user asked for, if anything.
    pub fn build_options(&self, device: Device, precision: Option<Precision>) -> BuildOptions {
        BuildOptions {
            device,
            kind: precision.map(Precision::kind),
            mean: self.mean,
            std: self.std,
            attention_head_eps: self.attention_head_eps,
            radio: radio::Options {
                pos_align_corners: self.pos_align_corners,
                vitdet_window: self.vitdet_window,
            },
            eradio: eradio::Options {
                window: self.window,
            },
            clip: clip::Options {
                tokens_before_norm: self.tokens_before_norm,
            },
            radio1d: radio1d::CodeOptions {
                tokens: self.tokens.first().copied(),
                last: self.last_tokens,
                neck: self.neck,
            },
            torchscript: Declared {
                step: self.step,
                layout: self.nhwc.then_some(OutputAxes::Nhwc),
                ..Declared::default()
            },
            ..BuildOptions::default()
        }
    }
}

/// Where and how to compute.
#[derive(Debug, Clone, Args)]
pub struct RuntimeArgs {
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// fp32, bf16 or fp16 (default: what the weights are meant for, else fp32)
    #[arg(long, alias = "dtype")]
    pub precision: Option<Precision>,
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
            precision: self.precision.unwrap_or_default(),
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
