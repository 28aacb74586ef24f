//! From what the user named to the splits of a data set: catalogue name, folder or file.

use super::draft::Draft;
use super::mapping::Mapping;
use super::{OpenOptions, Split, folder, parquet, webdataset};
use crate::config::DatasetLayout;
use crate::data::brace;
use crate::data::catalogue::{self, Task};
use crate::data::tree::FileTree;
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The splits of a data set, not numbered yet.
pub struct Found {
    pub name: String,
    pub path: PathBuf,
    pub train: Option<Draft>,
    pub val: Option<Draft>,
}

/// Finds both splits of `spec`, a catalogue name or a path.
pub fn locate(spec: &str, options: &OpenOptions) -> Result<Found> {
    let mut found = match catalogue::load()?.find(spec)? {
        Some(entry) => from_catalogue(entry, options)?,
        None => from_path(Path::new(spec), options)?,
    };
    if let Some(train) = &options.train {
        found.train = Some(one(Path::new(train), Split::Train, options)?);
    }
    if let Some(val) = &options.val {
        found.val = Some(one(Path::new(val), Split::Val, options)?);
    }
    Ok(found)
}

fn from_catalogue(entry: &catalogue::Entry, options: &OpenOptions) -> Result<Found> {
    entry.expect_task(Task::Classification)?;
    let options = OpenOptions {
        layout: options.layout.or(entry.layout()),
        ..options.clone()
    };
    let split = |split: Split| {
        let path = entry.split_path(split.name())?;
        path.map(|path| one(&path, split, &options)).transpose()
    };
    Ok(Found {
        name: entry.name.clone(),
        path: entry.root()?,
        train: split(Split::Train)?,
        val: split(Split::Val)?,
    })
}

fn from_path(path: &Path, options: &OpenOptions) -> Result<Found> {
    let found = |train, val| Found {
        name: name_of(path),
        path: path.to_path_buf(),
        train,
        val,
    };
    let both = |part: &dyn Fn(Split) -> Result<Option<Draft>>| -> Result<Option<Found>> {
        let (train, val) = (part(Split::Train)?, part(Split::Val)?);
        Ok((train.is_some() || val.is_some()).then(|| found(train, val)))
    };
    if path.is_dir() {
        let folders = both(&|split| {
            let named = |name: &str| path.join(name).is_dir();
            match split.folder_names().iter().find(|name| named(name)) {
                Some(name) => one(&path.join(name), split, options).map(Some),
                None => Ok(None),
            }
        })?;
        if let Some(found) = folders {
            return Ok(found);
        }
        let files = both(&|split| {
            let pattern = files_of(path, split)?;
            pattern
                .map(|pattern| one(&pattern, split, options))
                .transpose()
        })?;
        if let Some(found) = files {
            return Ok(found);
        }
    } else if is_tar(path) && !brace::is_pattern(path) {
        let tree = Arc::new(FileTree::open_tar(path)?);
        let folders = both(&|split| {
            let folder = split
                .folder_names()
                .iter()
                .find(|name| tree.has_folder(name));
            let draft = |folder| folder::draft(&tree, &format!("{folder}/"), None);
            folder.map(draft).transpose()
        })?;
        if let Some(found) = folders {
            return Ok(found);
        }
    }
    Ok(found(None, Some(one(path, Split::Val, options)?)))
}

/// Reads one split whose place is known: a folder, a tar file, ...
fn one(path: &Path, split: Split, options: &OpenOptions) -> Result<Draft> {
    if options.layout == Some(DatasetLayout::Parquet) || is_parquet(path) {
        return parquet::draft(&brace::expand(path)?, path);
    }
    if options.layout == Some(DatasetLayout::Webdataset) || brace::is_pattern(path) {
        return webdataset::draft(&brace::expand(path)?, path);
    }
    if !path.is_dir() {
        let tree = Arc::new(FileTree::open_tar(path)?);
        if options.layout.is_none() && webdataset::recognises(&tree) {
            return webdataset::draft(&[path.to_path_buf()], path);
        }
        let folder = split
            .folder_names()
            .iter()
            .find(|name| tree.has_folder(name));
        let prefix = folder.map_or(String::new(), |folder| format!("{folder}/"));
        let mapping = mapping(path, options)?;
        return folder::draft(&tree, &prefix, mapping.as_ref());
    }
    // Keys start with the split's folder, as in a tar of both splits.
    let own = path.file_name().and_then(|name| name.to_str());
    let own = own.filter(|name| split.folder_names().contains(name));
    let (tree, prefix) = match (own, path.parent()) {
        (Some(own), Some(root)) => (FileTree::open_folder(root, &[own])?, format!("{own}/")),
        _ => (FileTree::open(path)?, String::new()),
    };
    let mapping = mapping(path, options)?;
    folder::draft(&Arc::new(tree), &prefix, mapping.as_ref())
}

/// The mapping file given, else one in or beside the split's folder.
fn mapping(path: &Path, options: &OpenOptions) -> Result<Option<Mapping>> {
    match &options.mapping {
        Some(file) => Mapping::open(file).map(Some),
        None => {
            let beside = path.parent().unwrap_or(Path::new("."));
            Mapping::find(&[path, beside])
        }
    }
}

/// The parquet or tar files of `split` in a folder of such (or in its `data/`), as one pattern:
/// `data/train-*.parquet`, `imagenet-val.tar`.
fn files_of(folder: &Path, split: Split) -> Result<Option<PathBuf>> {
    for folder in [folder.to_path_buf(), folder.join("data")] {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| Error::file(&folder, e))?;
            names.extend(entry.file_name().into_string().ok());
        }
        names.sort();
        names.retain(|name| is_parquet(Path::new(name)) || is_tar(Path::new(name)));
        for word in split.folder_names() {
            let of_split: Vec<&String> = names.iter().filter(|n| has_word(n, word)).collect();
            match of_split.as_slice() {
                [] => continue,
                [one] => return Ok(Some(folder.join(one))),
                [first, ..] => {
                    let ending = Path::new(first).extension().unwrap_or_default();
                    let start = &first[..first.find(word).unwrap_or(0) + word.len()];
                    let pattern = format!("{start}*.{}", ending.to_string_lossy());
                    return Ok(Some(folder.join(pattern)));
                }
            }
        }
    }
    Ok(None)
}

/// Whether `word` stands in a file name on its own: `val` in `x-val-00.tar`, not in `interval.tar`.
fn has_word(name: &str, word: &str) -> bool {
    name.split(|c: char| !c.is_ascii_alphabetic())
        .any(|part| part.eq_ignore_ascii_case(word))
}

fn is_parquet(path: &Path) -> bool {
    path.extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("parquet"))
}

fn is_tar(path: &Path) -> bool {
    path.extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("tar"))
}

fn name_of(path: &Path) -> String {
    let full = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    full.file_stem().map_or_else(
        || path.display().to_string(),
        |s| s.to_string_lossy().into_owned(),
    )
}
