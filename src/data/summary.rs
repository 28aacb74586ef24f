//! What a data set holds and whether it is whole: `radio-eval datasets`.

use super::brace;
use super::catalogue::{self, DatasetEntry, DatasetTask};
use super::classification::{self, is_image};
use super::fingerprint::fingerprint;
use super::paths;
use super::segmentation;
use super::source::Source;
use super::tree::FileTree;
use super::whole::unreadable;
use crate::config::DatasetLayout;
use crate::hash::remembered;
use crate::{Error, Result};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Samples of a split whose keys, labels and sizes make its sample fingerprint.
const FINGERPRINTED: usize = 100;

/// One split as found.
#[derive(Debug, Clone, Serialize)]
pub struct SplitSummary {
    pub name: String,
    pub samples: u64,
    /// What the catalogue says.
    pub expected: Option<u64>,
    /// Over at most 100 samples spread evenly.
    pub fingerprint: String,
    /// Fewest and most images of a class.
    pub per_class: Option<(u64, u64)>,
}

/// One data set as found.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    pub name: String,
    pub task: DatasetTask,
    pub path: PathBuf,
    pub classes: Option<usize>,
    pub splits: Vec<SplitSummary>,
    /// Strange, but usable.
    pub warnings: Vec<String>,
    /// What differs from the catalogue, or is damaged.
    pub problems: Vec<String>,
    /// What was looked at: no problem says something about these only.
    pub checked: Vec<String>,
}

/// Opens `spec`, a name or a path, and counts; with `thorough` every picture is decoded, and every
/// mask and every known checksum is checked.
pub fn summarise(spec: &str, layout: Option<DatasetLayout>, thorough: bool) -> Result<Summary> {
    let catalogue = catalogue::load()?;
    let entry = catalogue.find(spec)?;
    let mut summary = match entry.map(|e| e.config.task) {
        Some(DatasetTask::Segmentation) => segmentation_set(spec, thorough)?,
        Some(DatasetTask::Classification) => classification_set(spec, layout, thorough)?,
        Some(_) => other_set(entry, thorough)?,
        // A folder pair of images and masks, whole or not, or else classes.
        None => match segmentation::recognises(Path::new(paths::expand(spec)?.as_ref())) {
            true if layout.is_none() => segmentation_set(spec, thorough)?,
            _ => classification_set(spec, layout, thorough)?,
        },
    };
    if let Some(entry) = entry {
        compare(&mut summary, entry);
        if thorough {
            checksums(&mut summary, entry)?;
        }
    }
    Ok(summary)
}

fn split_summary(name: &str, source: &dyn Source, classes: usize) -> SplitSummary {
    let len = source.len();
    let chosen: Vec<usize> = match len <= FINGERPRINTED {
        true => (0..len).collect(),
        false => (0..FINGERPRINTED)
            .map(|i| i * len / FINGERPRINTED)
            .collect(),
    };
    let labelled = len > 0 && source.label(0).is_some();
    let counts = labelled.then(|| classification::counts(source, classes));
    SplitSummary {
        name: name.to_string(),
        samples: len as u64,
        expected: None,
        fingerprint: fingerprint(source, &chosen),
        per_class: counts.and_then(|counts| {
            let fewest = *counts.iter().min()?;
            Some((fewest as u64, *counts.iter().max()? as u64))
        }),
    }
}

fn classification_set(
    spec: &str,
    layout: Option<DatasetLayout>,
    thorough: bool,
) -> Result<Summary> {
    let set = classification::look_into(
        spec,
        &classification::OpenOptions {
            layout,
            ..Default::default()
        },
    )?;
    let classes = set.classes.len();
    let (mut problems, mut checked) = (Vec::new(), Vec::new());
    let mut splits = Vec::new();
    for (name, source) in [("train", &set.train), ("val", &set.val)] {
        let Some(source) = source else { continue };
        splits.push(split_summary(name, source.as_ref(), classes));
        if thorough {
            problems.extend(pictures(name, source.as_ref(), &mut checked)?);
        }
    }
    let one_class = match &set.val {
        Some(_) => set.need_val().err(),
        None => set.need_train().err(),
    };
    problems.extend(one_class.map(|error| error.to_string()));
    Ok(Summary {
        name: set.name,
        task: DatasetTask::Classification,
        path: set.path,
        classes: Some(classes),
        splits,
        warnings: set.warnings,
        problems,
        checked,
    })
}

/// Decodes every picture of a split and notes that.
fn pictures(name: &str, source: &dyn Source, checked: &mut Vec<String>) -> Result<Vec<String>> {
    checked.push(format!("{} pictures of {name} decoded", source.len()));
    unreadable(source)
}

fn segmentation_set(spec: &str, thorough: bool) -> Result<Summary> {
    let set = segmentation::look_into(spec, &segmentation::OpenOptions::default())?;
    let (mut problems, mut checked) = (Vec::new(), Vec::new());
    let mut warnings = set.warnings;
    let mut splits = Vec::new();
    for (name, pairs) in [("train", &set.train), ("val", &set.val)] {
        let Some(pairs) = pairs else { continue };
        splits.push(split_summary(name, pairs, set.rule.classes.len()));
        if !thorough {
            continue;
        }
        problems.extend(pictures(name, pairs, &mut checked)?);
        checked.push(format!("{} masks of {name} read", pairs.len()));
        match segmentation::check::check(pairs) {
            Ok(found) => warnings.extend(found.missing(name, &set.rule)),
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Err(error) => problems.push(error.to_string()),
        }
    }
    Ok(Summary {
        name: set.name,
        task: DatasetTask::Segmentation,
        path: set.path,
        classes: Some(set.rule.classes.len()),
        splits,
        warnings,
        problems,
        checked,
    })
}

/// Data sets that later tasks read: images are counted, annotation files must be there.
fn other_set(entry: Option<&DatasetEntry>, thorough: bool) -> Result<Summary> {
    let entry = entry.ok_or_else(|| Error::usage("not a data set of the catalogue"))?;
    let root = entry.root()?;
    let (mut problems, mut checked) = (Vec::new(), Vec::new());
    let mut splits = Vec::new();
    for (name, split) in &entry.config.splits {
        let files = brace::expand(&root.join(&split.path))?;
        let mut images = Images {
            trees: Vec::new(),
            files: Vec::new(),
        };
        for file in files {
            images.add(FileTree::open(&file)?);
        }
        if let Some(annotations) = &split.annotations {
            let inside = images.trees.iter().any(|t| t.find(annotations).is_some());
            if !inside && !root.join(annotations).is_file() {
                problems.push(format!("{}: is missing", root.join(annotations).display()));
            }
        }
        splits.push(split_summary(name, &images, 0));
        if thorough {
            problems.extend(pictures(name, &images, &mut checked)?);
        }
    }
    Ok(Summary {
        name: entry.name.clone(),
        task: entry.config.task,
        path: root,
        classes: None,
        splits,
        warnings: Vec::new(),
        problems,
        checked,
    })
}

/// Every image of some trees.
struct Images {
    trees: Vec<FileTree>,
    /// (tree, file)
    files: Vec<(usize, usize)>,
}

impl Images {
    fn add(&mut self, tree: FileTree) {
        let place = self.trees.len();
        let images = tree.names().enumerate().filter(|(_, name)| is_image(name));
        self.files.extend(images.map(|(file, _)| (place, file)));
        self.trees.push(tree);
    }
}

impl Source for Images {
    fn describe(&self) -> String {
        self.trees
            .first()
            .map_or(String::new(), |t| t.root().display().to_string())
    }

    fn len(&self) -> usize {
        self.files.len()
    }

    fn key(&self, index: usize) -> &str {
        let (tree, file) = self.files[index];
        self.trees[tree].name(file)
    }

    fn read(&self, index: usize) -> Result<Vec<u8>> {
        let (tree, file) = self.files[index];
        self.trees[tree].read(file)
    }

    fn size(&self, index: usize) -> u64 {
        let (tree, file) = self.files[index];
        self.trees[tree].size(file)
    }
}

/// Notes where counts differ from the catalogue's.
fn compare(summary: &mut Summary, entry: &DatasetEntry) {
    if let (Some(found), Some(expected)) = (summary.classes, entry.config.classes)
        && found != expected as usize
    {
        summary
            .problems
            .push(format!("{found} classes, expected {expected}"));
    }
    for split in &mut summary.splits {
        split.expected = entry.split(&split.name).and_then(|s| s.samples);
        // A conversation may have no picture, a picture several conversations.
        let comparable = entry.config.task != DatasetTask::Llava;
        if let Some(expected) = split.expected.filter(|&n| comparable && n != split.samples) {
            summary.problems.push(format!(
                "split {} has {} images, expected {expected}",
                split.name, split.samples
            ));
        }
        if split.expected.is_some() && comparable {
            summary
                .checked
                .push(format!("the number of images of {}", split.name));
        }
    }
}

fn checksums(summary: &mut Summary, entry: &DatasetEntry) -> Result<()> {
    for (file, expected) in entry.checksums() {
        let path = summary.path.join(file);
        let found = remembered::of_file(&path)?;
        if !found.eq_ignore_ascii_case(expected) {
            summary.problems.push(format!(
                "{}: SHA-256 is {found}, expected {expected}; fetch the file again",
                path.display()
            ));
        }
    }
    let count = entry.checksums().len();
    if count > 0 {
        summary.checked.push(format!("{count} checksums"));
    }
    Ok(())
}
