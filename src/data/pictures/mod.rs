//! Pictures to be exported: what a LLaVA-style data file, a COCO file, a folder, shards or parquet
//! files name, each once.

mod json;

use super::catalogue::{self, DatasetTask};
use super::content::Stamp;
use super::source::Source;
use super::tree::FileTree;
use super::{brace, classification, files, paths};
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Missing files that an error names.
const NAMED: usize = 10;

/// Pictures in the order in which the data file first names them, else in order of names.
pub struct Pictures {
    pub name: String,
    pub path: PathBuf,
    pub source: Arc<dyn Source>,
    pub counts: Counts,
}

/// What a data file held besides pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// Records of the file; pictures, where there is no data file.
    pub records: usize,
    /// Records without a picture.
    pub text_only: usize,
    /// Mentions of a picture that an earlier record had named.
    pub repeated: usize,
    /// Pictures that are named and not there.
    pub missing: usize,
}

/// Opens `spec`: a name of the catalogue, a JSON or JSONL file (LLaVA conversations, COCO), a
/// folder or tar of pictures, a pattern of WebDataset shards, or parquet files.
///
/// `images`: where the pictures of a JSON file lie, a folder or a tar file (default: its folder).
///
/// # Errors
/// Nothing of the kind is there; more than `allowed` named pictures are missing (the error names
/// the first ten).
pub fn open(spec: &str, images: Option<&Path>, allowed: usize) -> Result<Pictures> {
    if let Some(entry) = catalogue::load()?.find(spec)? {
        return from_catalogue(entry, images, allowed);
    }
    let expanded = paths::expand(spec)?;
    let path = Path::new(expanded.as_ref());
    let images = images.map(paths::expand_path).transpose()?;
    let images = images.as_deref();
    if is_json(path) {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
        let images = images.or(folder).unwrap_or(Path::new("."));
        return from_json(name_of(path), path, images, allowed);
    }
    if let Some(images) = images {
        return Err(Error::usage(format!(
            "--images {} goes with a JSON file as --dataset; {spec} holds its own pictures",
            images.display()
        )));
    }
    let source = if brace::is_pattern(path) || has_ending(path, &["parquet"]) {
        classification::images(spec)?
    } else {
        files::open(path)?
    };
    Ok(all_of(name_of(path), path.to_path_buf(), source))
}

fn all_of(name: String, path: PathBuf, source: Arc<dyn Source>) -> Pictures {
    Pictures {
        name,
        path,
        counts: Counts {
            records: source.len(),
            ..Counts::default()
        },
        source,
    }
}

fn from_catalogue(
    entry: &catalogue::DatasetEntry,
    images: Option<&Path>,
    allowed: usize,
) -> Result<Pictures> {
    let split = (entry.config.splits.first()).map_or("train", |(name, _)| name.as_str());
    let place = entry
        .split_path(split)?
        .ok_or_else(|| Error::usage(format!("{} has no split", entry.name)))?;
    let annotations = entry.split(split).and_then(|s| s.annotations.clone());
    match (entry.config.task, annotations) {
        (DatasetTask::Llava, Some(annotations)) => {
            let file = entry.root()?.join(annotations);
            from_json(entry.name.clone(), &file, images.unwrap_or(&place), allowed)
        }
        _ => {
            let mut pictures = open(&place.display().to_string(), None, allowed)?;
            pictures.name = entry.name.clone();
            Ok(pictures)
        }
    }
}

fn from_json(name: String, file: &Path, images: &Path, allowed: usize) -> Result<Pictures> {
    let listed = json::read(file)?;
    let tree = FileTree::open(images)?;
    let files: Vec<Option<u32>> = (listed.names.iter())
        .map(|name| tree.find(name).and_then(|i| u32::try_from(i).ok()))
        .collect();
    let missing: Vec<&str> = (listed.names.iter().zip(&files))
        .filter(|(_, file)| file.is_none())
        .map(|(name, _)| name.as_str())
        .collect();
    if missing.len() > allowed {
        return Err(Error::file(
            images,
            missing_text(&missing, listed.names.len(), file, &tree),
        ));
    }
    for name in missing.iter().take(NAMED) {
        tracing::warn!(
            "{}: {name} is named by the data file and not there",
            images.display()
        );
    }
    let counts = Counts {
        records: listed.records,
        text_only: listed.text_only,
        repeated: listed.repeated,
        missing: missing.len(),
    };
    if listed.names.is_empty() {
        return Err(Error::file(file, "names no picture"));
    }
    Ok(Pictures {
        path: file.to_path_buf(),
        counts,
        source: Arc::new(ListedPictures {
            description: name.clone(),
            tree,
            files,
            names: listed.names,
        }),
        name,
    })
}

/// Says which pictures are missing and, where a file of the same name lies elsewhere, what to do.
fn missing_text(missing: &[&str], total: usize, file: &Path, tree: &FileTree) -> String {
    let named: Vec<&str> = missing.iter().take(NAMED).copied().collect();
    let more = match missing.len() - named.len() {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    let base = |name: &str| name.rsplit('/').next().unwrap_or(name).to_string();
    let elsewhere = missing.first().and_then(|name| {
        let wanted = base(name);
        let found = tree.names().find(|there| base(there) == wanted)?;
        Some(format!(
            "; {} is there: names are looked up below --images as the file writes them",
            tree.root().join(found).display()
        ))
    });
    format!(
        "lacks {} of the {total} pictures that {} names: {}{more}{}; name another folder or tar with --images, or leave out up to N with --skip-bad N",
        missing.len(),
        file.display(),
        named.join(", "),
        elsewhere.unwrap_or_default(),
    )
}

/// Pictures by name in a folder or tar file.
struct ListedPictures {
    description: String,
    tree: FileTree,
    /// Parallel to `names`; `None` for a picture that is not there.
    files: Vec<Option<u32>>,
    names: Vec<String>,
}

impl Source for ListedPictures {
    fn describe(&self) -> String {
        self.description.clone()
    }

    fn len(&self) -> usize {
        self.names.len()
    }

    fn key(&self, index: usize) -> &str {
        &self.names[index]
    }

    fn read(&self, index: usize) -> Result<Vec<u8>> {
        match self.files[index] {
            Some(file) => self.tree.read(file as usize),
            None => Err(Error::file(
                self.tree.root().join(&self.names[index]),
                "is named by the data file and not there",
            )),
        }
    }

    fn read_start(&self, index: usize, most: usize) -> Result<Vec<u8>> {
        match self.files[index] {
            Some(file) => self.tree.read_start(file as usize, most),
            None => self.read(index),
        }
    }

    fn stamp(&self, index: usize) -> Option<Stamp> {
        self.files[index].and_then(|file| self.tree.stamp(file as usize))
    }

    fn size(&self, index: usize) -> u64 {
        self.files[index].map_or(0, |file| self.tree.size(file as usize))
    }
}

fn is_json(path: &Path) -> bool {
    has_ending(path, &["json", "jsonl"])
}

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    path.extension()
        .is_some_and(|e| endings.iter().any(|known| e.eq_ignore_ascii_case(known)))
}

fn name_of(path: &Path) -> String {
    path.file_stem().map_or_else(
        || path.display().to_string(),
        |stem| stem.to_string_lossy().into_owned(),
    )
}
