//! `radio-eval segment-text`: segmentation by class names, without training.

use super::common::{ModelArgs, OutputArgs, RuntimeArgs};
use super::results::Results;
use super::{Outcome, numbers};
use crate::data::segmentation::{self, OpenOptions, label_sets};
use crate::models::{Resolved, resolve};
use crate::tasks::segment_text::method::{Chosen, Method};
use crate::tasks::segment_text::protocol::{Changes, Fit, Protocol};
use crate::tasks::segment_text::{self, Options, Shown};
use crate::tasks::zero_shot::Templates;
use crate::{Error, Result};
use clap::Args;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Segment images by class names alone and report mIoU; or by own words on own pictures
///
/// Class names become text embeddings, every patch is compared with them, and each pixel gets the
/// class that is nearest. Nothing is trained. `--query "a red star, sky" IMAGES...` does the same
/// with own words, and draws segmentation and heat maps.
#[derive(Debug, Args)]
pub struct SegmentTextArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// The adaptor whose text the patches are compared with (needed where a student has several)
    #[arg(long)]
    pub adaptor: Option<String>,
    #[command(flatten)]
    pub data: DataArgs,
    /// Own words instead of a data set: classes with commas between them, names of one class with |
    #[arg(long, value_name = "WORDS", requires = "pictures", conflicts_with_all = ["data", "images", "classnames", "names"])]
    pub query: Option<String>,
    /// Pictures for --query: files, folders or tar files
    #[arg(value_name = "IMAGES", requires = "query")]
    pub pictures: Vec<PathBuf>,
    #[command(flatten)]
    pub settings: SettingArgs,
    /// Weights with the text tower (default: the model's own file, or its teacher's)
    #[arg(long, value_name = "FILE")]
    pub text_weights: Option<PathBuf>,
    /// Write every prediction as a PNG label map and as a side-by-side overlay with a legend; of
    /// several models, each to a folder of its own in FOLDER (--query: default OUT/pictures)
    #[arg(long, value_name = "FOLDER")]
    pub save_predictions: Option<PathBuf>,
    /// Start anew instead of going on from what an earlier run finished
    #[arg(long)]
    pub restart: bool,
    /// Do not read all masks first
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
    /// ade20k, voc20, voc21, context59, context60, coco-object, coco-stuff, cityscapes, ade-mini, or
    /// a folder or tar file in the layout of ADE20k, VOC or Cityscapes, or with images/ and masks/
    /// (default: ade20k, or what --images names)
    #[arg(long)]
    pub data: Option<String>,
    /// Image folder of any name
    #[arg(long, requires = "masks")]
    pub images: Option<PathBuf>,
    /// Mask folder to --images
    #[arg(long, requires = "images")]
    pub masks: Option<PathBuf>,
    /// Names of the images, one a line (VOC's val.txt)
    #[arg(long)]
    pub list: Option<PathBuf>,
    /// What image names end with besides the name shared with the mask (_leftImg8bit)
    #[arg(long, default_value = "")]
    pub image_suffix: String,
    /// What mask names end with (_gtFine_labelTrainIds)
    #[arg(long, default_value = "")]
    pub mask_suffix: String,
    /// Which mask value is which class: a file (`VALUE<TAB>name`, or one name a line), or voc20,
    /// voc21, context59, context60, coco-object, coco-stuff, voc, cityscapes, cityscapes-trainids,
    /// coco-panoptic (default: a list beside the images, else --classnames)
    #[arg(long)]
    pub classes: Option<String>,
    /// Mask value 0 is no class and class c is stored as c + 1
    #[arg(long)]
    pub reduce_zero_label: Option<bool>,
    /// What the classes are called in prompts: one class a line, names with `, ` or `; ` between
    /// them, in the order of the classes
    #[arg(long, value_name = "FILE")]
    pub classnames: Option<PathBuf>,
    /// Whose class names of a known data set (default: the protocol's)
    #[arg(long, value_name = "WHOSE", value_parser = label_sets::VARIANTS, conflicts_with = "classnames")]
    pub names: Option<String>,
}

/// What decides labels.
#[derive(Debug, Args)]
pub struct SettingArgs {
    /// How patches are compared with text (default: radseg for RADIO, plain for E-RADIO, maskclip
    /// for CLIP, siglip-value for SigLIP)
    #[arg(long, value_enum)]
    pub method: Option<Method>,
    /// Sizes, windows, scales, thresholds and names as a repository's configs have them; single
    /// flags change them (default: radseg-mid for students, sclip for teachers, mini for ade-mini)
    #[arg(long, value_enum)]
    pub protocol: Option<Protocol>,
    /// Pixels of the shorter side
    #[arg(long, value_parser = numbers::side())]
    pub short_side: Option<i64>,
    /// The most pixels of the longer side
    #[arg(long, value_parser = numbers::side())]
    pub long_side: Option<i64>,
    /// Windows of CROP pixels every STRIDE (default: half of it), or `none` for the whole picture
    #[arg(long, value_name = "CROP[/STRIDE]", value_parser = parse_window)]
    pub crop: Option<WindowChoice>,
    /// What a student's sides are rounded up to (default: stride, as RADSeg does)
    #[arg(long, value_enum)]
    pub fit: Option<Fit>,
    /// What cosines are multiplied by before the softmax
    #[arg(long, value_parser = numbers::positive)]
    pub logit_scale: Option<f64>,
    /// Leave out classes whose probability is below T in all of the picture; 0: none (students)
    #[arg(long, value_name = "T", value_parser = numbers::not_negative)]
    pub denoise: Option<f64>,
    /// Pixels whose best probability is below T are background (--query: none of the words); 0: off
    #[arg(long, value_name = "T", value_parser = numbers::not_negative)]
    pub prob_threshold: Option<f64>,
    /// Leave out classes with at most this share of the foreground; 0: none (teachers)
    #[arg(long, value_name = "SHARE", value_parser = numbers::not_negative)]
    pub area_threshold: Option<f64>,
    /// Scale of SCRA (radseg) [default: 10]
    #[arg(long, value_parser = numbers::positive)]
    pub scra_scale: Option<f64>,
    /// Scale of SCGA (radseg) [default: 10]
    #[arg(long, value_parser = numbers::positive)]
    pub scga_scale: Option<f64>,
    /// Patches over which neighbours count (naradio: 7, naclip: 5)
    #[arg(long, value_parser = numbers::positive)]
    pub sigma: Option<f64>,
    /// Prompt templates: openai (80; the default), maskclip (85), tcl (9), simple (7), base (1), mini
    /// (1; ade-mini's default), or a file with `{}` for the name
    #[arg(long, value_name = "SET or FILE")]
    pub templates: Option<String>,
}

/// Windows, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowChoice(Option<(i64, i64)>);

fn parse_window(text: &str) -> Result<WindowChoice, String> {
    const USE: &str = "use CROP or CROP/STRIDE in pixels, like 224/112, or none";
    if text == "none" {
        return Ok(WindowChoice(None));
    }
    let side = |text: &str| match text.parse() {
        Ok(n @ 1..=numbers::MAX_SIDE) => Ok(n),
        _ => Err(USE.to_string()),
    };
    let (crop, stride) = match text.split_once('/') {
        Some((crop, stride)) => (side(crop)?, side(stride)?),
        None => (side(text)?, (side(text)? / 2).max(1)),
    };
    match stride <= crop {
        true => Ok(WindowChoice(Some((crop, stride)))),
        false => Err(
            "the stride is larger than the window: pixels between windows would be seen by none"
                .into(),
        ),
    }
}

impl DataArgs {
    fn name(&self) -> String {
        match (&self.data, &self.images) {
            (Some(data), _) => data.clone(),
            (None, Some(images)) => images.display().to_string(),
            (None, None) => "ade20k".to_string(),
        }
    }

    fn options(&self) -> OpenOptions {
        OpenOptions {
            val_images: self.images.clone(),
            val_masks: self.masks.clone(),
            val_list: self.list.clone(),
            image_suffix: self.image_suffix.clone(),
            mask_suffix: self.mask_suffix.clone(),
            classes: self.classes.clone(),
            fallback_classes: self.classnames.clone(),
            reduce_zero_label: self.reduce_zero_label,
            ..OpenOptions::default()
        }
    }
}

impl SegmentTextArgs {
    fn options(&self, show: bool) -> Result<Options> {
        let settings = &self.settings;
        let side = |side: Option<i64>| side.map(|side| side as usize);
        Ok(Options {
            adaptor: self.adaptor.clone(),
            method: settings.method,
            chosen: Chosen {
                scra_scale: settings.scra_scale,
                scga_scale: settings.scga_scale,
                sigma: settings.sigma,
            },
            changes: Changes {
                protocol: settings.protocol,
                short_side: side(settings.short_side),
                long_side: side(settings.long_side),
                window: settings.crop.map(|choice| choice.0),
                fit: settings.fit,
                logit_scale: settings.logit_scale,
                denoise: settings.denoise,
                prob_threshold: settings.prob_threshold,
                area_threshold: settings.area_threshold,
                names: self.data.names.clone(),
            },
            templates: settings
                .templates
                .as_deref()
                .map(Templates::open)
                .transpose()?,
            classnames: self.data.classnames.clone(),
            text_weights: self.text_weights.clone(),
            predictions: None,
            restart: self.restart,
            skip_check: self.skip_check,
            show,
        })
    }
}

pub fn run(args: &SegmentTextArgs, progress: bool) -> anyhow::Result<Outcome> {
    let runtime = args.runtime.runtime()?;
    let mut results = Results::begin(
        "Text-driven segmentation",
        &args.output.out,
        &args.output.tables,
    )?;
    let options = args.options(progress)?;
    let data = match args.query {
        Some(_) => None,
        None => Some(segmentation::open(&args.data.name(), &args.data.options())?),
    };
    if let Some(data) = &data {
        results.already_warned(&data.warnings);
    }
    let mut shown = Vec::new();
    let outcome = args.model.specs()?.iter().try_for_each(|spec| {
        let build = args
            .model
            .build_options(runtime.device, args.runtime.precision);
        let model = resolve(spec, &build)?;
        let runtime = runtime.running_in(model.backbone.info().precision);
        let folder = args.save_predictions.as_deref();
        match (&data, &args.query) {
            (Some(data), _) => {
                let options = Options {
                    predictions: folder.map(|folder| predictions_folder(args, folder, &model)),
                    ..options.clone()
                };
                results.add(segment_text::run(&model, data, &options, &runtime)?)
            }
            (None, Some(query)) => {
                let usual = args.output.out.join("pictures");
                let folder = predictions_folder(args, folder.unwrap_or(&usual), &model);
                let (finished, found) = segment_text::query(
                    &model,
                    query,
                    &args.pictures,
                    &folder,
                    &options,
                    &runtime,
                )?;
                shown.push((model.name.clone(), found));
                results.add(finished)
            }
            (None, None) => Err(Error::usage(
                "name a data set with --data, or words with --query",
            )),
        }
    });
    if args.query.is_some() && !args.output.tables.json {
        outcome?;
        std::io::stdout().write_all(words(&shown).as_bytes())?;
        return Ok(Outcome::Done);
    }
    results.end(outcome)
}

/// `folder` itself where there is one model; else one of its own inside.
fn predictions_folder(args: &SegmentTextArgs, folder: &Path, model: &Resolved) -> PathBuf {
    match args.model.models.len() {
        1 => folder.to_path_buf(),
        _ => folder.join(&model.name),
    }
}

/// A line per picture and word.
fn words(shown: &[(String, Vec<Shown>)]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(UTF8_FULL_CONDENSED.with_rounded_corners());
    table.set_header(["model", "image", "word", "pixels %", "best probability %"]);
    let mut places = Vec::new();
    for (model, pictures) in shown {
        for picture in pictures {
            for (word, share, probability) in &picture.words {
                table.add_row([
                    model.clone(),
                    picture.image.display().to_string(),
                    word.clone(),
                    format!("{share:.1}"),
                    format!("{probability:.1}"),
                ]);
            }
            places.push(format!(
                "{}\n{}",
                picture.overlay.display(),
                picture.labels.display()
            ));
        }
    }
    format!("{table}\n{}\n", places.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_by_side_and_stride() {
        let window = |text| parse_window(text).map(|choice| choice.0);
        assert_eq!(window("224/112"), Ok(Some((224, 112))));
        assert_eq!(window("336"), Ok(Some((336, 168))));
        assert_eq!(window("none"), Ok(None));
        for wrong in ["0", "224/", "112/224", "x"] {
            assert!(window(wrong).is_err(), "{wrong}");
        }
    }
}
