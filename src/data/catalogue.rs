//! Data sets known by name: the shipped `datasets.toml` and the user's own.

use crate::config::DatasetLayout;
use crate::config::datasets;
pub use crate::config::{DatasetConfig, DatasetTask, SplitConfig};
use crate::data::{brace, paths};
use crate::hub::{HubCache, RepoKind};
use crate::runtime::home;
use crate::{Error, Result, assets};
use indexmap::IndexMap;
use std::path::{Path, PathBuf};

const SHIPPED: &str = include_str!("../../datasets.toml");
/// A `datasets.toml` of the user's: this variable, else `$RADIO_EVAL_HOME/datasets.toml`.
const OWN: &str = "RADIO_EVAL_DATASETS";
/// A folder with one folder per data set.
const DATA: &str = "RADIO_EVAL_DATA";

/// Every data set known by name.
pub struct Catalogue {
    pub entries: Vec<DatasetEntry>,
}

/// A data set known by name.
pub struct DatasetEntry {
    pub name: String,
    pub config: DatasetConfig,
}

/// Reads the shipped list and the user's, whose entries take the place of shipped ones.
pub fn load() -> Result<Catalogue> {
    let mut entries = datasets::parse(Path::new("datasets.toml"), SHIPPED)?;
    let own = match std::env::var_os(OWN) {
        Some(path) => Some(PathBuf::from(path)),
        None => Some(home().join("datasets.toml")).filter(|p| p.is_file()),
    };
    if let Some(own) = own {
        entries.extend(datasets::read(&own)?);
    }
    let entries = entries
        .into_iter()
        .map(|(name, config)| DatasetEntry { name, config })
        .collect();
    Ok(Catalogue { entries })
}

impl Catalogue {
    /// The entry called `spec`; `None` where `spec` is a path. An existing path wins only when
    /// it is written as one (with a `/`), so that a folder called `ade20k` in the current folder
    /// does not silently replace the data set.
    pub fn find(&self, spec: &str) -> Result<Option<&DatasetEntry>> {
        if let Some(entry) = self.entries.iter().find(|e| e.name == spec) {
            return Ok(Some(entry));
        }
        let path = paths::expand(spec)?;
        if Path::new(path.as_ref()).exists() || brace::is_pattern(Path::new(path.as_ref())) {
            return Ok(None);
        }
        let mut near: Vec<(f64, &str)> = self
            .entries
            .iter()
            .map(|e| (strsim::jaro_winkler(spec, &e.name), e.name.as_str()))
            .collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0));
        let near: Vec<&str> = near.into_iter().take(3).map(|(_, name)| name).collect();
        Err(Error::usage(format!(
            "no data set is called `{spec}`, and there is no such file or folder; near names: {} (all: radio-eval datasets)",
            near.join(", ")
        )))
    }
}

impl DatasetEntry {
    pub fn layout(&self) -> Option<DatasetLayout> {
        self.config.layout
    }

    /// An error when the data set is for something else.
    pub fn expect_task(&self, task: DatasetTask) -> Result<()> {
        if self.config.task == task {
            return Ok(());
        }
        Err(Error::usage(format!(
            "{} is a data set for {}, not for {}",
            self.name,
            self.config.task.name(),
            task.name()
        )))
    }

    /// The folder the data set lies in, or `None` when it is not on this machine.
    pub fn find_root(&self) -> Result<Option<PathBuf>> {
        let shared = std::env::var_os(DATA).map(|folder| PathBuf::from(folder).join(&self.name));
        let mut roots: Vec<PathBuf> = shared.into_iter().collect();
        for root in &self.config.roots {
            match root.strip_prefix("assets:") {
                Some(name) => roots.extend(assets::path(name).ok()),
                // A variable that is not set names no folder.
                None => roots.extend(paths::expand(root).ok().map(|r| PathBuf::from(r.as_ref()))),
            }
        }
        if let Some(repo) = &self.config.hub {
            roots.extend(HubCache::from_env().snapshot(RepoKind::Dataset, repo));
        }
        Ok(roots.into_iter().find(|root| root.is_dir()))
    }

    pub fn root(&self) -> Result<PathBuf> {
        self.find_root()?.ok_or_else(|| {
            let mut places: Vec<String> = vec![format!("${DATA}/{}", self.name)];
            places.extend(self.config.roots.iter().cloned());
            let source = match (&self.config.hub, &self.config.source) {
                (Some(_), _) => format!(" (or fetch it: radio-eval fetch {})", self.name),
                (None, Some(source)) => format!(" (get it from {source})"),
                (None, None) => String::new(),
            };
            Error::usage(format!(
                "{} is not on this machine: looked for {}; set one of these, name the folder itself, or add it to {}{source}",
                self.name,
                places.join(", "),
                home().join("datasets.toml").display()
            ))
        })
    }

    pub fn split(&self, name: &str) -> Option<&SplitConfig> {
        self.config.splits.get(name)
    }

    /// Where a split is, if the data set has it.
    pub fn split_path(&self, name: &str) -> Result<Option<PathBuf>> {
        match self.split(name) {
            None => Ok(None),
            Some(split) => Ok(Some(self.root()?.join(&split.path))),
        }
    }

    /// Files with a known checksum, over all splits.
    pub fn checksums(&self) -> IndexMap<&str, &str> {
        self.config
            .splits
            .values()
            .flat_map(|s| &s.sha256)
            .map(|(file, hash)| (file.as_str(), hash.as_str()))
            .collect()
    }
}
