//! The classes of a data set: their order, identifiers and names.

use crate::{Error, Result};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// One class; its index is its place in the list.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Class {
    /// Folder name, wnid, or number.
    pub id: String,
    /// Names in words, the preferred one first; empty where only a wnid is known.
    pub names: Vec<String>,
}

impl Class {
    /// A class known by its folder only. A wnid says nothing in words.
    pub fn from_id(id: &str) -> Self {
        let wnid =
            id.len() == 9 && id.starts_with('n') && id[1..].bytes().all(|b| b.is_ascii_digit());
        let names = match wnid {
            true => Vec::new(),
            false => vec![id.replace('_', " ")],
        };
        Class {
            id: id.to_string(),
            names,
        }
    }
}

/// Name of the class list in a folder or tar file.
pub const CLASS_FILE: &str = "classes.tsv";

/// Reads `id<TAB>name[, synonym ...]`, one class a line in index order. `path` is for messages.
pub fn parse(text: &str, path: &Path) -> Result<Vec<Class>> {
    let mut classes = Vec::new();
    let mut seen = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let (id, names) = line.split_once('\t').unwrap_or((line, ""));
        let id = id.trim();
        if let Some(first) = seen.insert(id.to_string(), number + 1) {
            return Err(Error::file(
                path,
                format!(
                    "line {}: class `{id}` is already on line {first}",
                    number + 1
                ),
            ));
        }
        let names: Vec<String> = names
            .split(',')
            .map(|name| name.trim().to_string())
            .filter(|name| !name.is_empty())
            .collect();
        classes.push(match names.is_empty() {
            true => Class::from_id(id),
            false => Class {
                id: id.to_string(),
                names,
            },
        });
    }
    match classes.is_empty() {
        true => Err(Error::file(path, "names no class")),
        false => Ok(classes),
    }
}

/// Without a class list: every identifier seen, ascending.
pub fn from_ids<'a>(ids: impl Iterator<Item = &'a str>) -> Vec<Class> {
    let ids: BTreeSet<&str> = ids.collect();
    ids.into_iter().map(Class::from_id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_keeps_order_and_synonyms() {
        let text = "n02\tring, hoop\nn01\tstar\n\nplain_class\n";
        let classes = parse(text, Path::new("classes.tsv")).unwrap();
        assert_eq!(classes[0].names, ["ring", "hoop"]);
        assert_eq!(classes[1].id, "n01");
        assert_eq!(classes[2].names, ["plain class"]);
    }

    #[test]
    fn doubled_class_is_named_with_its_lines() {
        let error = parse("a\tx\nb\ty\na\tz\n", Path::new("c.tsv")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "c.tsv: line 3: class `a` is already on line 1"
        );
    }

    #[test]
    fn a_wnid_is_no_name() {
        assert!(Class::from_id("n01440764").names.is_empty());
        assert_eq!(Class::from_id("night_sky").names, ["night sky"]);
    }
}
