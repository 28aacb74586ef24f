//! Which files of a repository make a data set.

use super::catalogue::DatasetEntry;
use crate::{Error, Result};

/// The files that the entry's splits name; `listed` are the files of the repository.
pub fn files(entry: &DatasetEntry, listed: &[String]) -> Result<Vec<String>> {
    let mut chosen: Vec<String> = Vec::new();
    for split in entry.config.splits.values() {
        for pattern in std::iter::once(&split.path).chain(&split.annotations) {
            let before = chosen.len();
            chosen.extend(listed.iter().filter(|name| fits(pattern, name)).cloned());
            if chosen.len() == before {
                return Err(Error::model(format!(
                    "{} has no file {pattern}; the repository may have changed",
                    entry.config.hub.as_deref().unwrap_or_default()
                )));
            }
        }
    }
    chosen.sort();
    chosen.dedup();
    Ok(chosen)
}

/// A name, a folder, or a name with one `*`.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        Some((first, last)) => {
            name.len() >= first.len() + last.len()
                && name.starts_with(first)
                && name.ends_with(last)
        }
        None => name == pattern || name.starts_with(&format!("{pattern}/")),
    }
}
