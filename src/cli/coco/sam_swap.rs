//! `radio-eval coco --task sam-swap`.

use super::CocoArgs;
use crate::cli::Outcome;
use crate::cli::numbers;
use crate::cli::results::Results;
use crate::data::coco::Split;
use crate::models::{BuildOptions, Flag, ModelSpec, architecture_of, resolve};
use crate::tasks::sam_swap::{self, Grid, Options, Padding, Preset, PromptKind, Settings};
use crate::{Error, Result};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::sync::Arc;

/// SAM's decoder on the features.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "SAM swap")]
pub struct SamSwapArgs {
    /// Where settings that are not given come from [default: advised]
    #[arg(long, value_enum)]
    preset: Option<Preset>,
    /// What the decoder is told: box (the annotated box of each instance; the default), point
    /// (clicks), or boxes with a FILE of a detector's boxes in COCO's results format (mask AP)
    #[arg(long, num_args = 1..=2, value_names = ["box|point|boxes", "FILE"])]
    prompt: Vec<String>,
    /// Clicks per instance, with --prompt point [default: 1]
    #[arg(long, value_name = "K", value_parser = numbers::count(1_000))]
    clicks: Option<usize>,
    /// Whole SAM whose neck and decoder are used: a zoo name, a file or a folder [default: the
    /// model itself where it is a SAM, else sam-h]
    #[arg(long, value_name = "NAME|PATH")]
    sam_weights: Option<String>,
    /// What the model sees beside a picture that is no square [default: sam-mean]
    #[arg(long, value_enum)]
    padding: Option<Padding>,
    /// How features come to SAM's grid [default: run]
    #[arg(long, value_enum)]
    grid: Option<Grid>,
    /// Prompts that go through the decoder together [default: 16]
    #[arg(long, value_name = "N", value_parser = numbers::count(numbers::MAX_BATCH))]
    prompts_per_pass: Option<usize>,
}

impl SamSwapArgs {
    /// The kind of prompt, and the file of boxes.
    fn prompt(&self) -> Result<(PromptKind, Option<PathBuf>)> {
        let Some((word, rest)) = self.prompt.split_first() else {
            return Ok((PromptKind::default(), None));
        };
        let kind = PromptKind::from_str(word, false)
            .map_err(|_| Error::usage(format!("--prompt {word}: use box, point, or boxes FILE")))?;
        match (kind, rest) {
            (PromptKind::Boxes, [file]) => Ok((kind, Some(PathBuf::from(file)))),
            (PromptKind::Boxes, _) => Err(Error::usage(
                "--prompt boxes takes a file of a detector's boxes: --prompt boxes FILE",
            )),
            (_, []) => Ok((kind, None)),
            (_, [file, ..]) => Err(Error::usage(format!(
                "--prompt {word} takes no file ({file})"
            ))),
        }
    }

    fn settings(&self) -> Result<Settings> {
        let advised = Settings::default();
        let settings = Settings {
            preset: self.preset.unwrap_or_default(),
            padding: self.padding.unwrap_or_default(),
            grid: self.grid.unwrap_or_default(),
            prompt: self.prompt()?.0,
            clicks: self.clicks.unwrap_or(advised.clicks),
            prompts_per_pass: self.prompts_per_pass.unwrap_or(advised.prompts_per_pass),
        };
        if self.clicks.is_some() && settings.prompt != PromptKind::Point {
            return Err(Error::usage("--clicks goes with --prompt point"));
        }
        Ok(settings)
    }
}

/// What the preset says about building the network, where no flag does and the network knows it.
fn with_preset(mut build: BuildOptions, preset: Preset, flags: &[Flag]) -> BuildOptions {
    let knows = |flag: Flag| flags.contains(&flag);
    match preset {
        Preset::Paper if knows(Flag::PosAlignCorners) => {
            build.radio.pos_align_corners.get_or_insert(true);
        }
        Preset::Window16 if knows(Flag::VitdetWindow) => {
            build.radio.vitdet_window.get_or_insert(16);
        }
        _ => {}
    }
    build
}

pub fn run(args: &CocoArgs, progress: bool) -> anyhow::Result<Outcome> {
    let runtime = args.runtime.runtime()?;
    let model_args = args.model()?;
    let own = args.sam_swap.clone().unwrap_or_default();
    let settings = own.settings()?;
    let mut results = Results::begin(
        "SAM's decoder on other features",
        &args.output.out,
        &args.output.tables,
    )?;
    let set = Arc::new(args.data.open(Split::Val)?);
    results.already_warned(&set.warnings);
    let options = Options {
        boxes: own.prompt()?.1,
        adaptor: args.adaptor.clone(),
        sam_weights: own.sam_weights,
        resolution: args.resolution,
        batch_size: args.batch_size.unwrap_or(4),
        skip_bad: args.skip_bad,
        limit: args.limit,
        show: progress,
    };
    let measure = |spec: &ModelSpec| {
        let architecture = architecture_of(spec)?;
        let build = model_args.build_options(runtime.device, args.runtime.precision);
        let build = with_preset(build, settings.preset, architecture.flags());
        let model = resolve(spec, &build)?;
        let runtime = runtime.running_in(model.backbone.info().precision);
        let is_sam = architecture.name() == "sam";
        sam_swap::run(model, is_sam, &set, &settings, &options, &runtime)
    };
    let specs = model_args.specs()?;
    let outcome = specs
        .iter()
        .try_for_each(|spec| results.add(measure(spec)?));
    results.end(outcome)
}
