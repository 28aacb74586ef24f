//! The schema of `datasets.toml`: where data sets live, their layout, splits and checksums.

use super::toml_file;
use crate::Result;
use crate::files::text;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::path::Path;
use toml::Spanned;

/// What a data set is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DatasetTask {
    /// One class per image (kNN, zero-shot).
    Classification,
    /// A mask of class ids per image (linear probe).
    Segmentation,
    /// COCO annotations (detection, SAM prompts).
    Coco,
    /// LLaVA conversations over images.
    Llava,
    /// Images alone (distillation).
    Images,
}

impl DatasetTask {
    pub fn name(self) -> &'static str {
        match self {
            DatasetTask::Classification => "classification",
            DatasetTask::Segmentation => "segmentation",
            DatasetTask::Coco => "coco",
            DatasetTask::Llava => "llava",
            DatasetTask::Images => "images",
        }
    }
}

/// How a classification data set lies on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DatasetLayout {
    /// One folder per class, with or without `train/` and `val/`, on disk or in tar files; a flat
    /// split with a mapping file
    Folder,
    /// WebDataset shards: KEY.jpg with KEY.cls, KEY.json or KEY.txt
    Webdataset,
    /// Hugging Face parquet files with columns `image` and `label`
    Parquet,
}

/// One data set.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetConfig {
    pub task: DatasetTask,
    /// One sentence for the list.
    pub about: String,
    /// Page to get it from, where it is not shipped.
    #[serde(default)]
    pub source: Option<String>,
    /// Hugging Face data set repository (`ORG/NAME`) that `radio-eval fetch` takes it from; paths
    /// of splits are then those of the repository, which may hold one `*`.
    #[serde(default)]
    pub hub: Option<String>,
    /// Classification only; recognised when absent.
    #[serde(default)]
    pub layout: Option<DatasetLayout>,
    /// Folders to look in, the first that exists counts. `$NAME` is an environment variable,
    /// `~` the home folder, `assets:` what ships with this tool. `$RADIO_EVAL_DATA/<name>` is
    /// always looked at first.
    #[serde(default)]
    pub roots: Vec<String>,
    /// Number of classes, for the check.
    #[serde(default)]
    pub classes: Option<u32>,
    /// Segmentation: class list inside the root or inside a split's archive.
    #[serde(default)]
    pub class_list: Option<String>,
    /// Segmentation: mask value 0 is "no class", and class c is stored as c + 1.
    #[serde(default)]
    pub reduce_zero_label: bool,
    pub splits: IndexMap<String, SplitConfig>,
}

/// One split. Paths are relative to the root; a path may be a folder, a tar file, a shard pattern
/// (`{000000..000012}.tar`) or a parquet file.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SplitConfig {
    /// Where images (and labels) are.
    pub path: String,
    /// Segmentation: folder of the masks; COCO and LLaVA: the annotation file. Inside a tar
    /// split, a member's name.
    #[serde(default)]
    pub annotations: Option<String>,
    /// Segmentation: folder of the images inside `path`.
    #[serde(default)]
    pub images: Option<String>,
    /// Number of images, for the check.
    #[serde(default)]
    pub samples: Option<u64>,
    /// SHA-256 of files, by path relative to the root.
    #[serde(default)]
    pub sha256: IndexMap<String, String>,
}

/// Parses and validates a `datasets.toml`; `path` is for messages.
pub fn parse(path: &Path, text: &str) -> Result<IndexMap<String, DatasetConfig>> {
    let entries: IndexMap<String, Spanned<DatasetConfig>> = toml_file::parse(path, text)?;
    entries
        .into_iter()
        .map(|(name, entry)| {
            let span = entry.span();
            let entry = entry.into_inner();
            match entry.fault() {
                None => Ok((name, entry)),
                Some(fault) => Err(toml_file::at(
                    path,
                    text,
                    span,
                    format!("data set `{name}`: {fault}"),
                )),
            }
        })
        .collect()
}

/// Reads a user's own `datasets.toml`.
pub fn read(path: &Path) -> Result<IndexMap<String, DatasetConfig>> {
    parse(path, &text::read(path)?)
}

impl DatasetConfig {
    fn fault(&self) -> Option<String> {
        if self.splits.is_empty() {
            return Some("has no split; write [NAME.splits.val] with a `path`".into());
        }
        if self.layout.is_some() && self.task != DatasetTask::Classification {
            return Some(format!(
                "`layout` is for classification only, its task is {}",
                self.task.name()
            ));
        }
        for (name, split) in &self.splits {
            let missing = match self.task {
                DatasetTask::Segmentation => split.images.is_none() || split.annotations.is_none(),
                DatasetTask::Coco | DatasetTask::Llava => split.annotations.is_none(),
                DatasetTask::Classification | DatasetTask::Images => false,
            };
            if missing {
                return Some(match self.task {
                    DatasetTask::Segmentation => {
                        format!("split `{name}` needs `images` and `annotations`")
                    }
                    _ => format!("split `{name}` needs `annotations`"),
                });
            }
            for (file, hash) in &split.sha256 {
                if hash.len() != 64 || !hash.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Some(format!(
                        "split `{name}`: the sha256 of `{file}` is not 64 hexadecimal digits"
                    ));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(Path::new("datasets.toml"), text)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn errors_name_file_and_line() {
        let text = "[a]\ntask = \"classification\"\nabout = \"\"\nlayuot = \"folder\"\n";
        assert!(
            error(text).starts_with("datasets.toml: line 4: unknown field `layuot`"),
            "{}",
            error(text)
        );
        let text = "[a]\ntask = \"coco\"\nabout = \"\"\n[a.splits.val]\npath = \"x\"\n";
        assert_eq!(
            error(text),
            "datasets.toml: line 1: data set `a`: split `val` needs `annotations`"
        );
    }

    #[test]
    fn wrong_checksum_is_told() {
        let text = "[a]\ntask = \"images\"\nabout = \"\"\n[a.splits.val]\npath = \"x\"\nsha256 = { \"x\" = \"12\" }\n";
        assert!(
            error(text).contains("not 64 hexadecimal digits"),
            "{}",
            error(text)
        );
    }
}
