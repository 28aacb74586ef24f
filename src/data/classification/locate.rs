//! From what the user named to the splits of a data set: catalogue name, folder or file.

use super::contents::{self, Contents};
use super::draft::Draft;
use super::mapping::Mapping;
use super::{DatasetLayout, OpenOptions, Split, folder, parquet, webdataset};
use crate::data::catalogue::{self, DatasetTask};
use crate::data::tree::FileTree;
use crate::data::{brace, paths};
use crate::files::text;
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The splits of a data set, not numbered yet.
pub struct LocatedSplits {
    pub name: String,
    pub path: PathBuf,
    pub train: Option<Draft>,
    pub val: Option<Draft>,
}

/// Where Kaggle's archive of ILSVRC keeps the pictures, seen from its top and from below.
const KAGGLE: [&str; 3] = ["ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", "CLS-LOC"];
/// Kaggle's list of classes, at the top.
const SYNSETS: &str = "LOC_synset_mapping.txt";

/// Finds both splits of `spec`, a catalogue name or a path.
pub fn locate(spec: &str, options: &OpenOptions) -> Result<LocatedSplits> {
    let mut found = match catalogue::load()?.find(spec)? {
        Some(entry) => from_catalogue(entry, options)?,
        None => from_path(Path::new(paths::expand(spec)?.as_ref()), options)?,
    };
    for (given, split, place) in [
        (&options.train, Split::Train, &mut found.train),
        (&options.val, Split::Val, &mut found.val),
    ] {
        if let Some(given) = given {
            let path = PathBuf::from(paths::expand(given)?.as_ref());
            *place = Some(named(&path, split, options)?);
        }
    }
    Ok(found)
}

fn from_catalogue(entry: &catalogue::DatasetEntry, options: &OpenOptions) -> Result<LocatedSplits> {
    entry.expect_task(DatasetTask::Classification)?;
    let options = OpenOptions {
        layout: options.layout.or(entry.layout()),
        ..options.clone()
    };
    let split = |split: Split| {
        let path = entry.split_path(split.name())?;
        path.map(|path| one(&path, split, &options)).transpose()
    };
    Ok(LocatedSplits {
        name: entry.name.clone(),
        path: entry.root()?,
        train: split(Split::Train)?,
        val: split(Split::Val)?,
    })
}

fn from_path(path: &Path, options: &OpenOptions) -> Result<LocatedSplits> {
    let found = |(train, val)| LocatedSplits {
        name: name_of(path),
        path: path.to_path_buf(),
        train,
        val,
    };
    if path.is_dir() {
        if let Some(splits) = splits_of_folder(path, options)? {
            return Ok(found(splits));
        }
    } else if path.is_file() && contents::has_ending(&path.to_string_lossy(), ".tar") {
        let tree = Arc::new(FileTree::open_tar(path)?);
        if let Some(top) = top_of_splits(&tree) {
            let split = |split: Split| {
                let folder = split.folder_names().iter().find_map(|name| {
                    let folder = format!("{top}{name}");
                    tree.has_folder(&folder).then_some(folder)
                });
                let draft = |folder| folder::draft(&tree, &format!("{folder}/"), None);
                folder.map(draft).transpose()
            };
            return Ok(found((split(Split::Train)?, split(Split::Val)?)));
        }
    }
    Ok(found((None, Some(one(path, Split::Val, options)?))))
}

type Splits = (Option<Draft>, Option<Draft>);

/// The splits that a folder holds below it; `None` where it is itself a split.
fn splits_of_folder(path: &Path, options: &OpenOptions) -> Result<Option<Splits>> {
    if let Some(error) = contents::unread(path) {
        return Err(error);
    }
    if let Some(inside) = KAGGLE
        .iter()
        .map(|below| path.join(below))
        .find(|p| p.is_dir())
    {
        return splits_of_folder(&inside, options);
    }
    let both = |find: &dyn Fn(Split) -> Result<Option<Draft>>| -> Result<Option<Splits>> {
        let (train, val) = (find(Split::Train)?, find(Split::Val)?);
        Ok((train.is_some() || val.is_some()).then_some((train, val)))
    };
    let folders = both(&|split| {
        let folder = folder_of(path, split);
        folder
            .map(|folder| one(&folder, split, options))
            .transpose()
    })?;
    if folders.is_some() {
        return Ok(folders);
    }
    let contents = Contents::scan(path)?;
    if contents.has_class_folders(path) {
        return Ok(None);
    }
    let files = both(&|split| {
        let files = files_of(path, split)?;
        files
            .map(|files| several(&files, path, split, options))
            .transpose()
    })?;
    if files.is_some() {
        return Ok(files);
    }
    // A folder around the data set: an archive's top folder, a configuration of converted parquet.
    let around: Vec<PathBuf> = contents
        .folders
        .iter()
        .map(|name| path.join(name))
        .filter(|folder| holds_splits(folder))
        .collect();
    match around.as_slice() {
        [] => Ok(None),
        [inside] => splits_of_folder(inside, options),
        [first, second, ..] => Err(Error::file(
            path,
            format!(
                "holds several data sets, each with a train or a val split; name one of them, like {} or {}",
                first.display(),
                second.display()
            ),
        )),
    }
}

/// Whether a folder has a folder or files of some split.
fn holds_splits(path: &Path) -> bool {
    [Split::Train, Split::Val].iter().any(|&split| {
        folder_of(path, split).is_some() || matches!(files_of(path, split), Ok(Some(_)))
    }) || KAGGLE.iter().any(|below| path.join(below).is_dir())
}

/// The folder of a split (`val`, or Hugging Face's `partial-val`).
fn folder_of(path: &Path, split: Split) -> Option<PathBuf> {
    let names = split.folder_names().iter();
    let partial = |name: &&str| [(*name).to_string(), format!("partial-{name}")];
    let mut folders = names.flat_map(partial).map(|name| path.join(name));
    folders.find(|folder| folder.is_dir())
}

/// Inside a tar file: the folder around those of the splits (`""`, `imagenet/`), if there are any.
fn top_of_splits(tree: &FileTree) -> Option<String> {
    let mut tops = vec![String::new()];
    if let Some((top, _)) = tree.names().next().and_then(|name| name.split_once('/')) {
        tops.push(format!("{top}/"));
    }
    let names = [Split::Train, Split::Val]
        .into_iter()
        .flat_map(Split::folder_names);
    tops.into_iter().find(|top| {
        names
            .clone()
            .any(|name| tree.has_folder(&format!("{top}{name}")))
    })
}

/// A split that the user names: the folder of a data set will do, whose split it then is.
fn named(path: &Path, split: Split, options: &OpenOptions) -> Result<Draft> {
    if path.is_dir() && folder_of(path, split).is_some() {
        let splits = splits_of_folder(path, options)?;
        let draft = splits.and_then(|(train, val)| match split {
            Split::Train => train,
            Split::Val => val,
        });
        if let Some(draft) = draft {
            return Ok(draft);
        }
    }
    one(path, split, options)
}

/// Reads one split whose place is known: a folder, a tar file, a pattern, ...
fn one(path: &Path, split: Split, options: &OpenOptions) -> Result<Draft> {
    if brace::is_pattern(path) {
        return several(&brace::expand(path)?, path, split, options);
    }
    if !path.exists() {
        return Err(Error::file(path, "is not there"));
    }
    if let Some(error) = contents::unread(path) {
        return Err(error);
    }
    if !path.is_dir() {
        return several(&[path.to_path_buf()], path, split, options);
    }
    let contents = Contents::scan(path)?;
    let files = match (contents.parquet.as_slice(), contents.tars.as_slice()) {
        _ if options.layout == Some(DatasetLayout::Folder) || !contents.images.is_empty() => None,
        _ if contents.has_class_folders(path) => None,
        ([], []) => None,
        ([], tars) => Some(tars),
        (parquet, _) => Some(parquet),
    };
    if let Some(files) = files {
        return several(files, path, split, options);
    }
    let mut draft = folder_split(path, split, options)?;
    if draft.samples.is_empty() {
        let mut seen = contents::describe(&contents);
        if let Some(left_out) = draft.left_out.sentence() {
            seen = format!("{seen}; {left_out}");
        }
        return Err(Error::file(
            path,
            format!(
                "holds no image: there are {seen}. Class folders, tar or parquet files, or images with a mapping are read; name the folder that has them"
            ),
        ));
    }
    for archive in contents
        .tars
        .iter()
        .chain(&contents.parquet)
        .chain(&contents.packed)
    {
        let name = archive.file_name().unwrap_or_default().to_string_lossy();
        draft.left_out.push("archives beside the images", &name);
    }
    Ok(draft)
}

/// Reads files as one split: parquet files, WebDataset shards, or tar files of images.
fn several(files: &[PathBuf], named: &Path, split: Split, options: &OpenOptions) -> Result<Draft> {
    let first = files
        .first()
        .ok_or_else(|| Error::file(named, "names no file"))?;
    let is = |ending: &str| contents::has_ending(&first.to_string_lossy(), ending);
    if options.layout == Some(DatasetLayout::Parquet)
        || (is(".parquet") && options.layout.is_none())
    {
        return parquet::draft(files, named, options);
    }
    if options.layout == Some(DatasetLayout::Webdataset) {
        return webdataset::draft(files, named);
    }
    let tree = FileTree::open_tar(first)?;
    if options.layout.is_none() && webdataset::recognises(&tree) {
        return webdataset::draft(files, named);
    }
    if files.len() == 1 {
        let tree = Arc::new(tree);
        let top = top_of_splits(&tree).unwrap_or_default();
        let folder = split
            .folder_names()
            .iter()
            .find(|name| tree.has_folder(&format!("{top}{name}")));
        let prefix = folder.map_or(String::new(), |folder| format!("{top}{folder}/"));
        let mapping = mapping(named, options)?;
        return folder::draft(&tree, &prefix, mapping.as_ref());
    }
    // A tar of flat images per class is the official ILSVRC train archive unpacked once; shards
    // without labels are told apart by their names, which are numbered.
    let flat = tree.names().all(|name| !name.contains('/'));
    let numbered = |path: &PathBuf| {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let digits = stem.trim_start_matches(|c: char| !c.is_ascii_digit());
        digits.len() >= 2
            && digits
                .bytes()
                .all(|b| b.is_ascii_digit() || b == b'-' || b == b'_')
            && !super::classes::is_wnid(&stem)
    };
    if !flat || files.iter().all(numbered) {
        return webdataset::draft(files, named);
    }
    let root = named.parent().filter(|_| !named.is_dir()).unwrap_or(named);
    let tree = Arc::new(FileTree::open_tars(root, files)?);
    let mut draft = folder::draft(&tree, "", None)?;
    draft.notes.push(format!(
        "{}: each of the {} tar files is taken as one class, named after it",
        named.display(),
        files.len()
    ));
    Ok(draft)
}

/// A split in a folder of class folders or flat images.
fn folder_split(path: &Path, split: Split, options: &OpenOptions) -> Result<Draft> {
    // Keys start with the split's folder, as in a tar of both splits.
    let own = path.file_name().and_then(|name| name.to_str());
    let own = own.filter(|name| split.is_named(name));
    let (tree, prefix) = match (own, path.parent()) {
        (Some(own), Some(root)) => (FileTree::open_folder(root, &[own])?, format!("{own}/")),
        _ => (FileTree::open(path)?, String::new()),
    };
    let mapping = mapping(path, options)?;
    let mut draft = folder::draft(&Arc::new(tree), &prefix, mapping.as_ref())?;
    if let Some(synsets) = above(path, SYNSETS).filter(|_| draft.classes.is_none()) {
        draft.classes = Some(super::classes::parse(&text::read(&synsets)?, &synsets)?);
    }
    Ok(draft)
}

/// The mapping file given, else one in or beside the split's folder, or at the top of Kaggle's
/// tree.
fn mapping(path: &Path, options: &OpenOptions) -> Result<Option<Mapping>> {
    if let Some(file) = &options.mapping {
        return Mapping::open(&paths::expand_path(file)?, options).map(Some);
    }
    let beside = path.parent().unwrap_or(Path::new("."));
    let kaggle = above(path, SYNSETS);
    let mut folders = vec![path, beside];
    folders.extend(kaggle.as_deref().and_then(Path::parent));
    Mapping::find(&folders, options)
}

/// `file` at the top of Kaggle's tree, of which `path` is a split.
fn above(path: &Path, file: &str) -> Option<PathBuf> {
    let inside = path.parent()?.ends_with("Data/CLS-LOC");
    let top = path.ancestors().nth(4).filter(|_| inside)?;
    Some(top.join(file)).filter(|file| file.is_file())
}

/// The parquet or tar files of `split` in a folder of such (or in its `data/`): those of one
/// kind whose names have the split's word on its own.
fn files_of(folder: &Path, split: Split) -> Result<Option<Vec<PathBuf>>> {
    for folder in [folder.to_path_buf(), folder.join("data")] {
        if !folder.is_dir() {
            continue;
        }
        let contents = Contents::scan(&folder)?;
        for files in [&contents.parquet, &contents.tars] {
            for word in split.folder_names() {
                let named = |file: &&PathBuf| {
                    let name = file.file_name().unwrap_or_default();
                    has_word(&name.to_string_lossy(), word)
                };
                let of_split: Vec<PathBuf> = files.iter().filter(named).cloned().collect();
                if !of_split.is_empty() {
                    return Ok(Some(of_split));
                }
            }
        }
    }
    Ok(None)
}

/// Whether `word` stands in a file name on its own: `val` in `x-val-00.tar`, not in `interval.tar`.
fn has_word(name: &str, word: &str) -> bool {
    name.split(|c: char| !c.is_alphabetic())
        .any(|part| part.eq_ignore_ascii_case(word))
}

fn name_of(path: &Path) -> String {
    let full = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    full.file_stem().map_or_else(
        || path.display().to_string(),
        |s| s.to_string_lossy().into_owned(),
    )
}
