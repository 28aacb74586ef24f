//! Weight folders: which file holds the weights, and which JSON describes them.

use super::Description;
use crate::files::text;
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
const EXTENSIONS: &[&str] = &[".pth.tar", ".safetensors", ".ckpt", ".pth", ".pt", ".bin"];
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

/// What a folder's weights are.
pub(super) enum Pick {
    File(PathBuf),
    /// The index of shards.
    Index(PathBuf),
    /// All shards of one model, in order, without an index.
    Shards(Vec<PathBuf>),
}

/// The weights of a folder.
pub(super) fn pick(folder: &Path) -> Result<Pick> {
    let known = NAMES.iter().find_map(|name| {
        let file = folder.join(name);
        let index = folder.join(format!("{name}{INDEX}"));
        match (file.is_file(), index.is_file()) {
            (true, _) => Some(Pick::File(file)),
            (false, true) => Some(Pick::Index(index)),
            _ => None,
        }
    });
    if let Some(pick) = known {
        return Ok(pick);
    }
    let entries = std::fs::read_dir(folder).map_err(|e| Error::file(folder, e))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(file_name(&entry.ok()?.path())))
        .collect();
    names.sort();
    let files: Vec<PathBuf> = names
        .iter()
        .map(|name| folder.join(name))
        .filter(|path| path.is_file() && (stem(path).is_some() || is_index(path)))
        .collect();
    let indices: Vec<&PathBuf> = files.iter().filter(|path| is_index(path)).collect();
    match (indices.as_slice(), files.as_slice()) {
        ([index], _) => Ok(Pick::Index(index.to_path_buf())),
        ([], [file]) if shard(file).is_none() => Ok(Pick::File(file.clone())),
        (_, []) => Err(Error::file(folder, nothing(&names))),
        ([], files) if files.iter().all(|file| shard(file).is_some()) => all_shards(folder, files),
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

/// Every file of `files` is a shard: whether they are the shards of one model, and all of them.
fn all_shards(folder: &Path, files: &[PathBuf]) -> Result<Pick> {
    let parts: Vec<Shard> = files.iter().filter_map(|file| shard(file)).collect();
    let of_one = parts
        .windows(2)
        .all(|pair| pair[0].model == pair[1].model && pair[0].of == pair[1].of);
    if !of_one {
        return Err(Error::file(
            folder,
            "holds the shards of several models; name the index (`.index.json`) of one of them",
        ));
    }
    let of = parts.first().map_or(0, |part| part.of);
    let absent = (1..=of).find(|number| !parts.iter().any(|part| part.number == *number));
    match absent {
        Some(number) => Err(Error::file(
            folder,
            format!(
                "holds {} of {of} shards; number {number} is not there: fetch the whole repository",
                parts.len()
            ),
        )),
        None => Ok(Pick::Shards(files.to_vec())),
    }
}

/// `model-00002-of-00003.safetensors`.
pub struct Shard {
    model: String,
    /// From 1.
    pub number: usize,
    pub of: usize,
}

/// A shard by its file's name.
pub fn shard(path: &Path) -> Option<Shard> {
    let stem = stem(path)?;
    let (rest, of) = stem.rsplit_once("-of-")?;
    let (model, number) = rest.rsplit_once('-')?;
    Some(Shard {
        model: model.to_string(),
        number: number.parse().ok()?,
        of: of.parse().ok()?,
    })
}

/// What a distributed checkpoint is and how one file is made of it.
pub(super) const DISTRIBUTED: &str = "is a distributed checkpoint (DCP), of which every rank wrote a part; make one file of it with \
     `python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER FILE.pth` \
     (torch.distributed.checkpoint.format_utils.dcp_to_torch_save)";

/// Why a folder holds no weights, by the names that are in it.
fn nothing(names: &[String]) -> String {
    let ends = |ending: &str| names.iter().any(|name| name.ends_with(ending));
    if ends(".distcp") {
        return DISTRIBUTED.into();
    }
    if names.iter().any(|name| name == "zero_to_fp32.py") {
        return "is a checkpoint of DeepSpeed; make one file of it with its own \
                `python zero_to_fp32.py . OUTPUT`"
            .into();
    }
    if ends(".incomplete") {
        return "holds an unfinished download (`.incomplete`); fetch it again".into();
    }
    let foreign = [
        (".h5", "TensorFlow"),
        (".msgpack", "Flax"),
        (".npz", "NumPy (big_vision)"),
        (".onnx", "ONNX"),
        (".gguf", "GGUF"),
        (".ckpt.index", "TensorFlow"),
    ];
    let seen = match foreign.iter().find(|(ending, _)| ends(ending)) {
        Some((ending, whose)) => format!(
            "; its `{ending}` file is {whose}'s, which is not read: fetch the PyTorch or safetensors file"
        ),
        None if names.is_empty() => "; it is empty".into(),
        None => format!("; it has {}", names[..names.len().min(5)].join(", ")),
    };
    format!(
        "holds no weights; looked for {} and for a file ending in {}{seen}",
        NAMES.join(", "),
        EXTENSIONS.join(", ")
    )
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

/// The JSON that may describe a weight file: named after it (`<stem>.json`, `<stem>_config.json`,
/// open_clip's `open_clip_config.json`), then the folder's. The first must be readable where it is
/// `decisive`, as nothing in the file comes before it.
pub(super) fn descriptions(file: &Path, decisive: bool) -> Result<Vec<Description>> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let name = file_name(file);
    let bare = name.strip_suffix(INDEX).unwrap_or(&name);
    let stem = stem(Path::new(bare)).unwrap_or(bare.to_string());
    let mut names = vec![format!("{stem}.json"), format!("{stem}_config.json")];
    if stem.starts_with("open_clip") {
        names.push("open_clip_config.json".into());
    }
    names.extend(CONFIGS.iter().map(ToString::to_string));
    let mut found: Vec<Description> = Vec::new();
    for name in names {
        let path = folder.join(&name);
        if !path.is_file() || found.iter().any(|d| d.place == name) {
            continue;
        }
        let read = read_json(&path).and_then(|value| match value.is_object() {
            true => Ok(value),
            false => Err(Error::file(
                &path,
                "describes no model: it is not a JSON object",
            )),
        });
        match read {
            Ok(value) => found.push(Description { place: name, value }),
            Err(error) if decisive && found.is_empty() => return Err(error),
            Err(error) => tracing::warn!("{error}; it is left out"),
        }
    }
    Ok(found)
}

fn read_json(path: &Path) -> Result<Value> {
    let text = text::read(path)?;
    if text.starts_with("version https://git-lfs") {
        return Err(Error::file(
            path,
            "is a Git LFS pointer; run `git lfs pull` in its repository, or fetch the file itself",
        ));
    }
    serde_json::from_str(&text).map_err(|e| Error::file(path, format!("not valid JSON: {e}")))
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
