//! `radio-eval ade20k`: linear-probe segmentation.

use super::common::{ModelArgs, OutputArgs, RuntimeArgs};
use super::{Outcome, output};
use crate::config::probe;
use crate::data::segmentation::{self, OpenOptions};
use crate::heads::Curve;
use crate::models::resolve;
use crate::report::Record;
use crate::tasks::segmentation::recipe::{Features, Inference};
use crate::tasks::segmentation::{Options, Preset, Recipe, run as probe_run};
use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value};
use std::path::PathBuf;

/// Train BatchNorm + 1x1 convolution on frozen spatial features and report mIoU, as mmseg does
#[derive(Debug, Args)]
pub struct Ade20kArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub data: DataArgs,
    /// The recipe that every value comes from
    #[arg(long, value_enum, default_value = "repo-head")]
    pub preset: Preset,
    /// Recipe values from a TOML file (names as in the record's options); flags come before it
    #[arg(long, value_name = "FILE")]
    pub recipe: Option<PathBuf>,
    #[command(flatten)]
    pub values: RecipeArgs,
    /// Features of this adaptor instead of the backbone's own
    #[arg(long)]
    pub adaptor: Option<String>,
    /// Evaluate this trained head; nothing is trained
    #[arg(long, value_name = "FILE")]
    pub head: Option<PathBuf>,
    /// Write every prediction (of the first seed) as a PNG mask and as a side-by-side overlay with a
    /// legend; of several models, each to a folder of its own in FOLDER
    #[arg(long, value_name = "FOLDER")]
    pub save_predictions: Option<PathBuf>,
    /// Train anew instead of going on from the state of an earlier run
    #[arg(long)]
    pub restart: bool,
    /// Do not read all masks before training
    #[arg(long)]
    pub skip_check: bool,
    #[command(flatten)]
    pub runtime: RuntimeArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Which images and masks.
#[derive(Debug, Args)]
pub struct DataArgs {
    /// Data set name (see `radio-eval datasets`), or a folder or tar file in the layout of ADE20k,
    /// VOC or Cityscapes, or with images/ and masks/ (default: ade20k, or what --images names)
    #[arg(long)]
    pub data: Option<String>,
    /// Image folder of any name (train split, or both with --train-share)
    #[arg(long)]
    pub images: Option<PathBuf>,
    /// Mask folder to --images
    #[arg(long)]
    pub masks: Option<PathBuf>,
    /// Image folder of the val split
    #[arg(long)]
    pub val_images: Option<PathBuf>,
    /// Mask folder of the val split
    #[arg(long)]
    pub val_masks: Option<PathBuf>,
    /// Names of the train images, one a line (VOC)
    #[arg(long)]
    pub train_list: Option<PathBuf>,
    /// Names of the val images, one a line
    #[arg(long)]
    pub val_list: Option<PathBuf>,
    /// What image names end with besides the name shared with the mask (_leftImg8bit)
    #[arg(long, default_value = "")]
    pub image_suffix: String,
    /// What mask names end with (_gtFine_labelIds)
    #[arg(long, default_value = "")]
    pub mask_suffix: String,
    /// Class list: a file (`VALUE<TAB>name`, or one name a line), or voc, cityscapes, coco-panoptic
    /// (default: objectInfo*.txt, classes.tsv, classes.txt or labels.txt beside the images)
    #[arg(long)]
    pub classes: Option<String>,
    /// Mask value 0 is no class and class c is stored as c + 1
    #[arg(long)]
    pub reduce_zero_label: Option<bool>,
    /// Cut the only split there is: this share for training, the rest for evaluation
    #[arg(long)]
    pub train_share: Option<f64>,
}

/// Values of the recipe; what is not given comes from --recipe, else from the preset.
#[derive(Debug, Args, Serialize)]
#[command(next_help_heading = "Recipe")]
pub struct RecipeArgs {
    /// Iterations of training
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iterations: Option<u64>,
    /// Images per iteration
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<usize>,
    /// AdamW: largest learning rate
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    /// AdamW: decay of the gradient's running mean
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta1: Option<f64>,
    /// AdamW: decay of the running mean of its square
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta2: Option<f64>,
    /// AdamW: weight decay
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    /// Learning-rate curve
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub curve: Option<Curve>,
    /// Iterations of warm-up
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup: Option<u64>,
    /// Share of the learning rate at the start of the warm-up
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_factor: Option<f64>,
    /// Exponent of the poly curve
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power: Option<f64>,
    /// Seeds of heads; the metric is their mean
    #[arg(long, value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seeds: Option<Vec<u64>>,
    /// Features computed once, or fresh augmented crops
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub features: Option<Features>,
    /// Side of crops and windows, or of squashed images, in pixels
    #[arg(long, alias = "crop")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolution: Option<i64>,
    /// Cached: side of the label maps of the loss
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_size: Option<i64>,
    /// Cached: train images used, spread evenly (0: all)
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_limit: Option<usize>,
    /// Live: long and short edge before the random ratio
    #[arg(long, num_args = 2, value_names = ["LONG", "SHORT"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<Vec<usize>>,
    /// Live: range of the random ratio
    #[arg(long, num_args = 2, value_names = ["LOW", "HIGH"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<Vec<f64>>,
    /// Live: largest share of one class in a crop
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cat_max_ratio: Option<f64>,
    /// Live: photometric distortion
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub photometric: Option<bool>,
    /// How test images go through the network
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inference: Option<Inference>,
    /// Long and short edge of test images
    #[arg(long, num_args = 2, value_names = ["LONG", "SHORT"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_scale: Option<Vec<usize>>,
    /// Slide: distance of windows (default: 2/3 of the resolution)
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stride: Option<i64>,
    /// Iterations between saved states
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_every: Option<u64>,
    /// Iterations between looks at the val split, kept in the record (0: none)
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_every: Option<u64>,
}

impl DataArgs {
    /// What the data set is called: folders named one by one need no name.
    fn name(&self) -> String {
        let images = self.images.as_ref().or(self.val_images.as_ref());
        match (&self.data, images) {
            (Some(data), _) => data.clone(),
            (None, Some(images)) => images.display().to_string(),
            (None, None) => "ade20k".to_string(),
        }
    }

    fn options(&self) -> OpenOptions {
        OpenOptions {
            images: self.images.clone(),
            masks: self.masks.clone(),
            val_images: self.val_images.clone(),
            val_masks: self.val_masks.clone(),
            train_list: self.train_list.clone(),
            val_list: self.val_list.clone(),
            image_suffix: self.image_suffix.clone(),
            mask_suffix: self.mask_suffix.clone(),
            classes: self.classes.clone(),
            reduce_zero_label: self.reduce_zero_label,
            train_share: self.train_share,
        }
    }
}

pub fn run(args: &Ade20kArgs, progress: bool) -> anyhow::Result<Outcome> {
    let runtime = args.runtime.runtime()?;
    let mut overrides: Vec<Map<String, Value>> = Vec::new();
    if let Some(path) = &args.recipe {
        overrides.push(probe::read(path)?);
    }
    if let Value::Object(flags) = serde_json::to_value(&args.values)? {
        overrides.push(flags);
    }
    let recipe = Recipe::new(args.preset, &overrides)?;
    output::prepare(&args.output.out)?;
    let data = segmentation::open(&args.data.name(), &args.data.options())?;
    let mut records: Vec<Record> = Vec::new();
    let specs = args.model.specs()?;
    for spec in &specs {
        let model = resolve(spec, &args.model.build_options(&runtime))?;
        let options = Options {
            adaptor: args.adaptor.clone(),
            head: args.head.clone(),
            predictions: args
                .save_predictions
                .as_ref()
                .map(|folder| match specs.len() {
                    1 => folder.clone(),
                    _ => folder.join(&model.name),
                }),
            restart: args.restart,
            skip_check: args.skip_check,
            show: progress,
        };
        let finished = probe_run(&model, &data, recipe.clone(), &options, &runtime)?;
        let path = finished.write(&args.output.out, &data)?;
        tracing::info!("wrote {}", path.display());
        records.push(finished.record);
    }
    output::print("Linear-probe segmentation", &records, &args.output)?;
    Ok(Outcome::Done)
}
