//! `radio-eval features`: what a model makes of an input, into a file.

use super::Outcome;
use super::common::{ModelArgs, RuntimeArgs};
use super::numbers;
use super::resolution::Resolution;
use crate::data::files;
use crate::data::loader::LoaderOptions;
use crate::data::transform::Transform;
use crate::models::{Request, resolve};
use crate::runtime::limits::check_batch;
use crate::tasks::features::{self, Extracted};
use crate::weights::safetensors;
use crate::{Error, Result};
use clap::Args;
use serde_json::json;
use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use tch::{Device, Kind};

/// Write a model's features of images or of a tensor to a safetensors file
///
/// The file holds `summary` `[B,D]` and `spatial` `[B,N,C]`, and for every --adaptor `NAME.summary`
/// and `NAME.spatial`, all fp32; its metadata say model, weights, resolution, grids and images.
#[derive(Debug, Args)]
pub struct FeaturesArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub runtime: RuntimeArgs,
    /// A safetensors file with `input` `[B,3,H,W]` in `[0,1]`, an image, or a folder or tar of images
    #[arg(long)]
    pub input: PathBuf,
    #[arg(long)]
    pub output: PathBuf,
    /// Also this adaptor's features (repeat for more)
    #[arg(long)]
    pub adaptor: Vec<String>,
    /// Size images are brought to, S or HxW: scaled to cover it, then its centre (default: what
    /// the model prefers)
    #[arg(long)]
    pub resolution: Option<Resolution>,
    #[arg(long, default_value_t = 8, value_parser = numbers::count(numbers::MAX_BATCH))]
    pub batch_size: usize,
}

pub fn run(args: &FeaturesArgs) -> anyhow::Result<Outcome> {
    let runtime = args.runtime.runtime()?;
    let options = args.model.build_options(&runtime);
    let model = resolve(&args.model.single()?, &options)?;
    let info = model.backbone.info();
    let mut metadata = HashMap::from([
        ("model".to_string(), model.name.clone()),
        ("architecture".into(), info.architecture.clone()),
        (
            "weights".into(),
            model.checkpoint.path.display().to_string(),
        ),
        ("precision".into(), runtime.precision.name().into()),
        ("settings".into(), json!(info.settings).to_string()),
    ]);
    if let Some(sha256) = model.checkpoint.sha256()? {
        metadata.insert("sha256".into(), sha256);
    }
    let extracted = if args.input.extension().is_some_and(|e| e == "safetensors") {
        tensor(args, model.backbone.as_ref(), runtime.device)?
    } else {
        let (height, width) = args.resolution.map_or(info.preferred, |r| r.size());
        info.check_resolution(height, width)?;
        check_batch(args.batch_size, height, width)?;
        let source = files::open(&args.input)?;
        let names: Vec<&str> = (0..source.len()).map(|i| source.key(i)).collect();
        metadata.insert("images".into(), json!(names).to_string());
        let transform = Transform::cover(height as usize, width as usize, info.step as usize);
        metadata.insert("transform".into(), transform.describe().to_string());
        let loader = LoaderOptions {
            batch_size: args.batch_size,
            workers: runtime.workers,
            device: runtime.device,
            ..LoaderOptions::default()
        };
        features::of_images(
            model.backbone.as_ref(),
            source,
            transform,
            &Request::adaptors(&args.adaptor),
            loader,
        )?
    };
    for (name, (rows, columns)) in &extracted.grids {
        metadata.insert(format!("{name}.grid"), format!("{rows}x{columns}"));
    }
    let tensors = extracted.tensors.iter().map(|(n, t)| (n.as_str(), t));
    safetensors::write(&args.output, tensors, metadata)?;
    let mut out = std::io::stdout().lock();
    for (name, tensor) in &extracted.tensors {
        writeln!(out, "{name} {:?}", tensor.size())?;
    }
    Ok(Outcome::Done)
}

fn tensor(
    args: &FeaturesArgs,
    backbone: &dyn crate::models::Backbone,
    device: Device,
) -> Result<Extracted> {
    if args.resolution.is_some() {
        return Err(Error::usage(
            "--resolution is for images; a tensor has its own size",
        ));
    }
    let (tensors, _) = safetensors::open(&args.input)?;
    let input = tensors
        .get("input")
        .ok_or_else(|| Error::file(&args.input, "has no tensor `input` ([B,3,H,W] in [0,1])"))?;
    let input = input.read(Device::Cpu, Kind::Float)?;
    let request = Request::adaptors(&args.adaptor);
    features::of_tensor(backbone, &input, &request, device, args.batch_size)
}
