//! WebDataset shards: tar files in which `KEY.jpg` and its label `KEY.cls`, `KEY.json` or
//! `KEY.txt` share a key.

use super::draft::{Draft, Interner, Labels};
use super::folder::is_image;
use crate::data::content::Stamp;
use crate::data::labelled::Samples;
use crate::data::tree::FileTree;
use crate::{Error, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Fields of a sample's JSON that hold its class, the first found counts.
const JSON_FIELDS: [&str; 5] = ["label", "cls", "class_index", "class_id", "class"];

/// Images of several shards; a key is `SHARD/KEY.jpg`, so that shards may repeat keys.
struct ShardSamples {
    shards: Vec<FileTree>,
    /// (shard, file in it)
    files: Vec<(u32, u32)>,
    keys: Vec<String>,
}

impl Samples for ShardSamples {
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

/// Whether a tar file looks like a shard: images that share their key with a label file.
pub fn recognises(tree: &FileTree) -> bool {
    let image = tree.names().find(|name| is_image(name));
    image.is_some_and(|name| {
        let (key, _) = split_key(name);
        ["cls", "json", "txt"]
            .iter()
            .any(|ending| tree.find(&format!("{key}.{ending}")).is_some())
    })
}

/// Reads shards as one split, in the order given.
pub fn draft(paths: &[PathBuf], pattern: &Path) -> Result<Draft> {
    let mut samples = ShardSamples {
        shards: Vec::new(),
        files: Vec::new(),
        keys: Vec::new(),
    };
    let mut labels = Collected::default();
    for path in paths {
        let tree = FileTree::open_tar(path)?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        for (index, name) in tree.names().enumerate() {
            let (key, ending) = split_key(name);
            // `KEY.jpg` only: `KEY.seg.png` is another field of the same sample.
            if ending.contains('.') || !is_image(name) {
                continue;
            }
            labels.push(&tree, key)?;
            samples
                .files
                .push((samples.shards.len() as u32, index as u32));
            samples.keys.push(format!("{stem}/{name}"));
        }
        samples.shards.push(tree);
    }
    Ok(Draft {
        path: pattern.to_path_buf(),
        samples: Box::new(samples),
        labels: labels.finish(pattern)?,
        classes: None,
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
    fn push(&mut self, tree: &FileTree, key: &str) -> Result<()> {
        match label(tree, key)? {
            None => self.without += 1,
            Some(text) => match text.parse() {
                Ok(number) => self.numbers.push(number),
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
    if let Some(text) = tree.text(&format!("{key}.cls"))? {
        return Ok(Some(text.trim().to_string()));
    }
    let json = format!("{key}.json");
    if let Some(text) = tree.text(&json)? {
        let fields: Value = serde_json::from_str(&text)
            .map_err(|e| Error::file(tree.root().join(&json), format!("is not JSON: {e}")))?;
        let value = JSON_FIELDS.iter().find_map(|field| fields.get(field));
        match value {
            Some(Value::String(text)) => return Ok(Some(text.clone())),
            Some(Value::Number(number)) => return Ok(Some(number.to_string())),
            _ => {}
        }
    }
    let text = tree.text(&format!("{key}.txt"))?;
    Ok(text.map(|text| text.trim().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_end_at_the_first_dot_of_the_file_name() {
        assert_eq!(split_key("a.b/0001.seg.png"), ("a.b/0001", "seg.png"));
        assert_eq!(split_key("0001.jpg"), ("0001", "jpg"));
    }
}
