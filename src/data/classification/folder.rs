//! One folder per class (ILSVRC, torchvision's ImageFolder), on disk or inside a tar file; and
//! flat splits whose classes a mapping file tells.

use super::classes::{self, CLASS_FILE};
use super::draft::{Draft, Interner, Labels};
use super::mapping::Mapping;
use crate::data::labelled::TreeSamples;
use crate::data::tree::FileTree;
use crate::{Error, Result};
use std::sync::Arc;

/// Whether a file name ends like an image this tool decodes.
pub fn is_image(name: &str) -> bool {
    const ENDINGS: [&str; 17] = [
        "jpg", "jpeg", "jpe", "jfif", "png", "apng", "bmp", "dib", "gif", "tif", "tiff", "webp",
        "ppm", "pgm", "pbm", "pnm", "pfm",
    ];
    name.rsplit_once('.')
        .is_some_and(|(_, ending)| ENDINGS.iter().any(|e| e.eq_ignore_ascii_case(ending)))
}

/// Reads one split of `tree`: the images below `prefix` (`"train/"`, or empty).
///
/// The class of `prefix/CLASS/[...]/IMAGE` is its folder; of `prefix/IMAGE` what `mapping` says.
pub fn draft(tree: &Arc<FileTree>, prefix: &str, mapping: Option<&Mapping>) -> Result<Draft> {
    let mut files = Vec::new();
    let mut classes = Interner::default();
    let (mut foldered, mut flat) = (0usize, None);
    for (index, name) in tree.names().enumerate() {
        let Some(inside) = name.strip_prefix(prefix).filter(|n| is_image(n)) else {
            continue;
        };
        let file = u32::try_from(index)
            .map_err(|_| Error::file(tree.root(), "holds more than 4 billion files"))?;
        match inside.split_once('/') {
            Some((class, _)) => {
                foldered += 1;
                classes.push(class);
            }
            None => {
                flat.get_or_insert(index);
                if let Some(mapping) = mapping {
                    let class = mapping.class(files.len(), inside).ok_or_else(|| {
                        Error::file(
                            tree.path(index),
                            format!("has no class in {}", mapping.path().display()),
                        )
                    })?;
                    classes.push(class);
                }
            }
        }
        files.push(file);
    }
    let path = tree.root().join(prefix);
    if let (Some(flat), true) = (flat, foldered > 0) {
        return Err(Error::file(
            tree.path(flat),
            "lies beside class folders; move it into its class's folder",
        ));
    }
    if let Some(mapping) = mapping {
        mapping.check_count(files.len(), &path)?;
    }
    let labels = match (flat, mapping) {
        (Some(_), None) => Labels::None,
        _ => classes.labels(),
    };
    Ok(Draft {
        path,
        samples: Box::new(TreeSamples::new(tree.clone(), files)),
        labels,
        classes: class_file(tree)?,
    })
}

/// The class list at the root of a tree.
fn class_file(tree: &FileTree) -> Result<Option<Vec<classes::Class>>> {
    let text = match tree.text(CLASS_FILE)? {
        // Of a folder, maybe only the part below was listed.
        None => std::fs::read_to_string(tree.root().join(CLASS_FILE)).ok(),
        text => text,
    };
    text.map(|text| classes::parse(&text, &tree.root().join(CLASS_FILE)))
        .transpose()
}
