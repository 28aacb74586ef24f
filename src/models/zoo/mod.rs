//! The models known by name.

mod eradio;
mod mini;
pub mod published;
mod radio;
mod radio1d;
mod teachers;

pub use published::Published;

use crate::{Error, Result};
use serde_json::Value;

/// One model known by name.
#[derive(Debug)]
pub struct ZooEntry {
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    /// `student`, `teacher` or `mini`
    pub role: &'static str,
    /// Hugging Face repository and file; empty where there is none (miniature world).
    pub repo: &'static str,
    pub file: &'static str,
    /// Page to get the weights from, where that is no Hugging Face repository.
    pub page: &'static str,
    /// Other repositories with the same weights, as a transformers folder ([`FOLDER`]).
    pub folders: &'static [&'static str],
    /// What the student was distilled from, as far as its sources say.
    pub teachers: &'static [&'static str],
    /// Of the weights; empty where none were released.
    pub licence: &'static str,
    pub patch: i64,
    pub step: i64,
    /// (height, width)
    pub preferred: (i64, i64),
    pub adaptors: &'static [&'static str],
    /// Backbone parameters by the spec (None where the spec does not give them).
    pub parameters: Option<i64>,
    /// Config or args JSON from which `--random-weights` builds the network at full size, in the
    /// form its checkpoint would carry.
    pub config: fn() -> Value,
    /// Facts that the file does not say: `{"pos_align_corners": true, ...}`.
    pub hints: fn() -> Value,
    pub published: &'static [Published],
}

/// Licences of NVIDIA's students (RADIO's README and the model cards).
const NVIDIA_SOURCE_CODE: &str = "NSCLv1 (non-commercial)";
const NVIDIA_OPEN: &str = "NVIDIA Open Model (commercial)";

/// The weights of a transformers folder.
pub const FOLDER: &str = "model.safetensors";

/// A place on the hub that has an entry's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Repository {
    pub repo: &'static str,
    pub file: &'static str,
}

impl ZooEntry {
    /// What a table of entries leaves out.
    const BASE: ZooEntry = ZooEntry {
        name: "",
        aliases: &[],
        role: "student",
        repo: "",
        file: FOLDER,
        page: "",
        folders: &[],
        teachers: &[],
        licence: "",
        patch: 16,
        step: 16,
        preferred: (0, 0),
        adaptors: &[],
        parameters: None,
        config: || Value::Null,
        hints: || Value::Null,
        published: &[],
    };

    /// Every place on the hub with these weights, the entry's own first.
    pub fn repositories(&self) -> impl Iterator<Item = Repository> {
        let own = Repository {
            repo: self.repo,
            file: self.file,
        };
        let folders = self
            .folders
            .iter()
            .map(|repo| Repository { repo, file: FOLDER });
        (!self.repo.is_empty())
            .then_some(own)
            .into_iter()
            .chain(folders)
    }

    /// The repository that `name` is, where the user asked for one by its name; the folder where a
    /// repository has both.
    pub fn repository(&self, name: &str) -> Option<Repository> {
        let wanted = normalise(name);
        self.repositories()
            .filter(|r| normalise(r.repo) == wanted)
            .last()
    }
}

/// Every entry, one table per family; a family is one file beside this one and one line here.
pub fn entries() -> impl Iterator<Item = &'static ZooEntry> {
    const TABLES: &[&[ZooEntry]] = &[
        radio::TABLE,
        radio1d::TABLE,
        eradio::TABLE,
        teachers::CLIP,
        teachers::SIGLIP,
        teachers::DINOV2,
        teachers::DINOV3,
        teachers::FRANCA,
        teachers::PE,
        teachers::SAM,
        teachers::INTERNVIT,
        mini::TABLE,
    ];
    TABLES.iter().flat_map(|table| table.iter())
}

/// Case, `-` and `_` do not matter (dots do).
pub fn normalise(name: &str) -> String {
    name.to_ascii_lowercase().replace(['-', '_'], "")
}

/// Finds an entry by name, alias or repository (`nvidia/RADIO-L`); the error lists the nearest names.
pub fn find(name: &str) -> Result<&'static ZooEntry> {
    let wanted = normalise(name);
    let is_wanted = |own: &&str| normalise(own) == wanted;
    let by_name = || entries().find(|e| std::iter::once(&e.name).chain(e.aliases).any(&is_wanted));
    let by_folder = || entries().find(|e| e.folders.iter().any(&is_wanted));
    let by_repository = || {
        let mut all = entries().filter(|e| is_wanted(&e.repo) && !e.repo.is_empty());
        let first = all.next()?;
        all.next().is_none().then_some(first)
    };
    by_name()
        .or_else(by_folder)
        .or_else(by_repository)
        .ok_or_else(|| {
            let mut near: Vec<(f64, &str)> = entries()
                .map(|e| (strsim::jaro_winkler(&wanted, &normalise(e.name)), e.name))
                .collect();
            near.sort_by(|a, b| b.0.total_cmp(&a.0));
            let near: Vec<&str> = near.into_iter().take(4).map(|(_, n)| n).collect();
            Error::usage(format!(
                "no model is called `{name}`, and there is no such file; near names: {} (all: radio-eval models)",
                near.join(", ")
            ))
        })
}
