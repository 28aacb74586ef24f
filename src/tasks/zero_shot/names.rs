//! What each class of a data set is called in a prompt.

use crate::data::classification::{Class, Classification};
use crate::files::text;
use crate::{Error, Result, assets};
use std::collections::HashMap;

/// open_clip's `IMAGENET_CLASSNAMES` with their wnids, in index order.
const IMAGENET: &str = "text/imagenet_classes.tsv";
const IMAGENET_CLASSES: usize = 1000;

/// One name per class, in index order.
#[derive(Debug)]
pub struct Names {
    /// Where they are from, for the record.
    pub source: &'static str,
    pub names: Vec<String>,
}

impl Names {
    /// The first name of each class: from the user's list (`given`) or the data set's own. Classes
    /// known by an ImageNet wnid only, and the classes of ImageNet-1k itself, are called what
    /// open_clip calls them, as published figures were made with those names.
    pub fn from_data(data: &Classification, given: bool) -> Result<Self> {
        let classes = &data.classes;
        if given {
            return first_names(data, "--classnames");
        }
        let imagenet = imagenet()?;
        if is_imagenet_without_wnids(classes) {
            return Ok(Names {
                source: "open_clip (by index)",
                names: imagenet.into_iter().map(|(_, name)| name).collect(),
            });
        }
        if classes.iter().all(|class| !class.names.is_empty()) {
            return first_names(data, "data set");
        }
        let by_wnid: HashMap<String, String> = imagenet.into_iter().collect();
        let name = |class: &Class| {
            let own = class.names.first();
            own.or_else(|| by_wnid.get(&class.id))
                .cloned()
                .ok_or_else(|| nameless(data, class))
        };
        Ok(Names {
            source: "open_clip (by wnid)",
            names: classes.iter().map(name).collect::<Result<_>>()?,
        })
    }
}

fn first_names(data: &Classification, source: &'static str) -> Result<Names> {
    let name = |class: &Class| {
        class
            .names
            .first()
            .cloned()
            .ok_or_else(|| nameless(data, class))
    };
    Ok(Names {
        source,
        names: data.classes.iter().map(name).collect::<Result<_>>()?,
    })
}

fn nameless(data: &Classification, class: &Class) -> Error {
    Error::file(
        &data.path,
        format!(
            "class {} has no name in words, which zero-shot needs; give a file of `id<TAB>name` lines with --classnames",
            class.id
        ),
    )
}

/// ImageNet-1k whose labels are numbers (WebDataset), or carry WordNet's names (Hugging Face).
fn is_imagenet_without_wnids(classes: &[Class]) -> bool {
    let numbered = classes
        .iter()
        .enumerate()
        .all(|(index, class)| class.id == index.to_string());
    let begins = |class: Option<&Class>, id: &str| class.is_some_and(|c| c.id.starts_with(id));
    let named = begins(classes.first(), "tench") && begins(classes.last(), "toilet tissue");
    classes.len() == IMAGENET_CLASSES && (numbered || named)
}

/// (wnid, name) of ImageNet-1k in index order.
fn imagenet() -> Result<Vec<(String, String)>> {
    let path = assets::path(IMAGENET)?;
    let classes: Vec<_> = text::read(&path)?
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(wnid, name)| (wnid.to_string(), name.to_string()))
        .collect();
    match classes.len() {
        IMAGENET_CLASSES => Ok(classes),
        n => Err(Error::file(
            &path,
            format!("names {n} classes, not {IMAGENET_CLASSES}; the checkout is damaged"),
        )),
    }
}
