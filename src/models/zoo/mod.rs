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

/// Finds an entry by name or alias; the error lists the nearest names.
pub fn find(name: &str) -> Result<&'static ZooEntry> {
    let wanted = normalise(name);
    entries()
        .find(|e| {
            std::iter::once(&e.name)
                .chain(e.aliases)
                .any(|n| normalise(n) == wanted)
        })
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
