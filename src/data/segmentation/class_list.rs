//! Finds the class list of a data set.

use super::OpenOptions;
use super::classes::{self, LabelRule, MaskClass};
use super::locate::LocatedPairs;
use super::mask;
use crate::data::decode::Limits;
use crate::data::paths;
use crate::files::text;
use crate::runtime::interrupt;
use crate::{Error, Result, assets};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Lists that ship with the tool, as `assets/classes/NAME.tsv`.
pub const SHIPPED: [&str; 4] = ["voc", "cityscapes", "cityscapes-trainids", "coco-panoptic"];
/// Names of class lists beside the images.
const NAMES: [&str; 5] = [
    "classes.tsv",
    "classes.csv",
    "classes.txt",
    "labels.txt",
    "object150_info.csv",
];

/// The list given, else the catalogue's, else one beside the images, else the values found in
/// the masks (with a warning).
pub fn find(found: &LocatedPairs, options: &OpenOptions) -> Result<(LabelRule, Option<String>)> {
    let zero = options.reduce_zero_label.or(found.reduce_zero_label);
    if let Some(given) = &options.classes {
        let path = match SHIPPED.contains(&given.as_str()) {
            true => assets::path(&format!("classes/{given}.tsv"))?,
            false => PathBuf::from(paths::expand(given)?.as_ref()),
        };
        if !path.is_file() {
            return Err(Error::file(
                &path,
                format!(
                    "is not there; a class list is a file or one of {}",
                    SHIPPED.join(", ")
                ),
            ));
        }
        return Ok((parse(&text::read(&path)?, &path, zero)?, None));
    }
    for tree in &found.trees {
        let beside = tree.names().find(|name| match &found.class_list {
            Some(list) => name == list,
            None => NAMES.contains(name) || is_object_info(name),
        });
        let Some(name) = beside else { continue };
        let path = tree.root().join(name);
        if let Some(text) = tree.text(name)? {
            return Ok((parse(&text, &path, zero)?, None));
        }
    }
    if let Some(list) = &found.class_list {
        return Err(Error::file(
            found.path.join(list),
            "is missing; it is the list of classes. Put it there, or name one with --classes",
        ));
    }
    from_masks(found, zero.unwrap_or(false))
}

fn is_object_info(name: &str) -> bool {
    name.starts_with("objectInfo") && [".txt", ".csv", ".tsv"].iter().any(|e| name.ends_with(e))
}

fn parse(text: &str, path: &Path, zero: Option<bool>) -> Result<LabelRule> {
    classes::parse(text, path, zero.unwrap_or(false))
}

/// Every value of every mask is a class of that number.
fn from_masks(
    found: &LocatedPairs,
    reduce_zero_label: bool,
) -> Result<(LabelRule, Option<String>)> {
    let mut values = BTreeSet::new();
    for sides in found.train.iter().chain(&found.val) {
        for index in sides.masks.indices() {
            interrupt::check()?;
            let tree = &sides.masks.tree;
            let mask = mask::decode(&tree.read(index)?, &Limits::default())
                .map_err(|reason| Error::file(tree.path(index), reason))?;
            values.extend(mask.values);
        }
    }
    if let Some(reason) = binary(&values) {
        return Err(Error::file(&found.path, reason));
    }
    values.remove(&255);
    if reduce_zero_label {
        values.remove(&0);
    }
    let classes: Vec<MaskClass> = values
        .into_iter()
        .map(|value| MaskClass {
            value,
            name: value.to_string(),
        })
        .collect();
    let warning = format!(
        "no class list found: the {} values in the masks are taken as classes; name a list with --classes",
        classes.len()
    );
    let rule = LabelRule::new(classes, &[]).map_err(|reason| Error::file(&found.path, reason))?;
    Ok((rule, Some(warning)))
}

/// What is wrong with masks of 0 and 255 only, if that is what these values are.
pub fn binary(values: &BTreeSet<u16>) -> Option<String> {
    values.iter().eq(&[0, 255]).then(|| {
        "the masks hold 0 and 255 only, and 255 means \"ignore\", which would leave one class and a perfect score; \
         to make 255 a class, name a list with --classes FILE of the two lines `0<TAB>background` and `255<TAB>object`"
            .to_string()
    })
}
