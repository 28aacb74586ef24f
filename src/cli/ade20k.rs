//! `radio-eval ade20k`: linear-probe segmentation.

use super::Outcome;
use super::common::{ModelArgs, OutputArgs, RuntimeArgs};
use super::recipe::RecipeArgs;
use super::results::Results;
use crate::data::segmentation::{self, OpenOptions};
use crate::models::{Resolved, resolve};
use crate::tasks::segmentation::{Options, run as probe_run};
use clap::Args;
use std::path::{Path, PathBuf};

/// Train BatchNorm + 1x1 convolution on frozen spatial features and report mIoU, as mmseg does
#[derive(Debug, Args)]
pub struct Ade20kArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub data: DataArgs,
    #[command(flatten)]
    pub recipe: RecipeArgs,
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
    let recipe = args.recipe.recipe()?;
    let mut results = Results::begin(
        "Linear-probe segmentation",
        &args.output.out,
        &args.output.tables,
    )?;
    let data = segmentation::open(&args.data.name(), &args.data.options())
        .map_err(|e| args.model.with_missing_weights(e))?;
    results.already_warned(&data.warnings);
    let specs = args.model.specs()?;
    let outcome = specs.iter().try_for_each(|spec| {
        let options = args
            .model
            .build_options(runtime.device, args.runtime.precision);
        let mut model = resolve(spec, &options)?;
        let runtime = runtime.running_in(model.backbone.info().precision);
        args.model.for_each_length(&mut model, |model| {
            let options = Options {
                adaptor: args.adaptor.clone(),
                head: args.head.clone(),
                predictions: args
                    .save_predictions
                    .as_ref()
                    .map(|folder| predictions_folder(args, folder, model)),
                restart: args.restart,
                skip_check: args.skip_check,
                show: progress,
            };
            let finished = probe_run(model, &data, recipe.clone(), &options, &runtime)?;
            results.add(finished)
        })
    });
    results.end(outcome)
}

/// `folder` itself, where there is one model and one code length; else one of its own inside.
fn predictions_folder(args: &Ade20kArgs, folder: &Path, model: &Resolved) -> PathBuf {
    let folder = match args.model.models.len() {
        1 => folder.to_path_buf(),
        _ => folder.join(&model.name),
    };
    match (
        args.model.tokens.len(),
        model.backbone.info().settings.get("tokens"),
    ) {
        (0 | 1, _) | (_, None) => folder,
        (_, Some(tokens)) => folder.join(format!("{tokens}-tokens")),
    }
}
