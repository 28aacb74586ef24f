//! WebDataset shards: tar files in which `KEY.jpg` and its label `KEY.cls`, `KEY.json` or
//! `KEY.txt` share a key.

use super::draft::{Draft, Interner, Labels};
use super::folder::{count_unread, is_image};
use crate::data::content::Stamp;
use crate::data::labelled::EncodedImages;
use crate::data::tree::{FileTree, LeftOut};
use crate::{Error, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Fields of a sample's JSON that hold its class, the first found counts.
const JSON_FIELDS: [&str; 5] = ["label", "cls", "class_index", "class_id", "class"];

/// Images of several shards; a key is `SHARD/KEY.jpg`, so that shards may repeat keys.
struct ShardImages {
    shards: Vec<FileTree>,
    /// (shard, file in it)
    files: Vec<(u32, u32)>,
    keys: Vec<String>,
}

impl EncodedImages for ShardImages {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn key(&self, index: usize) -> &str {
        &self.keys[index]
    }

    fn size(&self, index: usize) -> u64 {
        let (shard, file) = self.files[index];
        self.shards[shard as usize].size(file as usize)
    }

    fn read(&self, index: usize) -> Result<Vec<u8>> {
        let (shard, file) = self.files[index];
        self.shards[shard as usize].read(file as usize)
    }

    fn stamp(&self, index: usize) -> Option<Stamp> {
        let (shard, file) = self.files[index];
        self.shards[shard as usize].stamp(file as usize)
    }
}

/// The part of a member's name that its sample shares, and the rest: WebDataset splits at the
/// first dot of the file name.
fn split_key(name: &str) -> (&str, &str) {
    let file = name.rfind('/').map_or(0, |slash| slash + 1);
    match name[file..].find('.') {
        Some(dot) => (&name[..file + dot], &name[file + dot + 1..]),
        None => (name, ""),
    }
}

/// The name without its last ending: what a name with dots in it shares with its label.
fn stem(name: &str) -> &str {
    let file = name.rfind('/').map_or(0, |slash| slash + 1);
    match name[file..].rfind('.') {
        Some(dot) => &name[..file + dot],
        None => name,
    }
}

/// Endings of labels, the first found counts.
const LABELS: [&str; 3] = ["cls", "json", "txt"];

/// The file `KEY.ENDING`, in small or capital letters.
fn companion(tree: &FileTree, key: &str, ending: &str) -> Option<usize> {
    let upper = ending.to_ascii_uppercase();
    [ending, &upper]
        .iter()
        .find_map(|ending| tree.find(&format!("{key}.{ending}")))
}

fn has_label(tree: &FileTree, key: &str) -> bool {
    LABELS
        .iter()
        .any(|ending| companion(tree, key, ending).is_some())
}

/// Whether a tar file looks like a shard: images that share their key with a label file.
pub fn recognises(tree: &FileTree) -> bool {
    let image = tree.names().find(|name| is_image(name));
    image.is_some_and(|name| has_label(tree, stem(name)) || has_label(tree, split_key(name).0))
}

/// The key of each image that is a sample.
///
/// `KEY.jpg` is; of `A.B.jpg` the key is `A.B` where a label says so, or where `A` has no picture
/// of its own; else it is another field (`KEY.seg.png`) of the sample `A`.
fn sample_key<'a>(tree: &FileTree, name: &'a str) -> Option<&'a str> {
    let (key, ending) = split_key(name);
    let stem = stem(name);
    if !ending.contains('.') || has_label(tree, stem) {
        return Some(stem);
    }
    let prefix = format!("{key}.");
    let own = tree.names_below(&prefix);
    let mut own = own.filter(|other| !split_key(other).1.contains('.') && is_image(other));
    match own.next() {
        Some(_) => None,
        None if has_label(tree, key) => {
            // `KEY.image.png` with `KEY.cls`: the first picture of the key is the sample.
            let mut pictures = tree.names_below(&prefix);
            let first = pictures.find(|other| is_image(other));
            (first == Some(name)).then_some(key)
        }
        None => Some(stem),
    }
}

/// Reads shards as one split, in the order given.
pub fn draft(paths: &[PathBuf], pattern: &Path) -> Result<Draft> {
    let mut samples = ShardImages {
        shards: Vec::new(),
        files: Vec::new(),
        keys: Vec::new(),
    };
    let mut labels = Collected::default();
    let mut left_out = LeftOut::default();
    for path in paths {
        let tree = FileTree::open_tar(path)?;
        left_out.extend(tree.left_out());
        let shard = path.file_stem().unwrap_or_default().to_string_lossy();
        for (index, name) in tree.names().enumerate() {
            if !is_image(name) {
                count_unread(name, &mut left_out);
                continue;
            }
            let Some(key) = sample_key(&tree, name) else {
                left_out.push("pictures that are another field of a sample", name);
                continue;
            };
            labels.push(&tree, key, index)?;
            samples
                .files
                .push((samples.shards.len() as u32, index as u32));
            samples.keys.push(format!("{shard}/{name}"));
        }
        samples.shards.push(tree);
    }
    Ok(Draft {
        path: pattern.to_path_buf(),
        samples: Box::new(samples),
        labels: labels.finish(pattern)?,
        classes: None,
        left_out,
        notes: Vec::new(),
    })
}

/// Labels as they come: all numbers, all names, or none at all.
#[derive(Default)]
struct Collected {
    numbers: Vec<u32>,
    names: Interner,
    named: usize,
    without: usize,
}

impl Collected {
    fn push(&mut self, tree: &FileTree, key: &str, image: usize) -> Result<()> {
        match label(tree, key)? {
            None => self.without += 1,
            Some(text) => match text.parse() {
                Ok(number) => self.numbers.push(number),
                Err(_) if text.parse::<f64>().is_ok() => {
                    return Err(Error::file(
                        tree.path(image),
                        format!(
                            "has label {text}, which is no class; classes are numbers from 0, or names"
                        ),
                    ));
                }
                Err(_) => {
                    self.named += 1;
                    self.names.push(&text);
                }
            },
        }
        Ok(())
    }

    fn finish(self, path: &Path) -> Result<Labels> {
        match (self.numbers.len(), self.named, self.without) {
            (0, 0, _) => Ok(Labels::None),
            (_, 0, 0) => Ok(Labels::Indices(self.numbers)),
            (0, _, 0) => Ok(self.names.labels()),
            (numbers, names, without) => Err(Error::file(
                path,
                format!(
                    "labels are mixed: {numbers} samples have a number, {names} a name and {without} none"
                ),
            )),
        }
    }
}

/// The label of the sample `key` as text, from `.cls`, else `.json`, else `.txt`.
fn label(tree: &FileTree, key: &str) -> Result<Option<String>> {
    let text = |ending: &str| match companion(tree, key, ending) {
        Some(index) => tree.text(tree.name(index)),
        None => Ok(None),
    };
    if let Some(text) = text("cls")? {
        return Ok(Some(text.trim().to_string()));
    }
    if let Some(text) = text("json")? {
        let fields: Value = serde_json::from_str(&text).map_err(|e| {
            Error::file(
                tree.root().join(format!("{key}.json")),
                format!("is not JSON: {e}"),
            )
        })?;
        let value = JSON_FIELDS.iter().find_map(|field| fields.get(field));
        match value {
            Some(Value::String(text)) => return Ok(Some(text.clone())),
            Some(Value::Number(number)) => return Ok(Some(number.to_string())),
            _ => {}
        }
    }
    Ok(text("txt")?.map(|text| text.trim().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_end_at_the_first_dot_of_the_file_name() {
        assert_eq!(split_key("a.b/0001.seg.png"), ("a.b/0001", "seg.png"));
        assert_eq!(split_key("0001.jpg"), ("0001", "jpg"));
        assert_eq!(stem("set.v1/22.05_0001.jpg"), "set.v1/22.05_0001");
    }
}
