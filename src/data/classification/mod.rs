//! Data sets of images with one class each, in the layouts they come in.

pub mod classes;
mod contents;
mod draft;
mod folder;
mod locate;
pub mod mapping;
mod matching;
mod parquet;
mod webdataset;

pub use classes::Class;
pub use folder::{count_unread, is_image};

use crate::config::DatasetLayout;
use crate::data::paths;
use crate::data::source::Source;
use crate::files::text;
use crate::{Error, Result};
use draft::Draft;
use std::path::PathBuf;
use std::sync::Arc;

/// One of the two splits an evaluation uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    Train,
    Val,
}

impl Split {
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Val => "val",
        }
    }

    /// Folder (and file) names that mean this split, the likeliest first.
    pub fn folder_names(self) -> &'static [&'static str] {
        match self {
            Split::Train => &["train", "training"],
            Split::Val => &["val", "validation", "valid", "test"],
        }
    }

    /// Whether a folder of this name holds this split.
    pub fn is_named(self, name: &str) -> bool {
        self.folder_names().contains(&name)
    }
}

/// A data set ready to be read.
pub struct Classification {
    /// Name in the catalogue, or the folder's or file's.
    pub name: String,
    pub path: PathBuf,
    /// In index order.
    pub classes: Vec<Class>,
    pub train: Option<Arc<dyn Source>>,
    pub val: Option<Arc<dyn Source>>,
    /// Sentences about what looks wrong but can be evaluated (classes without images).
    pub warnings: Vec<String>,
}

/// What may be said about a data set besides where it is.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// `None`: recognised.
    pub layout: Option<DatasetLayout>,
    /// Where the train split is, when it is not beside the rest.
    pub train: Option<String>,
    /// Where the val split is, when it is not beside the rest.
    pub val: Option<String>,
    /// Classes of a flat split ([`mapping`]).
    pub mapping: Option<PathBuf>,
    /// Class list instead of the one beside the images.
    pub classes: Option<PathBuf>,
    /// Numbers as class identifiers are places in the order of the classes.
    pub labels_by_index: bool,
    /// Column of the images and of the classes, in parquet files and mappings; `None`: by name.
    pub image_column: Option<String>,
    pub label_column: Option<String>,
}

/// Opens a data set of the catalogue by its name, or any folder, tar file, shard pattern or
/// parquet file.
pub fn open(spec: &str, layout: Option<DatasetLayout>) -> Result<Classification> {
    open_with(
        spec,
        &OpenOptions {
            layout,
            ..OpenOptions::default()
        },
    )
}

/// As [`open`], with more said about the data set; what looks wrong is told on the terminal.
pub fn open_with(spec: &str, options: &OpenOptions) -> Result<Classification> {
    let data = look_into(spec, options)?;
    for warning in &data.warnings {
        tracing::warn!("{warning}");
    }
    Ok(data)
}

/// The images alone of shards, parquet files or any other layout, whatever their labels: of the val
/// split, or of the only one there is.
pub fn images(spec: &str) -> Result<Arc<dyn Source>> {
    let found = locate::locate(spec, &OpenOptions::default())?;
    let draft = found.val.or(found.train).filter(|d| !d.samples.is_empty());
    let mut draft = draft.ok_or_else(|| Error::file(&found.path, "holds no image"))?;
    if let Some(left_out) = draft.left_out.sentence() {
        tracing::warn!("{}: not read: {left_out}", draft.path.display());
    }
    draft.labels = draft::Labels::None;
    Ok(draft.source(found.name))
}

/// As [`open_with`], but what looks wrong is only in the result.
pub fn look_into(spec: &str, options: &OpenOptions) -> Result<Classification> {
    let mut found = locate::locate(spec, options)?;
    let given = match &options.classes {
        None => None,
        Some(path) => {
            let path = paths::expand_path(path)?;
            Some(classes::parse(&text::read(&path)?, &path)?)
        }
    };
    for draft in found.train.iter().chain(&found.val) {
        if draft.samples.is_empty() {
            return Err(Error::file(&draft.path, "holds no image"));
        }
    }
    let splits = [&mut found.train, &mut found.val];
    let matched = matching::number(splits, given, options.labels_by_index)?;
    let mut warnings = matched.notes;
    let mut finish = |split: Split, draft: Option<Draft>| -> Option<Arc<dyn Source>> {
        let draft = draft?;
        warnings.extend(draft.notes.iter().cloned());
        if let Some(left_out) = draft.left_out.sentence() {
            warnings.push(format!("{}: not read: {left_out}", draft.path.display()));
        }
        let source = draft.source(format!("{}:{}", found.name, split.name()));
        warnings.extend(empty_classes(source.as_ref(), &matched.classes));
        Some(source)
    };
    let train = finish(Split::Train, found.train);
    let val = finish(Split::Val, found.val);
    Ok(Classification {
        name: found.name,
        path: found.path,
        train,
        val,
        warnings,
        classes: matched.classes,
    })
}

impl Classification {
    /// The train split, or an error that says how to name one.
    pub fn need_train(&self) -> Result<&Arc<dyn Source>> {
        self.need(self.train.as_ref(), Split::Train)
    }

    /// The val split, or an error that says how to name one.
    pub fn need_val(&self) -> Result<&Arc<dyn Source>> {
        self.need(self.val.as_ref(), Split::Val)
    }

    fn need<'a>(
        &self,
        source: Option<&'a Arc<dyn Source>>,
        split: Split,
    ) -> Result<&'a Arc<dyn Source>> {
        let source = source.ok_or_else(|| {
            let name = split.name();
            Error::file(
                &self.path,
                format!(
                    "has no {name} split (looked for {}); name it with --{name}-data",
                    split.folder_names().join(", ")
                ),
            )
        })?;
        // With one class every answer is right, whatever the model: never a result.
        if let [only] = self.classes.as_slice() {
            return Err(Error::file(
                &self.path,
                format!(
                    "has one class only (`{}`), so that 100 % would be right whatever the model; name the folder above the class folders, or the one that has train/ and val/",
                    only.id
                ),
            ));
        }
        Ok(source)
    }
}

/// Images per class.
pub fn counts(source: &dyn Source, classes: usize) -> Vec<usize> {
    let mut counts = vec![0; classes];
    for label in (0..source.len()).filter_map(|i| source.label(i)) {
        counts[label as usize] += 1;
    }
    counts
}

fn empty_classes(source: &dyn Source, classes: &[Class]) -> Option<String> {
    if source.label(0).is_none() {
        return Some(format!("{} has no labels", source.describe()));
    }
    let counts = counts(source, classes.len());
    let empty: Vec<&str> = (0..classes.len())
        .filter(|&c| counts[c] == 0)
        .map(|c| classes[c].id.as_str())
        .collect();
    let first = empty.first()?;
    let more = match empty.len() {
        1 => String::new(),
        n => format!(" and {} more", n - 1),
    };
    Some(format!(
        "{} has no image of class {first}{more} ({} of {} classes are empty)",
        source.describe(),
        empty.len(),
        classes.len()
    ))
}
