//! What `$RADIO_EVAL_HOME/cache` holds, and taking it away.

use crate::store::{self, Header};
use crate::weights::safetensors;
use crate::{Error, Result};
use serde::Serialize;
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use walkdir::WalkDir;

/// What an entry is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Features of a data set's images.
    Features,
    /// Hashes of a data set's images.
    Contents,
    /// How far a file of features is.
    Export,
    /// Text embeddings of class names.
    Classifier,
    /// A head in training.
    Training,
    /// What came of prompts to SAM's decoder.
    SamSwap,
    /// Hashes of weight files.
    WeightHashes,
    /// A file that no part of this tool reads.
    Unknown,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Features => "features",
            Kind::Contents => "image hashes",
            Kind::Export => "export under way",
            Kind::Classifier => "text classifier",
            Kind::Training => "head in training",
            Kind::SamSwap => "masks judged",
            Kind::WeightHashes => "weight hashes",
            Kind::Unknown => "unknown",
        }
    }

    /// The kind of what lies in the cache's folder of that name.
    fn of_folder(name: &str) -> Self {
        match name {
            "features" => Kind::Features,
            "contents" => Kind::Contents,
            "exports" => Kind::Export,
            "classifiers" => Kind::Classifier,
            "segmentation" | "detection" => Kind::Training,
            "sam_swap" => Kind::SamSwap,
            "sha256" => Kind::WeightHashes,
            _ => Kind::Unknown,
        }
    }

    /// Whether each entry is a store, not a file.
    fn is_store(self) -> bool {
        matches!(
            self,
            Kind::Features | Kind::Contents | Kind::Export | Kind::SamSwap
        )
    }
}

/// One thing that can be taken away by itself.
#[derive(Debug, Clone, Serialize)]
pub struct CachedItem {
    pub kind: Kind,
    pub path: PathBuf,
    pub bytes: u64,
    /// Seconds since it was last used.
    pub age_s: u64,
    /// The model it belongs to, where it does to one.
    pub model: Option<String>,
    /// Images or classes that are done, of how many; `None` where nothing is counted.
    pub done: Option<(usize, usize)>,
    /// Why it cannot be used again.
    pub damage: Option<String>,
}

/// Every entry of the cache below `home`, the largest first.
pub fn list(home: &Path) -> Result<Vec<CachedItem>> {
    let mut entries = Vec::new();
    for folder in children(&home.join("cache"))? {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let kind = Kind::of_folder(&name);
        match kind {
            // Small, many, and of use together only.
            Kind::WeightHashes | Kind::Unknown => entries.push(CachedItem::new(kind, folder)),
            Kind::Features => {
                for shelf in children(&folder)? {
                    let stores = children(&shelf)?.into_iter().filter(|path| path.is_dir());
                    entries.extend(stores.map(|path| CachedItem::new(kind, path)));
                }
            }
            _ => entries.extend(
                children(&folder)?
                    .into_iter()
                    .map(|p| CachedItem::new(kind, p)),
            ),
        }
    }
    entries.sort_by(|a, b| (b.bytes, &a.path).cmp(&(a.bytes, &b.path)));
    Ok(entries)
}

/// Which entries go.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    pub older_than: Option<Duration>,
    pub model: Option<String>,
}

impl Selection {
    pub fn takes(&self, entry: &CachedItem) -> bool {
        let old = |age: Duration| entry.age_s >= age.as_secs();
        let of = |model: &String| entry.model.as_ref() == Some(model);
        self.older_than.is_none_or(old) && self.model.as_ref().is_none_or(of)
    }
}

/// Takes an entry away; `false` if another process is using it.
pub fn remove(entry: &CachedItem) -> Result<bool> {
    let fail = |e: std::io::Error| Error::file(&entry.path, e);
    if entry.kind.is_store() {
        if !store::remove(&entry.path)? {
            return Ok(false);
        }
        // A shelf whose last store went.
        if let Some(shelf) = entry.path.parent() {
            let _ = std::fs::remove_dir(shelf);
        }
    } else if entry.path.is_dir() {
        std::fs::remove_dir_all(&entry.path).map_err(fail)?;
    } else {
        std::fs::remove_file(&entry.path).map_err(fail)?;
    }
    Ok(true)
}

fn children(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) if e.kind() == std::io::ErrorKind::NotADirectory => return Ok(Vec::new()),
        Err(e) => return Err(Error::file(folder, e)),
    };
    Ok(entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect())
}

impl CachedItem {
    fn new(kind: Kind, path: PathBuf) -> Self {
        let files = || WalkDir::new(&path).into_iter().filter_map(Result::ok);
        let files = || {
            files()
                .filter_map(|file| file.metadata().ok())
                .filter(|m| m.is_file())
        };
        let used = files().filter_map(|m| m.modified().ok()).max();
        let age = used.and_then(|used| SystemTime::now().duration_since(used).ok());
        let mut entry = CachedItem {
            kind,
            bytes: files().map(|m| m.len()).sum(),
            age_s: age.map_or(0, |age| age.as_secs()),
            model: None,
            done: None,
            damage: None,
            path,
        };
        if kind.is_store() {
            entry.look_into_store();
        } else if matches!(kind, Kind::Classifier | Kind::Training) {
            match safetensors::open(&entry.path) {
                Ok((_, metadata)) => entry.look_into_metadata(&metadata),
                Err(damage) => entry.damage = Some(damage.to_string()),
            }
        }
        entry
    }

    fn look_into_metadata(&mut self, metadata: &HashMap<String, String>) {
        self.model = metadata.get("model").cloned();
        let number = |name: &str| metadata.get(name)?.parse().ok();
        if let (Some(done), Some(total)) = (number("iteration"), number("iterations")) {
            self.done = Some((done, total));
        }
    }

    /// Sums up the parts.
    fn look_into_store(&mut self) {
        let (mut done, mut total) = (0, 0);
        for part in store::parts(&self.path) {
            match store::examine(&part) {
                Ok(Some(header)) => {
                    done += header.done;
                    total += header.total;
                    self.model = self.model.take().or_else(|| model_of(&header));
                }
                Ok(None) => {}
                Err(damage) => self.damage = Some(damage),
            }
        }
        self.done = Some((done, total));
    }
}

/// The model's name, wherever the key has it.
fn model_of(header: &Header) -> Option<String> {
    fn find(key: &Value) -> Option<&str> {
        let fields = key.as_object()?;
        let own = fields
            .get("network")
            .and_then(|network| network["model"].as_str());
        own.or_else(|| fields.get("of").and_then(find))
    }
    find(&header.key).map(str::to_string)
}
