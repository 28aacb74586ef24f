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

/// A place that was looked at, and why nothing was found where a variable leads nowhere.
fn seen(place: &str) -> String {
    let variable = place.strip_prefix('$');
    let variable = variable.map(|rest| rest.split('/').next().unwrap_or(rest));
    match variable.filter(|name| std::env::var_os(name).is_none()) {
        Some(_) => format!("{place} (not set)"),
        None => place.to_string(),
    }
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
        self.find_root()?
            .ok_or_else(|| Error::usage(self.missing_text()))
    }

    /// What to do where the data set is not on this machine: a line for each.
    fn missing_text(&self) -> String {
        let name = &self.name;
        let mut places = vec![format!("${DATA}/{name}")];
        places.extend(self.config.roots.iter().cloned());
        let looked: Vec<String> = places.iter().map(|place| seen(place)).collect();
        let variable = (self.config.roots.iter())
            .find_map(|root| root.strip_prefix('$'))
            .map(|rest| rest.split('/').next().unwrap_or(rest));
        let point = match variable {
            Some(variable) => format!("name its folder itself, or export {variable}=FOLDER"),
            None => "name its folder itself".to_string(),
        };
        let get = match (&self.config.hub, &self.config.source) {
            (Some(_), _) => format!("\n  get it: radio-eval fetch {name}"),
            (None, Some(source)) => format!("\n  get it: {source}{}", self.elsewhere()),
            (None, None) => String::new(),
        };
        let mini = match self.config.task {
            DatasetTask::Classification => "imagenet-mini",
            DatasetTask::Segmentation => "ade-mini",
            DatasetTask::Coco => "coco-mini",
            DatasetTask::Llava => "llava-mini",
            DatasetTask::Images => "distill-mini",
        };
        format!(
            "{name} is not on this machine\n  looked for: {}\n  your copy: {point}, or add it to {}{get}\n  at once: {mini} in its place ships with the tool, as do the models mini-clip, mini-dino and mini-sam",
            looked.join(", "),
            home().join("datasets.toml").display()
        )
    }

    /// The same data where `fetch` gets it.
    fn elsewhere(&self) -> String {
        match self.name.as_str() {
            "imagenet-1k" => {
                "; or radio-eval fetch imagenet-1k-parquet, the same pictures by that name".into()
            }
            _ => String::new(),
        }
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
