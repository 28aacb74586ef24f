//! From what the user named to the image and mask folders of both splits.

use super::OpenOptions;
use super::pairs::Side;
use crate::data::catalogue::{self, DatasetEntry, DatasetTask};
use crate::data::paths;
use crate::data::tree::FileTree;
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Folder names of images and masks: ADE20k, generic, mmseg, Cityscapes, VOC.
const FOLDERS: [(&str, &str); 8] = [
    ("images", "annotations"),
    ("images", "masks"),
    ("images", "semantic"),
    ("images", "labels"),
    ("images", "annotations_detectron2"),
    ("img_dir", "ann_dir"),
    ("leftImg8bit", "gtFine"),
    ("JPEGImages", "SegmentationClass"),
];
const TRAIN: &[&str] = &["training", "train", "train2017"];
const VAL: &[&str] = &["validation", "val", "val2017", "test"];

/// Both sides of one split.
#[derive(Clone)]
pub struct Sides {
    pub images: Side,
    pub masks: Side,
    /// The catalogue's list of the split's images.
    pub list: Option<PathBuf>,
}

pub struct LocatedPairs {
    pub name: String,
    pub path: PathBuf,
    pub train: Option<Sides>,
    pub val: Option<Sides>,
    /// Every tree opened: the class list may be in any.
    pub trees: Vec<Arc<FileTree>>,
    /// The catalogue's label set, class list and zero rule.
    pub label_set: Option<String>,
    pub class_list: Option<String>,
    pub reduce_zero_label: Option<bool>,
}

pub fn locate(spec: &str, options: &OpenOptions) -> Result<LocatedPairs> {
    match catalogue::load()?.find(spec)? {
        Some(entry) => from_catalogue(entry, options),
        None => from_path(Path::new(paths::expand(spec)?.as_ref()), options),
    }
}

fn from_catalogue(entry: &DatasetEntry, options: &OpenOptions) -> Result<LocatedPairs> {
    entry.expect_task(DatasetTask::Segmentation)?;
    let root = entry.root()?;
    let mut trees: Vec<Arc<FileTree>> = Vec::new();
    let mut sides = |split: &str| -> Result<Option<Sides>> {
        let Some(config) = entry.split(split) else {
            return Ok(None);
        };
        let path = root.join(&config.path);
        let tree = match trees.iter().find(|t| t.root() == path) {
            Some(tree) => tree.clone(),
            None => {
                let tree = Arc::new(FileTree::open(&path)?);
                trees.push(tree.clone());
                tree
            }
        };
        let side = |folder: &Option<String>, usual: &Option<String>, given: &str| Side {
            tree: tree.clone(),
            folder: folder.as_ref().map_or(String::new(), |f| format!("{f}/")),
            suffix: match given {
                "" => usual.clone().unwrap_or_default(),
                given => given.to_string(),
            },
        };
        Ok(Some(Sides {
            images: side(&config.images, &config.image_suffix, &options.image_suffix),
            masks: side(
                &config.annotations,
                &config.mask_suffix,
                &options.mask_suffix,
            ),
            list: config.list.as_ref().map(|list| path.join(list)),
        }))
    };
    let (train, val) = (sides("train")?, sides("val")?);
    Ok(LocatedPairs {
        name: entry.name.clone(),
        path: root,
        train,
        val,
        trees,
        label_set: entry.config.label_set.clone(),
        class_list: entry.config.class_list.clone(),
        reduce_zero_label: Some(entry.config.reduce_zero_label),
    })
}

fn from_path(path: &Path, options: &OpenOptions) -> Result<LocatedPairs> {
    let given = |images: &Option<PathBuf>, masks: &Option<PathBuf>| match (images, masks) {
        (Some(images), Some(masks)) => pair_of_folders(images, masks, options).map(Some),
        (None, None) => Ok(None),
        _ => Err(Error::usage(
            "--images goes with --masks, and --val-images with --val-masks",
        )),
    };
    let mut train = given(&options.images, &options.masks)?;
    let mut val = given(&options.val_images, &options.val_masks)?;
    let mut trees: Vec<Arc<FileTree>> = [&train, &val]
        .into_iter()
        .flatten()
        .flat_map(|s| [s.images.tree.clone(), s.masks.tree.clone()])
        .collect();
    if train.is_none() && val.is_none() {
        trees = open_trees(path)?;
        train = trees
            .iter()
            .find_map(|tree| find_split(tree, TRAIN, options));
        val = trees.iter().find_map(|tree| find_split(tree, VAL, options));
        if train.is_none() && val.is_none() {
            let whole = trees
                .iter()
                .find_map(|tree| find_split(tree, &[""], options));
            match (&options.train_list, &options.val_list) {
                (None, None) => val = whole,
                (t, v) => {
                    train = t.as_ref().and(whole.clone());
                    val = v.as_ref().and(whole);
                }
            }
        }
    }
    if train.is_none() && val.is_none() {
        let pairs: Vec<String> = FOLDERS
            .iter()
            .map(|(i, m)| format!("{i}/ and {m}/"))
            .collect();
        return Err(Error::file(
            path,
            format!(
                "has no pair of image and mask folders (looked for {}); name them with --images and --masks",
                pairs.join(", ")
            ),
        ));
    }
    let name = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let name = name
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    Ok(LocatedPairs {
        name,
        path: path.to_path_buf(),
        train,
        val,
        trees,
        label_set: None,
        class_list: None,
        reduce_zero_label: None,
    })
}

fn pair_of_folders(images: &Path, masks: &Path, options: &OpenOptions) -> Result<Sides> {
    let side = |path: &Path, suffix: &str| -> Result<Side> {
        Ok(Side {
            tree: Arc::new(FileTree::open(&paths::expand_path(path)?)?),
            folder: String::new(),
            suffix: suffix.to_string(),
        })
    };
    Ok(Sides {
        images: side(images, &options.image_suffix)?,
        masks: side(masks, &options.mask_suffix)?,
        list: None,
    })
}

/// The folder or tar file itself, or the tar files in a folder of such: where the folder itself
/// has image and mask folders, tar files beside them are not looked into.
fn open_trees(path: &Path) -> Result<Vec<Arc<FileTree>>> {
    if path.is_dir()
        && !FOLDERS
            .iter()
            .any(|(images, masks)| path.join(images).is_dir() && path.join(masks).is_dir())
    {
        let mut tars = Vec::new();
        for entry in std::fs::read_dir(path).map_err(|e| Error::file(path, e))? {
            let file = entry.map_err(|e| Error::file(path, e))?.path();
            let is_tar = file
                .extension()
                .is_some_and(|e| e.eq_ignore_ascii_case("tar"));
            tars.extend(Some(file).filter(|file| is_tar && file.is_file()));
        }
        tars.sort();
        if !tars.is_empty() {
            return tars
                .iter()
                .map(|tar| Ok(Arc::new(FileTree::open_tar(tar)?)))
                .collect();
        }
    }
    Ok(vec![Arc::new(FileTree::open(path)?)])
}

/// Whether a folder or tar file holds images and masks in folders of known names.
pub fn recognises(path: &Path) -> bool {
    let tar = path
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("tar"));
    let readable = path.is_dir() || (tar && path.is_file());
    readable
        && open_trees(path).is_ok_and(|trees| {
            trees.iter().any(|tree| {
                FOLDERS
                    .iter()
                    .any(|(images, masks)| tree.has_folder(images) && tree.has_folder(masks))
            })
        })
}

/// The first known pair of folders with one of the split's names below both (`""`: right below).
fn find_split(tree: &Arc<FileTree>, names: &[&str], options: &OpenOptions) -> Option<Sides> {
    for (images, masks) in FOLDERS {
        for name in names {
            let below = |folder: &str| match *name {
                "" => folder.to_string(),
                name => format!("{folder}/{name}"),
            };
            let (images, masks) = (below(images), below(masks));
            if tree.has_folder(&images) && tree.has_folder(&masks) {
                let side = |folder: String, suffix: &str| Side {
                    tree: tree.clone(),
                    folder: format!("{folder}/"),
                    suffix: suffix.to_string(),
                };
                return Some(Sides {
                    images: side(images, &options.image_suffix),
                    masks: side(masks, &options.mask_suffix),
                    list: None,
                });
            }
        }
    }
    None
}
