//! Data sets of images with a mask of class numbers each: ADE20k and its like.

pub mod check;
mod class_list;
pub mod classes;
mod locate;
pub mod mask;
mod pairs;

pub use crate::data::annotation::{IGNORE, LabelMap};
pub use classes::{LabelRule, MaskClass};
pub use locate::recognises;
pub use pairs::PairSet;

use crate::data::paths;
use crate::files::text;
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use unicode_normalization::UnicodeNormalization;

/// A data set ready to be read.
pub struct Segmentation {
    /// Name in the catalogue, or the folder's or file's.
    pub name: String,
    pub path: PathBuf,
    pub rule: Arc<LabelRule>,
    pub train: Option<PairSet>,
    pub val: Option<PairSet>,
    /// Sentences about what was guessed.
    pub warnings: Vec<String>,
}

/// What may be said about a data set besides where it is.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// A folder pair of any names, instead of a recognised layout; images of the train split, or
    /// of both with `train_share`.
    pub images: Option<PathBuf>,
    pub masks: Option<PathBuf>,
    pub val_images: Option<PathBuf>,
    pub val_masks: Option<PathBuf>,
    /// Names (one a line) of the images of a split, where both lie in one folder (VOC).
    pub train_list: Option<PathBuf>,
    pub val_list: Option<PathBuf>,
    /// What file names carry besides the name both sides share (`_leftImg8bit`).
    pub image_suffix: String,
    pub mask_suffix: String,
    /// Class list: a file, or a shipped one (`voc`, `cityscapes`, `coco-panoptic`).
    pub classes: Option<String>,
    /// Class c is stored as c + 1 and 0 is no class; `None`: as the class list says.
    pub reduce_zero_label: Option<bool>,
    /// Where there is one split only: this share of it, the first in order of names, is for
    /// training, the rest for evaluation.
    pub train_share: Option<f64>,
}

/// Opens a data set of the catalogue by its name, or a folder or tar file; what was guessed is
/// told on the terminal.
pub fn open(spec: &str, options: &OpenOptions) -> Result<Segmentation> {
    let data = look_into(spec, options)?;
    for warning in &data.warnings {
        tracing::warn!("{warning}");
    }
    Ok(data)
}

/// As [`open`], but what was guessed is only in the result.
pub fn look_into(spec: &str, options: &OpenOptions) -> Result<Segmentation> {
    let found = locate::locate(spec, options)?;
    let (rule, warning) = class_list::find(&found, options)?;
    let mut warnings: Vec<String> = warning.into_iter().collect();
    for tree in &found.trees {
        if let Some(left_out) = tree.left_out().sentence() {
            warnings.push(format!("{}: not read: {left_out}", tree.root().display()));
        }
    }
    let rule = Arc::new(rule);
    let pair = |sides: Option<locate::Sides>, name: &str, list: Option<&Path>| {
        let Some(sides) = sides else { return Ok(None) };
        let list = list.map(read_list).transpose()?;
        let description = format!("{}:{name}", found.name);
        PairSet::new(
            description,
            sides.images,
            sides.masks,
            rule.clone(),
            list.as_deref(),
        )
        .map(Some)
    };
    let mut train = pair(found.train.clone(), "train", options.train_list.as_deref())?;
    let mut val = pair(found.val.clone(), "val", options.val_list.as_deref())?;
    if let Some(share) = options.train_share {
        let only = match (train, val) {
            (Some(only), None) | (None, Some(only)) => only,
            _ => {
                return Err(Error::usage(
                    "--train-share cuts a data set that has one split; this one has a train and a val split",
                ));
            }
        };
        let (first, rest) = cut(&only, share, &found.name)?;
        (train, val) = (Some(first), Some(rest));
    }
    Ok(Segmentation {
        name: found.name,
        path: found.path,
        rule,
        train,
        val,
        warnings,
    })
}

fn cut(set: &PairSet, share: f64, name: &str) -> Result<(PairSet, PairSet)> {
    use crate::data::Source;
    let len = set.len();
    let at = (len as f64 * share).round() as usize;
    if !(share > 0.0 && share < 1.0) || at == 0 || at == len {
        return Err(Error::usage(format!(
            "--train-share {share} leaves one side of {len} images empty; use a share between 0 and 1"
        )));
    }
    let (train, val) = (format!("{name}:train"), format!("{name}:val"));
    Ok((set.subrange(train, 0..at), set.subrange(val, at..len)))
}

fn read_list(path: &Path) -> Result<Vec<String>> {
    let text = text::read(&paths::expand_path(path)?)?;
    let names = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(names.map(|name| name.nfc().collect()).collect())
}

impl Segmentation {
    /// The split, or an error that says what to do.
    pub fn need_train(&self) -> Result<&PairSet> {
        self.train.as_ref().ok_or_else(|| {
            Error::file(
                &self.path,
                "has no train split; name one with --images and --masks, or cut the only split with --train-share 0.7",
            )
        })
    }

    /// The split, or an error that says what to do.
    pub fn need_val(&self) -> Result<&PairSet> {
        self.val.as_ref().ok_or_else(|| {
            Error::file(
                &self.path,
                "has no val split; name one with --val-images and --val-masks, or cut the only split with --train-share 0.7",
            )
        })
    }
}
