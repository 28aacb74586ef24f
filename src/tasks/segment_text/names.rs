//! What the classes are called in prompts: one name or several each.

use crate::data::segmentation::{LabelRule, label_sets};
use crate::files::text;
use crate::hash::sha256;
use crate::{Error, Result};
use std::path::Path;

/// Names, class by class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassNames {
    /// Where they are from, for the record.
    pub source: String,
    /// Every name of every class, in the order of classes.
    pub names: Vec<String>,
    /// The class of each name.
    pub class_of: Vec<usize>,
    pub classes: usize,
}

impl ClassNames {
    fn new(source: String, classes: Vec<Vec<String>>) -> Self {
        let class_of = classes.iter().enumerate();
        let class_of = class_of.flat_map(|(class, names)| names.iter().map(move |_| class));
        ClassNames {
            source,
            class_of: class_of.collect(),
            classes: classes.len(),
            names: classes.into_iter().flatten().collect(),
        }
    }

    /// The user's own words, one class each: `"a red star, sky"`. Synonyms are set apart by `|`.
    pub fn of_query(query: &str) -> Result<Self> {
        let classes: Vec<Vec<String>> = query
            .split(',')
            .map(|class| trimmed(class.split('|')))
            .collect();
        if classes.iter().any(Vec::is_empty) {
            return Err(Error::usage(format!(
                "--query {query:?} has an empty word; write words with commas between them, like \"a red star, sky\""
            )));
        }
        Ok(ClassNames::new("--query".into(), classes))
    }

    /// Names for the classes of `rule`: the user's file, else the list `variant` of the label set
    /// that the data is, else the data's own class list.
    ///
    /// # Errors
    /// A list of another number of classes, or one with a class without a name.
    pub fn find(
        rule: &LabelRule,
        set: Option<&str>,
        variant: &str,
        variant_asked: bool,
        file: Option<&Path>,
    ) -> Result<Self> {
        if let Some(path) = file {
            return ClassNames::of_file(path, rule);
        }
        // The miniature set has names of its own only; others' protocols take the class list.
        if let Some(set) = set.filter(|&set| set != "ade-mini" || variant == "mini") {
            let classes = label_sets::names(set, variant)?;
            expect(classes.len(), rule, &format!("{variant}'s names of {set}"))?;
            return Ok(ClassNames::new(format!("{variant} ({set})"), classes));
        }
        if variant_asked {
            return Err(Error::usage(format!(
                "--names {variant} goes with a label set that it has a list for ({}); name your classes with --classnames",
                label_sets::RULES.join(", ")
            )));
        }
        let names = rule.classes.iter().map(|class| vec![class.name.clone()]);
        Ok(ClassNames::new("data set".into(), names.collect()))
    }

    /// One class a line, its names with `, ` or `; ` between them; a value and a tab may stand in
    /// front (as in class lists), which must then be the class's.
    fn of_file(path: &Path, rule: &LabelRule) -> Result<Self> {
        let contents = text::read(path)?;
        let mut classes = Vec::new();
        for (number, line) in (1..)
            .zip(contents.lines())
            .filter(|(_, l)| !l.trim().is_empty())
        {
            let (value, names) = match line.split_once('\t') {
                Some((value, names)) => (Some(value.trim()), names),
                None => (None, line),
            };
            let names = match names.contains(';') {
                true => trimmed(names.split(';')),
                false => trimmed(names.split(',')),
            };
            if names.first().is_some_and(|name| name == "-") {
                continue;
            }
            let known = rule.classes.get(classes.len()).map(|class| class.value);
            if let (Some(value), Some(known)) = (value, known)
                && value.parse() != Ok(known)
            {
                return Err(Error::file(
                    path,
                    format!(
                        "line {number}: names mask value {value} where the data's next class has {known}; keep the order of its class list"
                    ),
                ));
            }
            if names.is_empty() {
                return Err(Error::file(path, format!("line {number}: names nothing")));
            }
            classes.push(names);
        }
        expect(classes.len(), rule, &path.display().to_string())?;
        Ok(ClassNames::new(path.display().to_string(), classes))
    }

    /// SHA-256 over names and their classes.
    pub fn sha256(&self) -> String {
        let lines = self.names.iter().zip(&self.class_of);
        let lines: Vec<String> = lines
            .map(|(name, class)| format!("{class}\t{name}"))
            .collect();
        sha256(lines.join("\n"))
    }
}

fn trimmed<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let names = names.map(str::trim).filter(|name| !name.is_empty());
    names.map(str::to_string).collect()
}

fn expect(found: usize, rule: &LabelRule, what: &str) -> Result<()> {
    if found == rule.classes.len() {
        return Ok(());
    }
    Err(Error::usage(format!(
        "{what} names {found} classes, the data has {}; each class needs a line",
        rule.classes.len()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::segmentation::MaskClass;

    fn rule() -> LabelRule {
        let class = |value, name: &str| MaskClass {
            value,
            name: name.into(),
        };
        LabelRule::new(vec![class(1, "sky"), class(2, "star")], &[]).unwrap()
    }

    fn read(text: &str) -> Result<ClassNames> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        ClassNames::find(&rule(), None, "sclip", false, Some(file.path()))
    }

    #[test]
    fn synonyms_by_comma_or_semicolon() {
        let names = read("sky\nstar, five-pointed star\n").unwrap();
        assert_eq!(names.names, ["sky", "star", "five-pointed star"]);
        assert_eq!(names.class_of, [0, 1, 1]);
        let names = read("1\tsky ; heaven\n2\tstar\n").unwrap();
        assert_eq!(names.names, ["sky", "heaven", "star"]);
        assert_ne!(names.sha256(), read("sky\nheaven\n").unwrap().sha256());
    }

    #[test]
    fn other_lists_are_refused() {
        assert!(
            read("sky\n")
                .unwrap_err()
                .to_string()
                .contains("names 1 classes, the data has 2")
        );
        assert!(
            read("1\tsky\n3\tstar\n")
                .unwrap_err()
                .to_string()
                .contains("line 2")
        );
        assert!(ClassNames::of_query("sky,,star").is_err());
        let own = ClassNames::of_query("a red star, sky | heaven").unwrap();
        assert_eq!((own.classes, own.names.len()), (2, 3));
    }
}
