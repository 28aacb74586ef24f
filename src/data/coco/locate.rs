//! From what the user named to an annotation file and the pictures it is about.

use super::file::{self, Image};
use super::set::AnnotationFile;
use super::{CocoSet, OpenOptions, Split};
use crate::data::catalogue::{self, DatasetEntry, DatasetTask};
use crate::data::paths;
use crate::data::tree::FileTree;
use crate::files::text;
use crate::hash::sha256;
use crate::{Error, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Annotation files of COCO that are about other things than objects.
const OTHER_KINDS: [&str; 5] = [
    "captions_",
    "person_keypoints_",
    "panoptic_",
    "stuff_",
    "image_info_",
];

/// A split that was found.
pub struct Located {
    name: String,
    split: Split,
    annotations: AnnotationFile,
    images: Arc<FileTree>,
}

pub fn locate(spec: &str, split: Split, options: &OpenOptions) -> Result<Located> {
    match catalogue::load()?.find(spec)? {
        Some(entry) => from_catalogue(entry, split, options),
        None => from_path(Path::new(paths::expand(spec)?.as_ref()), split, options),
    }
}

fn open_tree(path: &Path) -> Result<Arc<FileTree>> {
    FileTree::open(path).map(Arc::new)
}

/// The pictures or the annotations that the user named.
fn given(path: &Option<PathBuf>) -> Result<Option<PathBuf>> {
    path.as_deref().map(paths::expand_path).transpose()
}

fn from_catalogue(entry: &DatasetEntry, split: Split, options: &OpenOptions) -> Result<Located> {
    entry.expect_task(DatasetTask::Coco)?;
    let config = entry
        .split(split.name())
        .ok_or_else(|| Error::usage(format!("{} has no {} split", entry.name, split.name())))?;
    let root = entry.root()?;
    let images = match given(&options.images)? {
        Some(images) => open_tree(&images)?,
        None => open_tree(&root.join(&config.path))?,
    };
    let annotations = match (given(&options.annotations)?, &config.annotations) {
        (Some(file), _) => AnnotationFile::File(file),
        (None, Some(file)) => match images.find(file) {
            Some(member) => AnnotationFile::Member(images.clone(), member),
            None => AnnotationFile::File(root.join(file)),
        },
        (None, None) => {
            return Err(Error::usage(format!(
                "{} names no annotation file; give --annotations",
                entry.name
            )));
        }
    };
    Ok(Located {
        name: entry.name.clone(),
        split,
        annotations,
        images,
    })
}

fn from_path(path: &Path, split: Split, options: &OpenOptions) -> Result<Located> {
    let is_json = |path: &Path| {
        path.extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("json"))
    };
    let name = path.file_stem().map_or_else(
        || path.display().to_string(),
        |stem| stem.to_string_lossy().into_owned(),
    );
    let (images, annotations) = (given(&options.images)?, given(&options.annotations)?);
    let file = match (&annotations, is_json(path)) {
        (Some(_), true) => {
            return Err(Error::usage(
                "the data set is named as an annotation file, so --annotations cannot name another",
            ));
        }
        (Some(file), false) => Some(file.as_path()),
        (None, true) => Some(path),
        (None, false) => None,
    };
    if let Some(file) = file {
        // `annotations/instances_val2017.json` lies beside the folder of pictures.
        let folder = file.parent().filter(|p| !p.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let beside = match folder.file_name() {
            Some(name) if name == "annotations" => folder.join(".."),
            _ => folder.to_path_buf(),
        };
        let whole = (!is_json(path)).then(|| path.to_path_buf());
        return Ok(Located {
            name,
            split,
            annotations: AnnotationFile::File(file.to_path_buf()),
            images: open_tree(&images.or(whole).unwrap_or(beside))?,
        });
    }
    let tree = open_tree(path)?;
    let member = find_annotations(&tree, split)?;
    Ok(Located {
        name,
        split,
        annotations: AnnotationFile::Member(tree.clone(), member),
        images: match images {
            Some(images) => open_tree(&images)?,
            None => tree,
        },
    })
}

/// The annotation file of a split inside a data set: the one whose name or folder says the split,
/// `instances_*` before others; else the only one.
fn find_annotations(tree: &FileTree, split: Split) -> Result<usize> {
    let base = |name: &str| name.rsplit('/').next().unwrap_or(name).to_string();
    let files: Vec<(usize, &str)> = tree
        .names()
        .enumerate()
        .filter(|(_, name)| name.to_ascii_lowercase().ends_with(".json"))
        .filter(|(_, name)| !OTHER_KINDS.iter().any(|kind| base(name).starts_with(kind)))
        .collect();
    let says = |name: &str| {
        let folder = name.rsplit('/').nth(1).unwrap_or_default();
        let words = split.words();
        words
            .iter()
            .any(|word| base(name).contains(word) || folder.starts_with(word))
    };
    let of_split: Vec<_> = files.iter().filter(|(_, name)| says(name)).collect();
    let instances = |file: &&&(usize, &str)| base(file.1).starts_with("instances");
    let chosen = match (of_split.as_slice(), files.as_slice()) {
        ([one], _) => Some(**one),
        ([], [one]) => Some(*one),
        (several, _) => match several.iter().filter(instances).collect::<Vec<_>>()[..] {
            [one] => Some(**one),
            _ => None,
        },
    };
    chosen.map(|(member, _)| member).ok_or_else(|| {
        let there: Vec<&str> = files.iter().map(|(_, name)| *name).take(5).collect();
        let there = match there.is_empty() {
            true => "it holds no JSON file".to_string(),
            false => format!("it holds {}", there.join(", ")),
        };
        Error::file(
            tree.root(),
            format!(
                "has no one annotation file of the {0} split ({there}); a COCO folder has annotations/instances_{0}2017.json, or name the file with --annotations",
                split.name()
            ),
        )
    })
}

impl Located {
    /// Reads the annotations and finds each picture.
    pub fn read(self) -> Result<CocoSet> {
        let (bytes, path) = self.annotations.read()?;
        let hash = sha256(&bytes);
        let read = file::parse(&text::decode(bytes, &path)?, &path)?;
        if read.images.is_empty() {
            return Err(Error::file(&path, "lists no image"));
        }
        let files = find_pictures(&self.images, &read.images, self.split, &path)?;
        Ok(CocoSet::new(
            format!("{}:{}", self.name, self.split.name()),
            self.name,
            self.annotations,
            path,
            hash,
            (self.images, files),
            read,
        ))
    }
}

/// Where each listed picture lies: below the one folder that has them all, that of the split where
/// several have.
fn find_pictures(
    tree: &FileTree,
    images: &[Image],
    split: Split,
    annotations: &Path,
) -> Result<Vec<u32>> {
    let members: HashMap<&str, u32> = (tree.names().enumerate())
        .filter_map(|(i, name)| Some((name, u32::try_from(i).ok()?)))
        .collect();
    let listed = images[0].file_name.as_str();
    let mut folders: Vec<&str> = tree
        .names()
        .filter_map(|name| name.strip_suffix(listed))
        .filter(|folder| folder.is_empty() || folder.ends_with('/'))
        .collect();
    folders.sort_by_key(|folder| {
        let of_split = split.words().iter().any(|word| folder.contains(word));
        (!of_split, folder.len())
    });
    let below = |folder: &str| -> std::result::Result<Vec<u32>, (&str, usize)> {
        let find = |image: &Image| {
            let name = format!("{folder}{}", image.file_name);
            members.get(name.as_str()).copied()
        };
        let files: Vec<Option<u32>> = images.iter().map(find).collect();
        let missing = files.iter().filter(|file| file.is_none()).count();
        match files.iter().position(Option::is_none) {
            None => Ok(files.into_iter().flatten().collect()),
            Some(first) => Err((&images[first].file_name, missing)),
        }
    };
    let mut fewest: Option<(&str, usize)> = None;
    for folder in folders {
        match below(folder) {
            Ok(files) => return Ok(files),
            Err(lack) if fewest.is_none_or(|known| lack.1 < known.1) => fewest = Some(lack),
            Err(_) => {}
        }
    }
    let (first, missing) = fewest.unwrap_or((listed, images.len()));
    Err(Error::file(
        tree.root(),
        format!(
            "lacks {missing} of the {} pictures that {} lists, {first} first; name their folder or tar with --images",
            images.len(),
            annotations.display()
        ),
    ))
}
