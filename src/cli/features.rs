//! `radio-eval features`: what a model makes of an input, into a file.

use super::Outcome;
use super::common::{ModelArgs, RuntimeArgs};
use super::numbers;
use super::resolution::Resolution;
use super::results::writable_file;
use crate::data::files;
use crate::data::transform::Transform;
use crate::models::{Request, resolve};
use crate::report::ModelPart;
use crate::runtime::limits::check_batch;
use crate::tasks::features::export::Export;
use crate::tasks::features::{self, Outputs};
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

pub fn run(args: &FeaturesArgs, progress: bool) -> anyhow::Result<Outcome> {
    let runtime = args.runtime.runtime()?;
    let options = args
        .model
        .build_options(runtime.device, args.runtime.precision);
    let model = resolve(&args.model.single()?, &options)?;
    let info = model.backbone.info();
    let runtime = runtime.running_in(info.precision);
    let mut metadata = HashMap::from([
        ("model".to_string(), model.name.clone()),
        ("architecture".into(), info.architecture.clone()),
        (
            "weights".into(),
            model.checkpoint.path.display().to_string(),
        ),
        ("precision".into(), info.precision.name().into()),
        ("settings".into(), json!(info.settings).to_string()),
    ]);
    if let Some(sha256) = model.checkpoint.sha256()? {
        metadata.insert("sha256".into(), sha256);
    }
    writable_file(&args.output)?;
    let shapes = if args.input.extension().is_some_and(|e| e == "safetensors") {
        let extracted = tensor(args, model.backbone.as_ref(), runtime.device)?;
        for (name, (rows, columns)) in &extracted.grids {
            metadata.insert(format!("{name}.grid"), format!("{rows}x{columns}"));
        }
        let tensors = extracted.tensors.iter().map(|(n, t)| (n.as_str(), t));
        safetensors::write(&args.output, tensors, metadata)?;
        let shapes = extracted.tensors.into_iter().map(|(n, t)| (n, t.size()));
        shapes.collect()
    } else {
        let size = args.resolution.map_or(info.preferred, |r| r.size());
        let (height, width) = size;
        info.check_resolution(height, width)?;
        check_batch(args.batch_size, height, width)?;
        let source = files::open(&args.input)?;
        let names: Vec<&str> = (0..source.len()).map(|i| source.key(i)).collect();
        metadata.insert("images".into(), json!(names).to_string());
        let transform = Transform::cover(height as usize, width as usize, info.step as usize);
        metadata.insert("transform".into(), transform.describe().to_string());
        let export = Export {
            model: &model,
            part: &ModelPart::for_model(&model)?,
            adaptors: &args.adaptor,
            transform,
            size,
            runtime: &runtime,
            batch_size: args.batch_size,
            output: &args.output,
            progress,
        };
        export.run(source, metadata)?
    };
    let mut out = std::io::stdout().lock();
    for (name, shape) in &shapes {
        writeln!(out, "{name} {shape:?}")?;
    }
    Ok(Outcome::Done)
}

fn tensor(
    args: &FeaturesArgs,
    backbone: &dyn crate::models::Backbone,
    device: Device,
) -> Result<Outputs> {
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
