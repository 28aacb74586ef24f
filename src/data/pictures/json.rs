//! The pictures that a JSON or JSONL file names: LLaVA's conversations (`image`, a name or a list
//! of names), or COCO's `images` (`file_name`).

use crate::files::text;
use crate::{Error, Result};
use serde::Deserialize;
use std::collections::HashSet;
use std::path::Path;

/// What a file names, each picture once, in the order of first mention.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listed {
    pub names: Vec<String>,
    pub records: usize,
    pub text_only: usize,
    pub repeated: usize,
}

/// A record of a conversation file; everything else in it is passed over.
#[derive(Deserialize)]
struct Record {
    #[serde(default)]
    image: Option<OneOrMany>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum File {
    Conversations(Vec<Record>),
    Coco { images: Vec<CocoImage> },
}

#[derive(Deserialize)]
struct CocoImage {
    file_name: String,
}

/// Reads `path`; a file whose name ends in `.jsonl` has one record a line.
pub fn read(path: &Path) -> Result<Listed> {
    let text = text::read(path)?;
    if path
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("jsonl"))
    {
        return lines(&text).map_err(|(line, e)| {
            Error::file(
                path,
                format!("line {line}: is no record of a conversation file ({e})"),
            )
        });
    }
    let file: File = serde_json::from_str(&text).map_err(|e| {
        let fault = match serde_json::from_str::<serde::de::IgnoredAny>(&text) {
            Err(syntax) => format!("is not JSON: {syntax}"),
            Ok(_) => format!(
                "is neither a list of conversations (`[{{\"image\": NAME, ...}}, ...]`) nor a COCO file (`{{\"images\": [{{\"file_name\": NAME}}]}}`): {e}"
            ),
        };
        Error::file(path, fault)
    })?;
    let mut collected = Collector::default();
    match file {
        File::Conversations(records) => records.into_iter().for_each(|r| collected.record(r)),
        File::Coco { images } => {
            for image in images {
                collected.listed.records += 1;
                collected.name(image.file_name);
            }
        }
    }
    Ok(collected.listed)
}

fn lines(text: &str) -> Result<Listed, (usize, serde_json::Error)> {
    let mut collected = Collector::default();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        // serde would take an array for a record whose fields come in order.
        if !line.trim_start().starts_with('{') {
            let fault = serde::de::Error::custom("a record is an object");
            return Err((number + 1, fault));
        }
        let record = serde_json::from_str(line).map_err(|e| (number + 1, e))?;
        collected.record(record);
    }
    Ok(collected.listed)
}

#[derive(Default)]
struct Collector {
    listed: Listed,
    seen: HashSet<String>,
}

impl Collector {
    fn record(&mut self, record: Record) {
        self.listed.records += 1;
        let names = match record.image {
            Some(OneOrMany::One(name)) if !name.is_empty() => vec![name],
            Some(OneOrMany::Many(names)) if !names.is_empty() => names,
            _ => {
                self.listed.text_only += 1;
                return;
            }
        };
        for name in names {
            self.name(name);
        }
    }

    fn name(&mut self, name: String) {
        let name = name.trim_start_matches("./").to_string();
        if self.seen.insert(name.clone()) {
            self.listed.names.push(name);
        } else {
            self.listed.repeated += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(name: &str, text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn pictures_come_once_in_order_of_mention() {
        let json = r#"[{"id": 1, "image": "b.jpg", "conversations": []}, {"id": "t"},
            {"image": ["a.jpg", "./b.jpg"]}, {"image": ""}]"#;
        let (_folder, path) = write("x.json", json);
        let listed = read(&path).unwrap();
        assert_eq!(listed.names, ["b.jpg", "a.jpg"]);
        assert_eq!(
            (listed.records, listed.text_only, listed.repeated),
            (4, 2, 1)
        );

        let lines = "\u{feff}{\"image\": \"b.jpg\"}\n\n{\"text\": 1}\n";
        let (_folder, path) = write("x.jsonl", lines);
        let listed = read(&path).unwrap();
        assert_eq!((listed.names.len(), listed.text_only), (1, 1));

        let coco = "\u{feff}{\"images\": [{\"file_name\": \"1.jpg\", \"id\": 1}]}";
        let (_folder, path) = write("x.json", coco);
        assert_eq!(read(&path).unwrap().names, ["1.jpg"]);

        let coco = r#"{"images": [{"file_name": "1.jpg", "id": 1}], "annotations": []}"#;
        let (_folder, path) = write("x.json", coco);
        assert_eq!(read(&path).unwrap().names, ["1.jpg"]);
    }

    #[test]
    fn other_files_are_told_apart() {
        let fault = |name: &str, text: &str| {
            let (_folder, path) = write(name, text);
            read(&path).unwrap_err().to_string()
        };
        assert!(fault("x.json", "{\"image\": 1}").contains("neither a list of conversations"));
        assert!(fault("x.json", "[{]").contains("is not JSON"));
        assert!(fault("x.jsonl", "{\"image\": \"a\"}\n[]").contains("line 2"));
    }
}
