//! The classes of a data set: their order, identifiers and names.

use crate::{Error, Result};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use unicode_normalization::UnicodeNormalization;

/// One class; its index is its place in the list.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Class {
    /// Folder name, wnid, or number.
    pub id: String,
    /// Names in words, the preferred one first; empty where only a wnid is known.
    pub names: Vec<String>,
}

impl Class {
    /// A class known by its folder only. A wnid or a number says nothing in words.
    pub fn from_id(id: &str) -> Self {
        let wordless = is_wnid(id) || is_number(id);
        let names = match wordless {
            true => Vec::new(),
            false => vec![id.replace('_', " ")],
        };
        Class {
            id: id.to_string(),
            names,
        }
    }

    /// A class of the index `index`, of which nothing else is known.
    pub fn from_index(index: u32) -> Self {
        Class {
            id: index.to_string(),
            names: Vec::new(),
        }
    }
}

/// A WordNet id as ImageNet writes it, `n01440764`.
pub fn is_wnid(id: &str) -> bool {
    id.len() == 9 && id.starts_with('n') && id[1..].bytes().all(|b| b.is_ascii_digit())
}

/// Whether an identifier is a number, and no more than that.
pub fn is_number(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit())
}

/// Name of the class list in a folder or tar file.
pub const CLASS_FILE: &str = "classes.tsv";

/// Reads `id<TAB>name[, synonym ...]`, one class a line in index order; behind a wnid a space will
/// do (Kaggle's `LOC_synset_mapping.txt`). `path` is for messages.
pub fn parse(text: &str, path: &Path) -> Result<Vec<Class>> {
    let mut classes = Vec::new();
    let mut seen = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let spaced = line.split_once(' ').filter(|(id, _)| is_wnid(id));
        let (id, names) = line.split_once('\t').or(spaced).unwrap_or((line, ""));
        let id: String = id.trim().nfc().collect();
        if let Some(first) = seen.insert(id.clone(), number + 1) {
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
            .map(|name| name.trim().nfc().collect::<String>())
            .filter(|name| !name.is_empty())
            .collect();
        classes.push(match names.is_empty() {
            true => Class::from_id(&id),
            false => Class { id, names },
        });
    }
    match classes.is_empty() {
        true => Err(Error::file(path, "names no class")),
        false => Ok(classes),
    }
}

/// Without a class list: every identifier seen, ascending; numbers by their value.
pub fn from_ids<'a>(ids: impl Iterator<Item = &'a str>) -> Vec<Class> {
    let ids: BTreeSet<&str> = ids.collect();
    let mut ids: Vec<&str> = ids.into_iter().collect();
    if ids.iter().all(|id| is_number(id)) {
        // Without leading zeros a longer number is a larger one.
        let value = |id: &str| id.trim_start_matches('0').to_string();
        ids.sort_by_key(|id| (value(id).len(), value(id), id.len()));
    }
    ids.into_iter().map(Class::from_id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::text;

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
        assert!(Class::from_id("7").names.is_empty());
    }

    #[test]
    fn numbers_order_by_value_and_words_by_letter() {
        let ids = |ids: &[&str]| -> Vec<String> {
            let classes = from_ids(ids.iter().copied());
            classes.into_iter().map(|class| class.id).collect()
        };
        assert_eq!(ids(&["10", "9", "100", "2"]), ["2", "9", "10", "100"]);
        assert_eq!(ids(&["010", "9", "011"]), ["9", "010", "011"]);
        assert_eq!(ids(&["10", "9", "a"]), ["10", "9", "a"]);
    }

    #[test]
    fn kaggles_list_and_byte_order_marks() {
        let text = "\u{FEFF}n01440764 tench, Tinca tinca\nn01443537 goldfish\n";
        let text = text::decode(text.into(), Path::new("c")).unwrap();
        let classes = parse(&text, Path::new("c")).unwrap();
        assert_eq!(classes[0].id, "n01440764");
        assert_eq!(classes[0].names, ["tench", "Tinca tinca"]);
    }
}
