//! Data sets in COCO's format: a JSON file of images, categories and annotated objects, beside a
//! folder or tar of pictures (spec/coco.md).
//!
//! A split is opened by itself ([`open`]), since the train split's file is large and most tasks read
//! the val split only.

mod file;
mod locate;
pub mod mask;
mod set;

pub use file::Category;
pub use set::CocoSet;

use crate::Result;
use std::path::PathBuf;

/// Which split of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    Train,
    Val,
}

impl Split {
    /// As records and `datasets.toml` name it.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Val => "val",
        }
    }

    /// What its files and folders are called: COCO, Roboflow, Ultralytics.
    fn words(self) -> &'static [&'static str] {
        match self {
            Split::Train => &["train"],
            Split::Val => &["val"],
        }
    }
}

/// What may be said about a split besides where the data set is.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// Folder or tar of the pictures, where they are not beside the annotations.
    pub images: Option<PathBuf>,
    /// The annotation file, where it is not in the data set's folder.
    pub annotations: Option<PathBuf>,
}

/// Opens one split of a data set of the catalogue by its name, or of a folder, a tar file or a
/// COCO JSON file. What was guessed is in [`CocoSet::warnings`], and told on the terminal.
///
/// # Errors
/// No such data set or split, an annotation file that is not COCO's (with its line), or pictures
/// that it names and that are not there.
pub fn open(spec: &str, split: Split, options: &OpenOptions) -> Result<CocoSet> {
    let set = locate::locate(spec, split, options)?.read()?;
    for warning in &set.warnings {
        tracing::warn!("{warning}");
    }
    Ok(set)
}
