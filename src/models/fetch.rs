//! Which files of a repository make the model.

use super::zoo::Repository;
use crate::{Error, Result};

/// Small files beside the weights: what the network is, how it was fed, how text becomes tokens.
const COMPANIONS: &[&str] = &[
    "config.json",
    "open_clip_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "tokenizer.model",
];

/// The weights, whole or in shards with their index, and the small files beside them; `listed` are
/// the files of the repository.
pub fn files(from: Repository, listed: &[String]) -> Result<Vec<String>> {
    let has = |name: &str| listed.iter().any(|file| file == name);
    let index = format!("{}.index.json", from.file);
    let mut chosen = Vec::new();
    if has(from.file) {
        chosen.push(from.file.to_string());
    } else if has(&index) {
        // `model.safetensors` -> `model-00001-of-00003.safetensors`
        let (stem, extension) = from.file.rsplit_once('.').unwrap_or((from.file, ""));
        chosen.push(index);
        let shard = |name: &&String| {
            name.starts_with(&format!("{stem}-"))
                && name.ends_with(&format!(".{extension}"))
                && name.contains("-of-")
        };
        chosen.extend(listed.iter().filter(shard).cloned());
    } else {
        return Err(Error::model(format!(
            "{} has no file {}; the repository may have changed: see its page, fetch the weights by hand and name them with --weights",
            from.repo, from.file
        )));
    }
    let companions = COMPANIONS.iter().filter(|name| has(name));
    chosen.extend(companions.map(ToString::to_string));
    Ok(chosen)
}
