//! The label sets of text-driven segmentation: which mask value is which class, and what the
//! classes are called (spec/open_vocabulary.md §1.1-1.2).

use super::classes::{LabelRule, MaskClass};
use crate::files::text;
use crate::{Error, Result, assets};
use serde_json::Value;
use std::path::PathBuf;

/// Names and value tables as the repositories of the field have them.
const FILE: &str = "text/open_vocabulary.json";
/// Whose names: SCLIP's (NACLIP has the same), ProxyCLIP's, RADSeg's, MaskCLIP's; and those of the
/// miniature world.
pub const VARIANTS: [&str; 5] = ["sclip", "proxyclip", "radseg", "maskclip", "mini"];

/// How a set's masks store its classes.
enum Stored {
    /// Class c as c; other values are an error, but for 255.
    AsIs,
    /// mmseg's `reduce_zero_label`: class c as c + 1, and 0 is no class.
    FromOne,
    /// By a table of the file.
    Table(&'static str),
}

struct LabelSet {
    name: &'static str,
    stored: Stored,
    /// Whether class 0 is everything that no other class is.
    background: bool,
}

const SETS: [LabelSet; 9] = {
    const fn set(name: &'static str, stored: Stored, background: bool) -> LabelSet {
        LabelSet {
            name,
            stored,
            background,
        }
    }
    [
        set("voc20", Stored::FromOne, false),
        set("voc21", Stored::AsIs, true),
        set("context59", Stored::FromOne, false),
        set("context60", Stored::AsIs, true),
        set(
            "coco-object",
            Stored::Table("_coco_object_raw_to_label"),
            true,
        ),
        set(
            "coco-stuff",
            Stored::Table("_coco_stuff_raw_to_label"),
            false,
        ),
        set("cityscapes", Stored::AsIs, false),
        set("ade20k", Stored::FromOne, false),
        set("ade-mini", Stored::FromOne, false),
    ]
};

/// Sets whose rule a class list may name; Cityscapes and ADE20k have lists of their own.
pub const RULES: [&str; 6] = [
    "voc20",
    "voc21",
    "context59",
    "context60",
    "coco-object",
    "coco-stuff",
];

fn find(name: &str) -> Result<&'static LabelSet> {
    SETS.iter().find(|set| set.name == name).ok_or_else(|| {
        let names: Vec<&str> = SETS.iter().map(|set| set.name).collect();
        Error::usage(format!(
            "no label set is called `{name}`; there are {}",
            names.join(", ")
        ))
    })
}

struct File {
    path: PathBuf,
    json: Value,
}

impl File {
    fn open() -> Result<Self> {
        let path = assets::path(FILE)?;
        let json = serde_json::from_str(&text::read(&path)?).map_err(|e| Error::file(&path, e))?;
        Ok(File { path, json })
    }

    fn names(&self, set: &str, variant: &str) -> Result<Vec<Vec<String>>> {
        let of_set = &self.json[set];
        let entry = match &of_set[variant] {
            // RADSeg's files equal another's.
            Value::String(same) => &of_set[same.as_str()],
            other => other,
        };
        // ProxyCLIP and RADSeg follow SCLIP where they have no list of their own.
        let entry = match (entry, variant) {
            (Value::Null, "proxyclip" | "radseg") => &of_set["sclip"],
            (entry, _) => entry,
        };
        if entry.is_null() {
            return Err(Error::usage(format!(
                "there are no `{variant}` names for {set}; use --names sclip, or your own with --classnames"
            )));
        }
        serde_json::from_value(entry.clone()).map_err(|e| Error::file(&self.path, e))
    }
}

/// The names of every class of `set`, in the variant of [`VARIANTS`].
pub fn names(set: &str, variant: &str) -> Result<Vec<Vec<String>>> {
    find(set)?;
    File::open()?.names(set, variant)
}

/// From the masks of `set` to its classes.
pub fn rule(set: &str) -> Result<LabelRule> {
    let known = find(set)?;
    let file = File::open()?;
    let spaced = match file.json[set]["maskclip"].is_null() {
        true => "sclip",
        false => "maskclip",
    };
    let first = u16::from(matches!(known.stored, Stored::FromOne));
    let classes: Vec<MaskClass> = (first..)
        .zip(file.names(set, spaced)?)
        .enumerate()
        .map(|(label, (value, names))| MaskClass {
            value,
            name: match known.background && label == 0 {
                true => "background".to_string(),
                false => names.into_iter().next().unwrap_or_default(),
            },
        })
        .collect();
    let fault = |reason: String| Error::file(&file.path, reason);
    match known.stored {
        Stored::AsIs | Stored::FromOne => {
            let rule = LabelRule::new(classes, &[]).map_err(fault)?;
            Ok(rule.named(set))
        }
        Stored::Table(key) => {
            let Some(table) = file.json[key].as_object() else {
                return Err(fault(format!("has no table `{key}`")));
            };
            let pairs = table.iter().filter_map(|(value, label)| {
                Some((
                    value.parse().ok()?,
                    label.as_u64().and_then(|l| u16::try_from(l).ok())?,
                ))
            });
            let pairs: Vec<(u16, u16)> = pairs.collect();
            let rule = LabelRule::by_table(classes, &pairs).map_err(fault)?;
            Ok(rule.named(set))
        }
    }
}

/// The set that a rule is, by its classes, where it carries no name.
pub fn recognise(rule: &LabelRule) -> Option<&'static str> {
    if let Some(set) = &rule.set {
        return SETS.iter().find(|known| known.name == set).map(|s| s.name);
    }
    let ends = |first: &str, last: &str| {
        let name = |class: Option<&MaskClass>| class.map(|c| c.name.clone()).unwrap_or_default();
        name(rule.classes.first()) == first && name(rule.classes.last()) == last
    };
    match rule.classes.len() {
        150 if ends("wall", "flag") => Some("ade20k"),
        11 if ends("sky", "triangle") => Some("ade-mini"),
        19 if rule.is_cityscapes(false) || rule.is_cityscapes(true) => Some("cityscapes"),
        21 if ends("background", "tvmonitor") => Some("voc21"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::annotation::WIDE_IGNORE;
    use crate::data::segmentation::mask::StoredMask;

    fn labels(set: &str, values: &[u16]) -> Vec<u16> {
        let mask = StoredMask {
            width: values.len(),
            height: 1,
            values: values.to_vec(),
        };
        rule(set).unwrap().apply_wide(&mask).unwrap()
    }

    #[test]
    fn values_of_every_set() {
        const NONE: u16 = WIDE_IGNORE;
        assert_eq!(labels("voc20", &[0, 1, 20, 255]), [NONE, 0, 19, NONE]);
        assert_eq!(labels("voc21", &[0, 1, 20, 255]), [0, 1, 20, NONE]);
        assert_eq!(labels("context59", &[0, 59]), [NONE, 58]);
        assert_eq!(labels("context60", &[0, 59]), [0, 59]);
        // Things count from 1; stuff, and what nobody labelled, is background.
        assert_eq!(
            labels("coco-object", &[0, 89, 91, 181, 255]),
            [1, 80, 0, 0, 0]
        );
        assert_eq!(
            labels("coco-stuff", &[0, 10, 12, 181, 255]),
            [0, 10, 11, 170, NONE]
        );
        assert_eq!(labels("cityscapes", &[0, 18, 255]), [0, 18, NONE]);
        assert_eq!(labels("ade20k", &[0, 1, 150]), [NONE, 0, 149]);
    }

    #[test]
    fn names_in_every_variant() {
        let voc = names("voc20", "sclip").unwrap();
        assert_eq!((voc.len(), voc[14].len()), (20, 7));
        // RADSeg's VOC file is ProxyCLIP's, its others are SCLIP's.
        assert_eq!(names("voc20", "radseg").unwrap()[14], ["person"]);
        assert_eq!(
            names("ade20k", "radseg").unwrap(),
            names("ade20k", "sclip").unwrap()
        );
        assert_eq!(names("coco-object", "proxyclip").unwrap()[0].len(), 17);
        assert!(
            names("context60", "maskclip")
                .unwrap_err()
                .to_string()
                .contains("--classnames")
        );
        for set in SETS.iter().filter(|set| set.name != "ade-mini") {
            let rule = rule(set.name).unwrap();
            assert_eq!(recognise(&rule), Some(set.name));
            assert_eq!(names(set.name, "sclip").unwrap().len(), rule.classes.len());
        }
    }
}
