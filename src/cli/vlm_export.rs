//! `radio-eval vlm-export`: visual tokens for the trainer of a vision-language model.

use super::Outcome;
use super::common::{ModelArgs, RuntimeArgs};
use crate::data::pictures::{self, Pictures};
use crate::models::{BackboneInfo, Resolved, resolve};
use crate::runtime::launcher::{self, Share};
use crate::runtime::{Precision, Runtime};
use crate::tasks::vlm_export::framing::LLAVA_NEXT_GRIDS;
use crate::tasks::vlm_export::outputs::MERGE;
use crate::tasks::vlm_export::{self as export, merge, verify};
use crate::tasks::vlm_export::{Framing, Layer, Manifest, Norm, Options, Preset, Wanted};
use crate::{Error, Result};
use clap::{Args, Subcommand};
use std::io::Write;
use std::path::PathBuf;

/// OpenAI CLIP's mean colour (open_clip `OPENAI_DATASET_MEAN`), for networks that do not tell theirs.
const CLIP_MEAN: [f64; 3] = [0.48145466, 0.4578275, 0.40821073];
/// Stage 1 of LLaVA-1.5, whose tokens most trainers want first.
const DATASET: &str = "llava-pretrain";
/// AM-RADIO's long edge for LLaVA-1.5 (arXiv 2312.06709 §4).
const RADIO_LONG_EDGE: usize = 432;
/// Longest edge of `native`.
const NATIVE_LIMIT: usize = 1024;

/// Export the visual tokens that a LLaVA-style trainer consumes
///
/// Writes safetensors shards, an index (index.jsonl, index.parquet) and a manifest into --out. The
/// same command goes on after a stop, with the same shards. docs/vlm-export.md has a reader in
/// Python.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct VlmExportArgs {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    export: ExportArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Read an export again: hashes, counts, values, and some pictures computed anew
    Verify(Box<VerifyArgs>),
    /// Bring the parts that several processes wrote into one folder
    Merge(MergeArgs),
}

#[derive(Debug, Args)]
struct ExportArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    data: DataArgs,
    /// Folder of the export
    #[arg(long, required = true)]
    out: Option<PathBuf>,
    /// How a picture is brought to the network: radio (long edge 432, padded to the patch
    /// multiple), clip-pad (LLaVA's square with the mean colour), square, native, or anyres
    /// (LLaVA-NeXT's tiles)
    #[arg(long, default_value = "radio", value_parser = parse_preset)]
    preset: Preset,
    /// Pixels: the long edge (radio), the longest edge allowed (native), else the side of a view
    /// (default: 432, 1024, or what the model prefers)
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=65_535))]
    resolution: Option<u32>,
    /// Grids of tiles to choose from, columns x rows (anyres; default: LLaVA-NeXT's)
    #[arg(long, value_delimiter = ',', value_parser = parse_grid)]
    grids: Vec<(u32, u32)>,
    /// Layers: final, or a block by number from 0, -2 being the last but one; several with commas
    #[arg(
        long,
        default_value = "final",
        value_delimiter = ',',
        allow_hyphen_values = true
    )]
    layer: Vec<Layer>,
    /// Also the summary vector of every view
    #[arg(long)]
    summary: bool,
    /// Also this adaptor's outputs (repeat for more)
    #[arg(long)]
    adaptor: Vec<String>,
    /// What is done to tokens before they are stored: none or layernorm
    #[arg(long, default_value = "none", value_parser = parse_norm)]
    norm: Norm,
    /// Make one token of each 2x2, of four times the width (pixel unshuffle)
    #[arg(long)]
    merge: bool,
    /// Type of the stored values: fp32, fp16 or bf16
    #[arg(long, default_value = "fp16")]
    format: Precision,
    /// Largest size of a shard in MiB
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    shard_size: u32,
    /// Views per forward pass
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch_size: u32,
    /// Leave out up to N unreadable or missing pictures instead of failing
    #[arg(long, value_name = "N", default_value_t = 0)]
    skip_bad: usize,
    /// Write part I of N (from 0); default: what torchrun, Slurm, MPI or an indexed Kubernetes job
    /// say, else everything
    #[arg(long, value_name = "I/N")]
    shard: Option<Share>,
    /// Throw away an earlier export in the folder
    #[arg(long)]
    restart: bool,
    /// State pictures, tokens, bytes and time, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    runtime: RuntimeArgs,
    /// Print the manifest (or the estimate of --dry-run) as JSON
    #[arg(long)]
    json: bool,
}

/// Which pictures.
#[derive(Debug, Clone, Args)]
struct DataArgs {
    /// LLaVA JSON or JSONL, COCO JSON, a folder or tar of pictures, WebDataset shards, parquet
    /// files, or a name from `radio-eval datasets` (default: llava-pretrain)
    #[arg(long)]
    dataset: Option<String>,
    /// Where the pictures of a JSON file lie, a folder or tar (default: its own folder)
    #[arg(long)]
    images: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(mut_arg("models", |model| model.required(false)))]
struct VerifyArgs {
    /// Folder of a finished export
    folder: PathBuf,
    /// Pictures to compute anew (needs --model and --dataset as in the export)
    #[arg(long, default_value_t = 0)]
    recompute: usize,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    runtime: RuntimeArgs,
    /// Print what was checked as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct MergeArgs {
    /// Folder of the whole export
    #[arg(long)]
    out: PathBuf,
    /// Folders with parts
    #[arg(required = true)]
    parts: Vec<PathBuf>,
}

pub fn run(args: &VlmExportArgs, progress: bool, quiet: bool) -> anyhow::Result<Outcome> {
    match &args.action {
        Some(Action::Verify(verify)) => run_verify(verify),
        Some(Action::Merge(args)) => {
            let manifest = merge::merge(&args.out, &args.parts)?;
            say(&summary(&manifest, &args.out))?;
            Ok(Outcome::Done)
        }
        None => run_export(&args.export, progress, quiet),
    }
}

fn run_export(args: &ExportArgs, progress: bool, quiet: bool) -> anyhow::Result<Outcome> {
    let runtime = args.runtime.runtime()?;
    let share = match args.shard {
        Some(share) => share,
        None => launcher::from_environment()?,
    };
    let out = args
        .out
        .clone()
        .ok_or_else(|| Error::usage("name a folder with --out"))?;
    let pictures = args.data.open(args.skip_bad)?;
    let build = args
        .model
        .build_options(runtime.device, args.runtime.precision);
    let model = resolve(&args.model.single()?, &build)?;
    let runtime = runtime.running_in(model.backbone.info().precision);
    let options = Options {
        out: out.clone(),
        framing: framing(args, &model),
        wanted: Wanted {
            layers: args.layer.clone(),
            summary: args.summary,
            adaptors: args.adaptor.clone(),
            norm: args.norm,
            merge: args.merge,
        },
        format: args.format,
        shard_bytes: u64::from(args.shard_size) << 20,
        batch_size: args.batch_size as usize,
        skip_bad: args.skip_bad,
        share,
        restart: args.restart,
        dry_run: args.dry_run,
        show: progress,
        state: !quiet,
    };
    match export::run(&model, &pictures, &options, &runtime)? {
        export::Outcome::Stated(estimate) if args.json => {
            say(&(serde_json::to_string_pretty(&estimate)? + "\n"))?;
        }
        export::Outcome::Stated(estimate) => say(&format!(
            "{} pictures, {} tokens, {} MiB in {} shards ({} finished); this part: {} shards, {} MiB, about {:.0} s\n",
            estimate.pictures,
            estimate.tokens,
            estimate.bytes >> 20,
            estimate.shards,
            estimate.finished,
            estimate.mine,
            estimate.mine_bytes >> 20,
            estimate.seconds
        ))?,
        export::Outcome::Done(manifest) if args.json => {
            say(&(serde_json::to_string_pretty(&manifest)? + "\n"))?;
        }
        export::Outcome::Done(manifest) => say(&summary(&manifest, &out))?,
        export::Outcome::Part(missing) => say(&format!(
            "part {}/{} is done; {} shards of other parts are not in {} yet (the last to finish writes the index; `vlm-export merge` does it for parts in several folders)\n",
            share.index,
            share.count,
            missing.len(),
            out.display()
        ))?,
    }
    Ok(Outcome::Done)
}

fn framing(args: &ExportArgs, model: &Resolved) -> Framing {
    let info = model.backbone.info();
    let side = args.resolution.map_or_else(
        || match args.preset {
            Preset::Radio => RADIO_LONG_EDGE,
            Preset::Native => NATIVE_LIMIT,
            Preset::ClipPad | Preset::Square | Preset::Anyres => info.preferred.0 as usize,
        },
        |side| side as usize,
    );
    Framing {
        preset: args.preset,
        side,
        multiple: multiple(info, args.merge) as usize,
        fill: fill(info),
        grids: match args.grids.as_slice() {
            [] => LLAVA_NEXT_GRIDS.to_vec(),
            grids => grids.to_vec(),
        },
    }
}

/// What edges of views must be multiples of.
fn multiple(info: &BackboneInfo, merge: bool) -> i64 {
    let merged = info.patch * if merge { MERGE } else { 1 };
    let mut multiple = info.step;
    while multiple % merged != 0 {
        multiple += info.step;
    }
    // A size that the network takes beside its grid (SigLIP's 384 with patch 14).
    match (info.native, info.fixed) {
        (Some((side, _)), _) | (_, Some((side, _))) if !merge && side % multiple != 0 => 1,
        _ => multiple,
    }
}

/// The mean colour that the network subtracts, as LLaVA pads with: `int(mean * 255)`.
fn fill(info: &BackboneInfo) -> [u8; 3] {
    let told = info.settings.get("mean").and_then(|mean| {
        let values: Vec<f64> = mean.as_array()?.iter().filter_map(|v| v.as_f64()).collect();
        <[f64; 3]>::try_from(values).ok()
    });
    told.unwrap_or(CLIP_MEAN)
        .map(|v| (v * 255.0).clamp(0.0, 255.0) as u8)
}

fn run_verify(args: &VerifyArgs) -> anyhow::Result<Outcome> {
    let (mut checked, manifest, index) = verify::files(&args.folder)?;
    if args.recompute > 0 {
        if args.model.models.is_empty() || args.data.dataset.is_none() {
            return Err(Error::usage(
                "--recompute needs the --model and the --dataset of the export, with the same flags",
            )
            .into());
        }
        let runtime = args.runtime.runtime()?;
        let build = args
            .model
            .build_options(runtime.device, args.runtime.precision);
        let resolved = resolve(&args.model.single()?, &build)?;
        let runtime = runtime.running_in(resolved.backbone.info().precision);
        let pictures = args.data.open(manifest.left_out.len())?;
        let framing = framing_of(&manifest)?;
        expect_same(&manifest, &resolved, &runtime)?;
        verify::recompute(
            &args.folder,
            (&manifest, &index),
            &resolved,
            &pictures,
            &framing,
            (args.recompute, &runtime),
            &mut checked,
        )?;
    }
    if args.json {
        say(&(serde_json::to_string_pretty(&checked)? + "\n"))?;
    } else {
        let anew = match checked.recomputed {
            0 => String::new(),
            n => format!(
                "; {n} pictures computed anew, largest difference {:.1e}",
                checked.largest_difference
            ),
        };
        say(&format!(
            "{} shards, {} pictures, {} tokens, {} values: as written{anew}\n",
            checked.shards, checked.pictures, checked.tokens, checked.values
        ))?;
    }
    Ok(Outcome::Done)
}

/// The framing that a manifest describes.
fn framing_of(manifest: &Manifest) -> Result<Framing> {
    let value = &manifest.export.framing;
    let read = || {
        let preset = value["preset"].as_str()?;
        Some(Framing {
            preset: Preset::ALL.into_iter().find(|p| p.name() == preset)?,
            side: value["side"].as_u64()? as usize,
            multiple: value["multiple"].as_u64()? as usize,
            fill: match &value["fill"] {
                serde_json::Value::Null => [0; 3],
                fill => serde_json::from_value(fill.clone()).ok()?,
            },
            grids: match &value["grids"] {
                serde_json::Value::Null => Vec::new(),
                grids => serde_json::from_value(grids.clone()).ok()?,
            },
        })
    };
    read().ok_or_else(|| Error::model("the manifest's `framing` is not understood"))
}

/// The model and precision given must be those of the export.
fn expect_same(manifest: &Manifest, model: &Resolved, runtime: &Runtime) -> Result<()> {
    let part = crate::report::ModelPart::for_model(model)?;
    let exported = &manifest.export.model;
    if (&part.sha256, &part.settings) != (&exported.sha256, &exported.settings) {
        return Err(Error::usage(format!(
            "--model {} has other weights or settings than the exporting model {}",
            part.name, exported.name
        )));
    }
    if runtime.precision.name() != manifest.export.precision {
        return Err(Error::usage(format!(
            "the export was made with --precision {}",
            manifest.export.precision
        )));
    }
    Ok(())
}

impl DataArgs {
    fn open(&self, allowed: usize) -> Result<Pictures> {
        let dataset = self.dataset.as_deref().unwrap_or(DATASET);
        pictures::open(dataset, self.images.as_deref(), allowed)
    }
}

fn summary(manifest: &Manifest, out: &std::path::Path) -> String {
    let export = &manifest.export;
    let bytes: u64 = manifest.shard_files.iter().map(|s| s.bytes).sum();
    let counts = export.pictures;
    let mut text = format!(
        "{}: {} pictures of {} in {} shards, {} tokens ({:.1} a picture), {} MiB {}\n",
        export.model.name,
        manifest.exported,
        export.dataset,
        export.shards,
        manifest.tokens,
        manifest.tokens_per_picture,
        bytes >> 20,
        export.format
    );
    for output in &export.outputs {
        let rms = manifest
            .statistics
            .get(&output.name)
            .and_then(|s| s.as_ref());
        let rms = rms.map_or(String::new(), |s| format!(", rms {:.4}", s.rms));
        text += &format!("  {}: {} channels{rms}\n", output.name, output.channels);
    }
    text += &format!(
        "  {} records, {} without a picture, {} mentions again, {} left out\n  {}\n",
        counts.records,
        counts.text_only,
        counts.repeated,
        manifest.left_out.len(),
        out.join("manifest.json").display()
    );
    text
}

fn say(text: &str) -> std::io::Result<()> {
    std::io::stdout().lock().write_all(text.as_bytes())
}

fn parse_preset(text: &str) -> Result<Preset, String> {
    let found = Preset::ALL.into_iter().find(|preset| preset.name() == text);
    found.ok_or_else(|| "use radio, clip-pad, square, native or anyres".into())
}

fn parse_norm(text: &str) -> Result<Norm, String> {
    match text {
        "none" => Ok(Norm::None),
        "layernorm" => Ok(Norm::LayerNorm),
        _ => Err("use none or layernorm".into()),
    }
}

fn parse_grid(text: &str) -> Result<(u32, u32), String> {
    let parsed = text.split_once('x').and_then(|(columns, rows)| {
        let (columns, rows): (u32, u32) = (columns.parse().ok()?, rows.parse().ok()?);
        (columns > 0 && rows > 0).then_some((columns, rows))
    });
    parsed.ok_or_else(|| "use COLUMNSxROWS, like 2x1".into())
}
