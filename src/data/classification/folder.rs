//! One folder per class (ILSVRC, torchvision's ImageFolder), on disk or inside a tar file; and
//! flat splits whose classes a mapping file tells.

use super::classes::{self, CLASS_FILE};
use super::draft::{Draft, Interner, Labels};
use super::mapping::Mapping;
use crate::data::labelled::TreeImages;
use crate::data::tree::{FileTree, LeftOut};
use crate::files::text;
use crate::{Error, Result};
use std::sync::Arc;

/// Endings of images that this tool decodes.
const IMAGES: [&str; 17] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "apng", "bmp", "dib", "gif", "tif", "tiff", "webp", "ppm",
    "pgm", "pbm", "pnm", "pfm",
];
/// Endings of what lies beside images and is none.
const COMPANIONS: [&str; 26] = [
    "txt", "json", "jsonl", "csv", "tsv", "md", "rst", "html", "htm", "xml", "yaml", "yml", "toml",
    "mat", "cls", "lst", "log", "ini", "db", "py", "sh", "pdf", "tfw", "xmp", "sha256", "md5",
];

/// Whether a file name ends like an image this tool decodes.
pub fn is_image(name: &str) -> bool {
    ends_with_one_of(name, &IMAGES)
}

fn ends_with_one_of(name: &str, endings: &[&str]) -> bool {
    name.rsplit_once('.')
        .is_some_and(|(_, ending)| endings.iter().any(|e| e.eq_ignore_ascii_case(ending)))
}

/// Counts a file that is neither an image nor what usually lies beside images.
pub fn count_unread(name: &str, left_out: &mut LeftOut) {
    let file = name.rsplit('/').next().unwrap_or(name);
    if is_image(file) || ends_with_one_of(file, &COMPANIONS) {
        return;
    }
    let known = ["LICENSE", "README", "SHA256SUMS", "MD5SUMS"];
    match file.rsplit_once('.') {
        Some((_, ending)) => {
            let reason = format!("files with the ending .{ending}, which is not read");
            left_out.push(&reason, name);
        }
        None if known.contains(&file) => {}
        None => left_out.push("files without an ending", name),
    }
}

/// Reads one split of `tree`: the images below `prefix` (`"train/"`, or empty).
///
/// The class of `prefix/CLASS/[...]/IMAGE` is its folder; of `prefix/IMAGE` what `mapping` says.
pub fn draft(tree: &Arc<FileTree>, prefix: &str, mapping: Option<&Mapping>) -> Result<Draft> {
    let mut files = Vec::new();
    let mut classes = Interner::default();
    let mut left_out = tree.left_out().clone();
    let (mut foldered, mut flat) = (0usize, None);
    for (index, name) in tree.names().enumerate() {
        let Some(inside) = name.strip_prefix(prefix) else {
            continue;
        };
        if !is_image(inside) {
            count_unread(name, &mut left_out);
            continue;
        }
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
        samples: Box::new(TreeImages::new(tree.clone(), files)),
        labels,
        classes: class_file(tree)?,
        left_out,
        notes: Vec::new(),
    })
}

/// The class list at the root of a tree.
fn class_file(tree: &FileTree) -> Result<Option<Vec<classes::Class>>> {
    let path = tree.root().join(CLASS_FILE);
    let text = match tree.text(CLASS_FILE)? {
        // Of a folder, maybe only the part below was listed.
        None if path.is_file() => Some(text::read(&path)?),
        text => text,
    };
    text.map(|text| classes::parse(&text, &path)).transpose()
}
