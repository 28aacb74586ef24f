//! Images and their masks, paired by name.

use super::classes::LabelRule;
use super::mask::{self, StoredMask};
use crate::data::annotation::{Annotation, LabelMap, WideLabelMap};
use crate::data::classification::is_image;
use crate::data::content::{ContentHash, Stamp};
use crate::data::decode::{Limits, decode};
use crate::data::image::RgbImage;
use crate::data::source::Source;
use crate::data::tree::FileTree;
use crate::{Error, Result};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use unicode_normalization::UnicodeNormalization;

/// A folder of a tree, and what its file names carry besides the name that image and mask share.
#[derive(Clone)]
pub struct Side {
    pub tree: Arc<FileTree>,
    /// `images/training/`, or empty.
    pub folder: String,
    /// `_leftImg8bit`, or empty: cut off before the extension; files without it are left out.
    pub suffix: String,
}

impl Side {
    /// The images (or masks) of this side, by their place in the tree.
    pub fn indices(&self) -> impl Iterator<Item = usize> {
        self.files().into_iter().map(|(_, index)| index as usize)
    }

    /// Shared name (in Unicode's composed form) -> file, in ascending order of file names.
    fn files(&self) -> Vec<(String, u32)> {
        let file = |(index, name): (usize, &str)| {
            let inside = name
                .strip_prefix(self.folder.as_str())
                .filter(|n| is_image(n))?;
            let (stem, _) = inside.rsplit_once('.')?;
            let shared = stem.strip_suffix(self.suffix.as_str())?;
            Some((shared.nfc().collect(), u32::try_from(index).ok()?))
        };
        self.tree.names().enumerate().filter_map(file).collect()
    }

    /// As [`Side::files`], by name; of several files of one name the PNG counts.
    fn by_name(&self) -> HashMap<String, u32> {
        let mut files = self.files();
        let is_png = |index: u32| {
            let ending = self.tree.name(index as usize).rsplit_once('.');
            ending.is_some_and(|(_, ending)| ending.eq_ignore_ascii_case("png"))
        };
        files.sort_by_key(|(_, index)| is_png(*index));
        files.into_iter().collect()
    }

    pub fn path(&self) -> PathBuf {
        self.tree.root().join(&self.folder)
    }
}

/// One split: images with their masks, in ascending order of image names.
/// Annotated with masks.
#[derive(Clone)]
pub struct PairSet {
    description: String,
    images: Side,
    masks: Side,
    rule: Arc<LabelRule>,
    /// (image, mask)
    pairs: Vec<(u32, u32)>,
}

impl PairSet {
    /// Pairs the files of both sides; `list` keeps only the names in it (VOC's `train.txt`). An
    /// image without mask is an error that names it.
    pub fn new(
        description: String,
        images: Side,
        masks: Side,
        rule: Arc<LabelRule>,
        list: Option<&[String]>,
    ) -> Result<Self> {
        let masks_by_name = masks.by_name();
        let mut image_files = images.files();
        if let Some(list) = list {
            let by_name: HashMap<&str, u32> = image_files
                .iter()
                .map(|(name, i)| (name.as_str(), *i))
                .collect();
            let missing = list
                .iter()
                .find(|name| !by_name.contains_key(name.as_str()));
            if let Some(missing) = missing {
                return Err(Error::file(
                    images.path().join(missing),
                    "is listed, but there is no such image",
                ));
            }
            let wanted: std::collections::HashSet<&str> = list.iter().map(String::as_str).collect();
            image_files.retain(|(name, _)| wanted.contains(name.as_str()));
        }
        if image_files.is_empty() {
            return Err(Error::file(images.path(), "holds no image"));
        }
        let mut pairs = Vec::with_capacity(image_files.len());
        for (name, image) in image_files {
            let mask = masks_by_name.get(&name).ok_or_else(|| {
                Error::file(
                    images.tree.path(image as usize),
                    format!(
                        "has no mask: {} has no {name}{}.png; {}add it, take the image away, or list the images to use (--train-list, --val-list)",
                        masks.path().display(),
                        masks.suffix,
                        suffix_hint(&name, &masks_by_name)
                    ),
                )
            })?;
            pairs.push((image, *mask));
        }
        Ok(PairSet {
            description,
            images,
            masks,
            rule,
            pairs,
        })
    }

    pub fn rule(&self) -> &LabelRule {
        &self.rule
    }

    /// The mask's file, for messages.
    pub fn mask_path(&self, index: usize) -> PathBuf {
        self.masks.tree.path(self.pairs[index].1 as usize)
    }

    /// The image's file, for messages.
    pub fn image_path(&self, index: usize) -> PathBuf {
        self.images.tree.path(self.pairs[index].0 as usize)
    }

    /// The mask as it is stored.
    pub fn mask(&self, index: usize) -> Result<StoredMask> {
        let bytes = self.masks.tree.read(self.pairs[index].1 as usize)?;
        mask::decode(&bytes, &Limits::default())
            .map_err(|reason| Error::file(self.mask_path(index), reason))
    }

    /// The labels at the mask's own size.
    pub fn labels(&self, index: usize) -> Result<LabelMap> {
        self.labels_of(index, &self.mask(index)?)
    }

    /// As [`PairSet::labels`], of a mask that is read already.
    pub fn labels_of(&self, index: usize, mask: &StoredMask) -> Result<LabelMap> {
        let labels = self.rule.apply(mask);
        let labels = labels.map_err(|reason| Error::file(self.mask_path(index), reason))?;
        Ok(LabelMap {
            width: mask.width,
            height: mask.height,
            labels,
        })
    }

    /// As [`PairSet::labels_of`], of any number of classes.
    pub fn wide_labels_of(&self, index: usize, mask: &StoredMask) -> Result<WideLabelMap> {
        let labels = self.rule.apply_wide(mask);
        let labels = labels.map_err(|reason| Error::file(self.mask_path(index), reason))?;
        Ok(WideLabelMap {
            width: mask.width,
            height: mask.height,
            labels,
        })
    }

    /// The decoded image and its labels, of one size.
    pub fn pair(&self, index: usize) -> Result<(RgbImage, LabelMap)> {
        let labels = self.labels(index)?;
        let image = self.image(index)?;
        let size = (labels.width, labels.height);
        self.expect_size(index, size, (image.width, image.height))?;
        Ok((image, labels))
    }

    /// As [`PairSet::pair`], of any number of classes.
    pub fn wide_pair(&self, index: usize) -> Result<(RgbImage, WideLabelMap)> {
        let labels = self.wide_labels_of(index, &self.mask(index)?)?;
        let image = self.image(index)?;
        let size = (labels.width, labels.height);
        self.expect_size(index, size, (image.width, image.height))?;
        Ok((image, labels))
    }

    /// The decoded image.
    pub fn image(&self, index: usize) -> Result<RgbImage> {
        decode(&self.read(index)?, &Limits::default()).map_err(|reason| {
            Error::file(
                self.image_path(index),
                format!("{reason}; replace it, or take it and its mask away"),
            )
        })
    }

    /// Fails if an image does not go with its mask; both sizes are (width, height).
    pub fn expect_size(
        &self,
        index: usize,
        mask: (usize, usize),
        (width, height): (usize, usize),
    ) -> Result<()> {
        if (width, height) == mask {
            return Ok(());
        }
        Err(Error::file(
            self.mask_path(index),
            format!(
                "is {}x{}, but its image {} is {width}x{height}; a mask has a value for every pixel of its image",
                mask.0,
                mask.1,
                self.image_path(index).display()
            ),
        ))
    }

    /// The part `range` of this split.
    pub fn subrange(&self, description: String, range: std::ops::Range<usize>) -> Self {
        PairSet {
            description,
            pairs: self.pairs[range].to_vec(),
            ..self.clone()
        }
    }
}

/// Where the names of masks go on behind the image's: the flags that say so, or nothing.
fn suffix_hint(name: &str, masks: &HashMap<String, u32>) -> String {
    let behind = |start: &str| {
        let rest = masks.keys().filter_map(|mask| mask.strip_prefix(start));
        let mut rest: Vec<String> = rest
            .filter(|rest| rest.starts_with(['_', '-', '.']))
            .map(str::to_string)
            .collect();
        rest.sort();
        rest
    };
    let flags = |image: &str, masks: &[String]| match (image, masks) {
        (_, []) => None,
        ("", masks) => Some(format!("--mask-suffix {}", masks.join(" or "))),
        (image, masks) => Some(format!(
            "--image-suffix {image} --mask-suffix {}",
            masks.join(" or ")
        )),
    };
    let cut = name.rfind(['_', '-']).map(|at| name.split_at(at));
    let found = flags("", &behind(name))
        .or_else(|| cut.and_then(|(start, image)| flags(image, &behind(start))));
    found.map_or(String::new(), |flags| {
        format!("its masks go by other names, so give {flags}; or else ")
    })
}

impl Source for PairSet {
    fn describe(&self) -> String {
        self.description.clone()
    }

    fn len(&self) -> usize {
        self.pairs.len()
    }

    fn key(&self, index: usize) -> &str {
        self.images.tree.name(self.pairs[index].0 as usize)
    }

    fn annotation(&self, index: usize) -> Result<Annotation> {
        Ok(Annotation::Mask(self.labels(index)?))
    }

    fn read(&self, index: usize) -> Result<Vec<u8>> {
        self.images.tree.read(self.pairs[index].0 as usize)
    }

    /// Image and mask together, so that a changed mask changes the fingerprint.
    fn size(&self, index: usize) -> u64 {
        let (image, mask) = self.pairs[index];
        self.images.tree.size(image as usize) + self.masks.tree.size(mask as usize)
    }

    /// Of image and mask.
    fn stamp(&self, index: usize) -> Option<Stamp> {
        let (image, mask) = self.pairs[index];
        let image = self.images.tree.stamp(image as usize);
        Stamp::of_all([image, self.masks.tree.stamp(mask as usize)])
    }

    /// Over the hashes of image and mask.
    fn content_hash(&self, index: usize) -> Result<ContentHash> {
        let mask = self.masks.tree.read(self.pairs[index].1 as usize)?;
        let mut hash = Sha256::new();
        hash.update(Sha256::digest(self.read(index)?));
        hash.update(Sha256::digest(mask));
        Ok(hash.finalize().into())
    }
}
