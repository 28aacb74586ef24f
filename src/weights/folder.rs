//! Weight folders: which file holds the weights, and which JSON describes them.

use crate::{Error, Result};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Weight files by the names that Hugging Face repositories use, the preferred one first: in a
/// repository with both, open_clip's file is the whole model and `model.safetensors` may be the
/// image tower alone.
const NAMES: &[&str] = &[
    "open_clip_model.safetensors",
    "model.safetensors",
    "open_clip_pytorch_model.bin",
    "pytorch_model.bin",
];
const INDEX: &str = ".index.json";
/// Longest first: `.pth.tar` before `.tar`.
const EXTENSIONS: &[&str] = &[".pth.tar", ".safetensors", ".pth", ".pt", ".bin"];
/// JSON that describes the one model of a folder.
const CONFIGS: &[&str] = &[
    "config.json",
    "args.json",
    "hub_config.json",
    "openclip_config.json",
    "open_clip_config.json",
];

pub(super) fn is_index(path: &Path) -> bool {
    file_name(path).ends_with(INDEX)
}

/// The weight file of a folder, or the index of its shards.
pub(super) fn pick(folder: &Path) -> Result<PathBuf> {
    let known = NAMES.iter().find_map(|name| {
        let file = folder.join(name);
        let index = folder.join(format!("{name}{INDEX}"));
        [file, index].into_iter().find(|path| path.is_file())
    });
    if let Some(path) = known {
        return Ok(path);
    }
    let entries = std::fs::read_dir(folder).map_err(|e| Error::file(folder, e))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_file() && (stem(path).is_some() || is_index(path)))
        .collect();
    files.sort();
    let indices: Vec<&PathBuf> = files.iter().filter(|path| is_index(path)).collect();
    match (indices.as_slice(), files.as_slice()) {
        ([index], _) => Ok(index.to_path_buf()),
        ([], [file]) => Ok(file.clone()),
        (_, []) => Err(Error::file(
            folder,
            format!(
                "holds no weights; looked for {} and for a file ending in {}",
                NAMES.join(", "),
                EXTENSIONS.join(", ")
            ),
        )),
        _ => {
            let names: Vec<String> = files.iter().map(|f| file_name(f)).collect();
            Err(Error::file(
                folder,
                format!(
                    "holds several weight files ({}); name one of them",
                    names.join(", ")
                ),
            ))
        }
    }
}

/// The tensors that an index promises, and its shards in order of name.
pub(super) fn read_index(index: &Path) -> Result<(Vec<String>, Vec<PathBuf>)> {
    let damaged = |reason: &str| Error::file(index, format!("not an index of shards: {reason}"));
    let json = read_json(index)?;
    let map = json["weight_map"]
        .as_object()
        .ok_or_else(|| damaged("it has no `weight_map`"))?;
    let mut shards = BTreeSet::new();
    for shard in map.values() {
        let shard = shard
            .as_str()
            .ok_or_else(|| damaged("a shard's name is not text"))?;
        if shard.is_empty() || shard.contains(['/', '\\']) || shard == ".." {
            return Err(damaged(&format!(
                "`{shard}` is not the name of a file beside it"
            )));
        }
        shards.insert(shard);
    }
    let folder = index.parent().unwrap_or(Path::new(""));
    let shards: Vec<PathBuf> = shards.into_iter().map(|shard| folder.join(shard)).collect();
    if let Some(absent) = shards.iter().find(|shard| !shard.is_file()) {
        return Err(Error::file(
            absent,
            format!(
                "this shard of {} is not there; fetch the whole repository",
                index.display()
            ),
        ));
    }
    Ok((map.keys().cloned().collect(), shards))
}

/// The JSON that describes a weight file: named after it (`<stem>.json`, `<stem>_config.json`,
/// open_clip's `open_clip_config.json`), else the folder's; `Null` where there is none.
pub(super) fn config_beside(file: &Path) -> Result<Value> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let name = file_name(file);
    let bare = name.strip_suffix(INDEX).unwrap_or(&name);
    let stem = stem(Path::new(bare)).unwrap_or(bare.to_string());
    let mut names = vec![format!("{stem}.json"), format!("{stem}_config.json")];
    if stem.starts_with("open_clip") {
        names.push("open_clip_config.json".into());
    }
    names.extend(CONFIGS.iter().map(ToString::to_string));
    let found = names
        .iter()
        .map(|name| folder.join(name))
        .find(|path| path.is_file());
    let Some(path) = found else {
        return Ok(Value::Null);
    };
    let config = read_json(&path)?;
    match config.is_object() {
        true => Ok(config),
        false => Err(Error::file(
            path,
            "describes no model: it is not a JSON object",
        )),
    }
}

fn read_json(path: &Path) -> Result<Value> {
    let text = std::fs::read(path).map_err(|e| Error::file(path, e))?;
    serde_json::from_slice(&text).map_err(|e| Error::file(path, format!("not valid JSON: {e}")))
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// The file's name without the extension of weight files; `None` for other files.
fn stem(path: &Path) -> Option<String> {
    let name = file_name(path);
    EXTENSIONS
        .iter()
        .find_map(|e| Some(name.strip_suffix(e)?.to_string()))
}
