//! What a run was made from: a record is valid as long as nothing of it has changed.

use super::plan::Run;
use crate::data::catalogue;
use crate::files::write_atomically;
use crate::hash::{hex, remembered, sha256};
use crate::models::{self, ModelSpec};
use crate::report::{Record, environment};
use crate::runtime::{device, interrupt};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// Beside the records of a run.
const FILE: &str = "run.state";

/// A finished run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    /// Command, tool, device: text by name.
    made_by: BTreeMap<String, String>,
    /// Weights, data and files, by name: a hash of what they were.
    inputs: BTreeMap<String, String>,
    pub wall_s: f64,
}

impl State {
    /// What a run would be made from now.
    ///
    /// # Errors
    /// Where weights or data are not on this machine: the sentence of the command itself.
    pub fn now(run: &Run) -> Result<Self> {
        let named = device::parse_device(run.flag("device").unwrap_or("auto"))?;
        let made_by = [
            ("command", run.words().join(" ")),
            ("tool", env!("CARGO_PKG_VERSION").to_string()),
            ("revision", environment::GIT_REVISION.to_string()),
            ("libtorch", environment::LIBTORCH_VERSION.to_string()),
            ("device", environment::device_name(named)),
        ];
        let mut inputs = BTreeMap::new();
        // Speed needs no weights: drawn, unless they are named.
        let drawn = run.flags.contains_key("random-weights")
            || (run.task.in_turns && !run.flags.contains_key("weights"));
        for model in &run.models {
            let spec = ModelSpec {
                model: model.clone(),
                weights: run.flag("weights").map(PathBuf::from),
                random_weights: (drawn && models::zoo::find(model).is_ok()).then_some(0),
            };
            let hash = models::weights_sha256(&spec)?;
            inputs.insert(
                format!("weights of {model}"),
                hash.unwrap_or_else(|| "random".into()),
            );
        }
        if let Some(data) = run.data() {
            inputs.insert(format!("data {data}"), stamp(&data_folder(data)?)?);
        }
        for value in run.flags.values().flatten() {
            let path = Path::new(value);
            if path.exists() && value.contains(['/', '.']) {
                inputs.insert(format!("file {value}"), stamp(path)?);
            }
        }
        Ok(State {
            made_by: BTreeMap::from(made_by.map(|(name, text)| (name.to_string(), text))),
            inputs,
            wall_s: 0.0,
        })
    }

    /// Files that a record names among its options (a text tower's weights), as they are now.
    fn add_files_of(&mut self, records: &[Record]) -> Result<()> {
        for value in records.iter().flat_map(|record| record.options.values()) {
            if let Some(path) = value.as_str().map(Path::new)
                && path.is_absolute()
                && path.exists()
            {
                self.inputs
                    .insert(format!("file {}", path.display()), stamp(path)?);
            }
        }
        Ok(())
    }

    pub fn read(folder: &Path) -> Option<Self> {
        let text = std::fs::read(folder.join(FILE)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Says that the records in `folder` are whole.
    pub fn write(mut self, folder: &Path, records: &[Record], wall_s: f64) -> Result<()> {
        self.add_files_of(records)?;
        self.wall_s = wall_s;
        let text = serde_json::to_vec_pretty(&self)
            .map_err(|e| Error::file(folder, format!("its state is no JSON: {e}")))?;
        write_atomically(&folder.join(FILE), &text)
    }

    /// Takes away the word that records are whole, before they are made anew.
    pub fn forget(folder: &Path) -> Result<()> {
        match std::fs::remove_file(folder.join(FILE)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::file(folder, e)),
            _ => Ok(()),
        }
    }

    /// Whether the records in `folder` are those that a run would make now.
    pub fn is_valid(&self, folder: &Path, records: &[Record]) -> Result<bool> {
        let Some(kept) = State::read(folder) else {
            return Ok(false);
        };
        let mut now = self.clone();
        now.add_files_of(records)?;
        Ok(!records.is_empty() && kept.made_by == now.made_by && kept.inputs == now.inputs)
    }
}

/// Where a data set lies: the root of a name, or the path itself (of a shard pattern, its folder).
fn data_folder(spec: &str) -> Result<PathBuf> {
    if let Some(entry) = catalogue::load()?.find(spec)? {
        return entry.root();
    }
    let path = crate::data::paths::expand(spec)?;
    let path = Path::new(path.as_ref());
    match path.exists() {
        true => Ok(path.to_path_buf()),
        false => Ok(path.parent().unwrap_or(path).to_path_buf()),
    }
}

/// A file's SHA-256, remembered; of a folder, a hash over names, sizes, times and inodes of all
/// files in it.
fn stamp(path: &Path) -> Result<String> {
    if path.is_file() {
        return remembered::of_file(path);
    }
    let mut hash = Sha256::new();
    for entry in WalkDir::new(path).follow_links(true).sort_by_file_name() {
        interrupt::check()?;
        let entry = entry.map_err(|e| Error::file(path, e))?;
        if entry.file_type().is_dir() {
            continue;
        }
        let meta = entry.metadata().map_err(|e| Error::file(entry.path(), e))?;
        hash.update(entry.path().as_os_str().as_encoded_bytes());
        for number in [
            meta.size(),
            meta.ino(),
            meta.mtime() as u64,
            meta.mtime_nsec() as u64,
        ] {
            hash.update(number.to_le_bytes());
        }
    }
    Ok(sha256(hex(&hash.finalize())))
}
