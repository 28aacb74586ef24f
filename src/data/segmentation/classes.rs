//! Class lists of segmentation sets: which mask value is which class.

use super::mask::StoredMask;
use crate::data::annotation::IGNORE;
use crate::data::table::{Rows, Wanted};
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
        if let [only] = classes.as_slice() {
            return Err(format!(
                "leaves one class only (`{}`, value {}), so that every model would reach 100 %; name at least two with --classes",
                only.name, only.value
            ));
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

    /// Whether these are the 19 classes of Cityscapes, by `labelIds` or by `trainIds`.
    pub fn is_cityscapes(&self, label_ids: bool) -> bool {
        const LABEL_IDS: [u16; 19] = [
            7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33,
        ];
        let values = self.classes.iter().map(|class| class.value);
        self.classes[0].name == "road"
            && match label_ids {
                true => values.eq(LABEL_IDS),
                false => values.eq(0..19),
            }
    }

    /// Labels of a mask, or the first value that no class has.
    pub fn apply(&self, mask: &StoredMask) -> Result<Vec<u8>, String> {
        mask.values
            .iter()
            .enumerate()
            .map(|(at, &value)| {
                self.table.get(usize::from(value)).copied().flatten().ok_or_else(|| {
                    format!(
                        "has value {value} at column {}, row {}, which no class of the list has; {}add it to the list, with the name `-` if it is to be left out",
                        at % mask.width,
                        at / mask.width,
                        match self.is_cityscapes(false) {
                            true => "the masks are labelIds, so use --classes cityscapes; or else ",
                            false => "",
                        }
                    )
                })
            })
            .collect()
    }
}

/// Reads a class list; `path` is for messages. Three forms:
/// - a table whose first line names its columns (ADE20k's `objectInfo150.txt` and
///   `objectInfo150.csv`): the value in `Idx`, the name in `Name`;
/// - `VALUE<TAB>name[, synonym ...]` (or with a comma), the name `-` for a value that is left out;
/// - one name a line: values count from 1 with `reduce_zero_label`, else from 0.
pub fn parse(text: &str, path: &Path, reduce_zero_label: bool) -> Result<LabelRule> {
    let lines = || text.lines().filter(|line| !line.trim().is_empty());
    let starts_with_value = |line: &str| {
        let digits = line
            .trim_start()
            .trim_start_matches(|c: char| c.is_ascii_digit());
        digits.len() < line.trim_start().len() && digits.starts_with(['\t', ',', ';'])
    };
    let headed = lines().next().is_some_and(|first| {
        let names = first.to_ascii_lowercase();
        names.contains("name") && ['\t', ',', ';'].iter().any(|&c| names.contains(c))
    });
    let pairs = match headed || lines().any(starts_with_value) {
        true => valued(text, path)?,
        false => {
            let start = u64::from(reduce_zero_label);
            let named = |(number, line): (u64, &str)| (number, line.trim().to_string());
            (start..).zip(lines()).map(named).collect()
        }
    };
    let mut classes = Vec::new();
    let mut ignored = Vec::new();
    for (value, names) in pairs {
        let value = u16::try_from(value).map_err(|_| {
            Error::file(path, format!("`{value}` is not a mask value (0 to 65535)"))
        })?;
        let name = names.split([',', ';']).next().unwrap_or_default().trim();
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

/// Values and names of a table.
fn valued(text: &str, path: &Path) -> Result<Vec<(u64, String)>> {
    let table = Rows::parse(text, path)?.with_header(&[&VALUE, &NAME], &[]);
    let (value, name) = match table.has_header() {
        true => (table.column(&VALUE, None)?, table.column(&NAME, None)?),
        false => (0, table.width() - 1),
    };
    let mut pairs = Vec::new();
    for row in table.rows() {
        let field = table.field(row, value)?;
        let number = field
            .parse()
            .map_err(|_| table.fault(row, format!("`{field}` is not a mask value (0 to 65535)")))?;
        pairs.push((number, table.field(row, name)?.to_string()));
    }
    Ok(pairs)
}

const VALUE: Wanted = Wanted {
    what: "value",
    names: &["idx", "index", "value", "id", "labelid", "classid", "label"],
};
const NAME: Wanted = Wanted {
    what: "name",
    names: &[
        "name",
        "names",
        "class",
        "classname",
        "labelname",
        "category",
    ],
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::text;

    fn labels(rule: &LabelRule, values: &[u16]) -> Result<Vec<u8>, String> {
        rule.apply(&StoredMask {
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
    fn object_info_as_csv() {
        let text = "\u{FEFF}Idx,Ratio,Train,Val,Stuff,Name\n1,0.1576,11664,1172,1,wall\n2,0.1072,6046,612,1,building;edifice\n3,0.1,1,1,1,\"sky, air\"\n";
        let path = Path::new("objectInfo150.csv");
        let text = text::decode(text.into(), path).unwrap();
        let rule = parse(&text, path, true).unwrap();
        let names: Vec<&str> = rule.classes.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["wall", "building", "sky"]);
        assert_eq!(labels(&rule, &[0, 1, 3]).unwrap(), [255, 0, 2]);
        let error = parse("Idx,Title name\n1,wall\n2,sky\n", Path::new("o"), true).unwrap_err();
        assert!(
            error.to_string().contains("no column for the name"),
            "{error}"
        );
    }

    #[test]
    fn one_class_is_no_list() {
        let error = parse("0\tbackground\n1\t-\n", Path::new("o"), false).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("leaves one class only (`background`"),
            "{error}"
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
