//! Class lists of segmentation sets: which mask value is which class.

use super::mask::Mask;
use crate::data::annotation::IGNORE;
use crate::{Error, Result};
use std::path::Path;

/// Labels are bytes and 255 is taken.
pub const MOST_CLASSES: usize = 255;

/// A class and the value it has in mask files.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct MaskClass {
    pub value: u16,
    pub name: String,
}

/// From mask values to labels 0..classes, [`IGNORE`], or an error.
#[derive(Debug, Clone)]
pub struct LabelRule {
    pub classes: Vec<MaskClass>,
    /// By mask value; `None` is a value the class list does not know.
    table: Vec<Option<u8>>,
}

impl LabelRule {
    /// `ignored`: further values that count nowhere. 255 always does, and 0 where no class has it.
    pub fn new(classes: Vec<MaskClass>, ignored: &[u16]) -> Result<Self, String> {
        if classes.is_empty() {
            return Err("names no class".into());
        }
        if classes.len() > MOST_CLASSES {
            return Err(format!(
                "names {} classes, at most {MOST_CLASSES} are possible",
                classes.len()
            ));
        }
        let largest = classes
            .iter()
            .map(|c| c.value)
            .chain(ignored.iter().copied())
            .max();
        let mut table = vec![None; usize::from(largest.unwrap_or(0).max(255)) + 1];
        for value in ignored.iter().copied().chain([0, 255]) {
            table[usize::from(value)] = Some(IGNORE);
        }
        let mut seen = vec![false; table.len()];
        for (label, class) in classes.iter().enumerate() {
            let value = usize::from(class.value);
            if std::mem::replace(&mut seen[value], true) {
                return Err(format!("gives mask value {value} to two classes"));
            }
            table[value] = Some(label as u8);
        }
        Ok(LabelRule { classes, table })
    }

    /// Labels of a mask, or the first value that no class has.
    pub fn apply(&self, mask: &Mask) -> Result<Vec<u8>, String> {
        mask.values
            .iter()
            .enumerate()
            .map(|(at, &value)| {
                self.table.get(usize::from(value)).copied().flatten().ok_or_else(|| {
                    format!(
                        "has value {value} at column {}, row {}, which no class of the list has; add it to the list, with the name `-` if it is to be left out",
                        at % mask.width,
                        at / mask.width
                    )
                })
            })
            .collect()
    }
}

/// Reads a class list; `path` is for messages. Three forms:
/// - ADE20k's `objectInfo150.txt`: a header, then tab-separated columns, `Idx` first, `Name` last;
/// - `VALUE<TAB>name[, synonym ...]`, the name `-` for a value that is left out;
/// - one name a line: values count from 1 with `reduce_zero_label`, else from 0.
pub fn parse(text: &str, path: &Path, reduce_zero_label: bool) -> Result<LabelRule> {
    let mut classes = Vec::new();
    let mut ignored = Vec::new();
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, l)| !l.trim().is_empty());
    for (number, line) in lines {
        let mut fields = line.split('\t').map(str::trim);
        let first = fields.next().unwrap_or_default();
        let last = fields.next_back();
        if last == Some("Name") && first == "Idx" {
            continue;
        }
        let (value, names) = match last {
            None => (classes.len() as u16 + u16::from(reduce_zero_label), first),
            Some(names) => {
                let value = first.parse().map_err(|_| {
                    Error::file(
                        path,
                        format!(
                            "line {}: `{first}` is not a mask value (0 to 65535)",
                            number + 1
                        ),
                    )
                })?;
                (value, names)
            }
        };
        let name = names.split(',').next().unwrap_or(names).trim();
        match name {
            "-" => ignored.push(value),
            name => classes.push(MaskClass {
                value,
                name: name.to_string(),
            }),
        }
    }
    LabelRule::new(classes, &ignored).map_err(|reason| Error::file(path, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(rule: &LabelRule, values: &[u16]) -> Result<Vec<u8>, String> {
        rule.apply(&Mask {
            width: values.len(),
            height: 1,
            values: values.to_vec(),
        })
    }

    #[test]
    fn object_info_is_reduce_zero_label() {
        let text = "Idx\tRatio\tTrain\tVal\tStuff\tName\n1\t0.2\t1\t2\t1\twall\n2\t0.1\t1\t2\t1\tbuilding, edifice\n";
        let rule = parse(text, Path::new("o"), true).unwrap();
        assert_eq!(rule.classes[1].name, "building");
        // mmseg: 0 -> 255, else - 1; 254 + 1 = 255 stays ignored.
        assert_eq!(labels(&rule, &[0, 1, 2, 255]).unwrap(), [255, 0, 1, 255]);
        assert!(
            labels(&rule, &[1, 3])
                .unwrap_err()
                .contains("value 3 at column 1, row 0")
        );
    }

    #[test]
    fn names_alone_count_from_zero_or_one() {
        let rule = parse("background\ncat\n", Path::new("o"), false).unwrap();
        assert_eq!(labels(&rule, &[0, 1, 255]).unwrap(), [0, 1, 255]);
        let rule = parse("cat\ndog\n", Path::new("o"), true).unwrap();
        assert_eq!(labels(&rule, &[0, 1, 2]).unwrap(), [255, 0, 1]);
    }

    #[test]
    fn gaps_and_left_out_values() {
        let rule = parse("7\troad\n8\tsidewalk\n4\t-\n", Path::new("o"), false).unwrap();
        assert_eq!(labels(&rule, &[8, 7, 4, 0]).unwrap(), [1, 0, 255, 255]);
        let twice = parse("7\troad\n7\tx\n", Path::new("o"), false).unwrap_err();
        assert!(twice.to_string().contains("mask value 7 to two classes"));
    }
}
