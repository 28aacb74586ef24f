//! `radio-eval coco --task detect`.

use super::CocoArgs;
use crate::cli::Outcome;
use crate::cli::numbers;
use crate::cli::results::Results;
use crate::data::coco::Split;
use crate::heads::detection::HeadKind;
use crate::metrics::detection::HEADLINE;
use crate::models::{ModelSpec, resolve};
use crate::runtime::Precision;
use crate::tasks::detection::detect::{self, Options};
use crate::tasks::detection::{GridRule, HeadFile, Preset, Recipe};
use crate::{Error, Result};
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;

/// Detectors on frozen features.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Detection heads (--task detect)")]
pub struct DetectArgs {
    /// Where values that are not given come from [default: 1x]
    #[arg(long, value_enum)]
    recipe: Option<Preset>,
    /// Which heads stand behind the feature pyramid [default: mask-vitdet]
    #[arg(long, value_enum)]
    head_type: Option<HeadKind>,
    /// Evaluate this trained detector; nothing is trained
    #[arg(long, value_name = "FILE")]
    head: Option<PathBuf>,
    /// How the map of a model with other patches than 16 pixels gets a cell for every 16 [default:
    /// resize]
    #[arg(long, value_enum)]
    map_grid: Option<GridRule>,
    /// Passes over the train images
    #[arg(long, value_name = "N", value_parser = numbers::positive)]
    epochs: Option<f64>,
    /// Peak learning rate [default: 1e-4 at a batch of 64, less in proportion, 2.5e-5 at least]
    #[arg(long, value_name = "RATE", value_parser = numbers::positive)]
    lr: Option<f64>,
    /// Weight decay of AdamW; norms have none
    #[arg(long, value_name = "W", value_parser = numbers::not_negative)]
    weight_decay: Option<f64>,
    /// Iterations of linear warm-up
    #[arg(long, value_name = "N")]
    warmup: Option<u64>,
    /// Largest norm of the gradients
    #[arg(long, value_name = "NORM", value_parser = numbers::positive)]
    clip: Option<f64>,
    /// Scales of large-scale jitter, as shares of the resolution
    #[arg(long, value_name = "A,B", value_parser = parse_jitter)]
    jitter: Option<(f64, f64)>,
    /// fp32 or bf16 for the detector's convolutions and matrix products [default: fp32]
    #[arg(long, value_name = "PRECISION")]
    head_precision: Option<Precision>,
    /// Evaluate a moving average of the parameters with this decay
    #[arg(long, value_name = "DECAY", value_parser = numbers::positive)]
    ema: Option<f64>,
    /// Channels of the feature pyramid and the heads
    #[arg(long, value_name = "C", value_parser = numbers::side())]
    channels: Option<i64>,
    /// Anchor side of the finest level, in pixels
    #[arg(long, value_name = "PIXELS", value_parser = numbers::positive)]
    anchor: Option<f64>,
    /// Proposals per image that the box head is trained on
    #[arg(long, value_name = "N", value_parser = numbers::count(100_000))]
    box_batch: Option<usize>,
    /// Epochs between evaluations on the val split, for the curve
    #[arg(long, value_name = "N", value_parser = numbers::positive)]
    val_every: Option<f64>,
    /// Iterations between saved states [default: 200]
    #[arg(long, value_name = "N", value_parser = numbers::count(usize::MAX >> 1))]
    checkpoint_every: Option<usize>,
    /// Train anew instead of going on from the state of an earlier run
    #[arg(long)]
    restart: bool,
    /// Write what was found as a COCO results file
    #[arg(long, value_name = "FILE")]
    save_detections: Option<PathBuf>,
    /// Draw what was found in the first N val images, to PNG files in the folder of the records
    #[arg(long, value_name = "N", value_parser = numbers::count(usize::MAX >> 1))]
    draw: Option<usize>,
}

fn parse_jitter(text: &str) -> Result<(f64, f64), String> {
    let (low, high) = text
        .split_once(',')
        .ok_or("use two numbers, like 0.5,2.0")?;
    Ok((numbers::positive(low)?, numbers::positive(high)?))
}

impl DetectArgs {
    fn recipe(&self, args: &CocoArgs) -> Result<Recipe> {
        let mut recipe = match &self.head {
            Some(path) => {
                self.refuse_training_flags()?;
                HeadFile::open(path)?.recipe
            }
            None => Recipe::new(
                self.recipe.unwrap_or(Preset::OneX),
                self.head_type.unwrap_or(HeadKind::MaskVitdet),
            ),
        };
        fn set<T: Copy>(place: &mut T, value: &Option<T>) {
            if let Some(value) = value {
                *place = *value;
            }
        }
        set(&mut recipe.resolution, &args.resolution);
        set(&mut recipe.batch_size, &args.batch_size);
        set(&mut recipe.grid, &self.map_grid);
        set(&mut recipe.epochs, &self.epochs);
        recipe.lr = self.lr.or(recipe.lr);
        set(&mut recipe.weight_decay, &self.weight_decay);
        set(&mut recipe.warmup, &self.warmup);
        set(&mut recipe.clip, &self.clip);
        set(&mut recipe.jitter, &self.jitter);
        set(&mut recipe.head_precision, &self.head_precision);
        set(&mut recipe.ema, &self.ema);
        set(&mut recipe.channels, &self.channels);
        set(&mut recipe.anchor, &self.anchor);
        set(&mut recipe.box_batch, &self.box_batch);
        if self.head.is_none() {
            recipe.seed = args.runtime.seed;
        }
        recipe.check()?;
        Ok(recipe)
    }

    fn refuse_training_flags(&self) -> Result<()> {
        let given = [
            ("--recipe", self.recipe.is_some()),
            ("--head-type", self.head_type.is_some()),
            ("--epochs", self.epochs.is_some()),
            ("--lr", self.lr.is_some()),
            ("--weight-decay", self.weight_decay.is_some()),
            ("--warmup", self.warmup.is_some()),
            ("--clip", self.clip.is_some()),
            ("--jitter", self.jitter.is_some()),
            ("--head-precision", self.head_precision.is_some()),
            ("--ema", self.ema.is_some()),
            ("--channels", self.channels.is_some()),
            ("--anchor", self.anchor.is_some()),
            ("--box-batch", self.box_batch.is_some()),
            ("--val-every", self.val_every.is_some()),
            ("--checkpoint-every", self.checkpoint_every.is_some()),
            ("--restart", self.restart),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((flag, _)) => Err(Error::usage(format!(
                "{flag} is about training, and with --head nothing is trained; leave it out"
            ))),
            None => Ok(()),
        }
    }
}

pub fn run(args: &CocoArgs, progress: bool) -> anyhow::Result<Outcome> {
    let runtime = args.runtime.runtime()?;
    let model_args = args.model()?;
    let own = args.detect.clone().unwrap_or_default();
    let specs = model_args.specs()?;
    if specs.len() > 1 && (own.head.is_some() || own.save_detections.is_some()) {
        return Err(Error::usage("--head and --save-detections go with one --model only").into());
    }
    let recipe = own.recipe(args)?;
    let mut results = Results::begin(
        "Detection on frozen features",
        &args.output.out,
        &args.output.tables,
    )?
    .showing(HEADLINE);
    let val = Arc::new(args.data.open(Split::Val)?);
    results.already_warned(&val.warnings);
    let train = match own.head {
        Some(_) => None,
        None => Some(Arc::new(args.data.open(Split::Train)?)),
    };
    let measure = |spec: &ModelSpec| {
        let build = model_args.build_options(runtime.device, args.runtime.precision);
        let model = resolve(spec, &build)?;
        let runtime = runtime.running_in(model.backbone.info().precision);
        let options = Options {
            adaptor: args.adaptor.clone(),
            head: own.head.clone(),
            val_every: own.val_every,
            checkpoint_every: own.checkpoint_every.unwrap_or(200) as u64,
            restart: own.restart,
            save_detections: own.save_detections.clone(),
            draw: own.draw.map(|count| {
                let folder = format!("drawn__{}", model.name);
                (count, args.output.out.join(folder))
            }),
            show: progress,
        };
        detect::run(&model, train.as_ref(), &val, &recipe, &options, &runtime)
    };
    let outcome = specs
        .iter()
        .try_for_each(|spec| results.add(measure(spec)?));
    results.end(outcome)
}
