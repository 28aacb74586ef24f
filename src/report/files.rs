//! Where records lie: `<folder>/<task>__<model>.json`.

use super::record::Record;
use crate::Result;
use crate::files::{write_atomically, write_new};
use crate::hash::sha256;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Writes a record into `folder` and returns its path.
///
/// The first cell of a task and model has the plain name; another cell of the same two (other k,
/// resolution, data set, ...) gets what differs, and a hash of its conditions, appended. The same
/// cell measured again replaces its record; no two cells share a file.
///
/// Several processes may write into one folder at once: the plain name goes to the one that made
/// the file, and every other name belongs to one cell only.
pub fn write_record(folder: &Path, record: &Record) -> Result<PathBuf> {
    let bytes = record.to_json()?;
    let stem = format!("{}__{}", slug(&record.task), slug(&record.model.name));
    let plain = folder.join(format!("{stem}.json"));
    if write_new(&plain, &bytes)? {
        return Ok(plain);
    }
    let path = folder.join(file_name(&stem, record, &plain));
    write_atomically(&path, &bytes)?;
    Ok(path)
}

/// The name of a record where the plain name is taken: that name, where the same cell has it.
fn file_name(stem: &str, record: &Record, plain: &Path) -> String {
    let own = identity(record);
    let difference = match Record::read(plain).map(|other| identity(&other)) {
        Ok(other) if other == own => return format!("{stem}.json"),
        Ok(other) => difference(&own, &other),
        Err(_) => String::new(),
    };
    let hash = sha256(Value::Object(own).to_string());
    format!("{stem}__{difference}{}.json", &hash[..8])
}

/// What makes a record the record of this cell and no other.
fn identity(record: &Record) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("task".into(), json!(record.task));
    map.insert("model".into(), json!(record.model.name));
    for data in &record.data {
        map.insert(format!("{}-data", data.split), json!(data.name));
        map.insert(format!("{}-path", data.split), json!(data.path));
        map.insert(
            format!("{}-samples", data.split),
            json!(data.samples + data.skipped),
        );
        map.insert(format!("{}-transform", data.split), data.transform.clone());
    }
    let (height, width) = record.resolution;
    map.insert("px".into(), json!(format!("{height}x{width}")));
    map.insert("precision".into(), json!(record.precision));
    map.insert("device".into(), json!(record.device));
    map.insert("adaptor".into(), json!(record.model.adaptor));
    map.insert("weights".into(), json!(record.model.weights));
    for (name, value) in record.options.iter().chain(&record.model.settings) {
        map.insert(name.clone(), value.clone());
    }
    map
}

/// `k10_px252x252_`: the short values in which `own` differs from `other`.
fn difference(own: &Map<String, Value>, other: &Map<String, Value>) -> String {
    const LONGEST: usize = 24;
    own.iter()
        .filter(|(name, value)| other.get(*name) != Some(*value))
        .filter_map(|(name, value)| {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Bool(flag) => flag.to_string(),
                _ => return None,
            };
            (text.len() <= LONGEST && !text.contains('/')).then(|| slug(&format!("{name}{text}_")))
        })
        .take(4)
        .collect()
}

/// Letters, digits, `.`, `-` and `_`; the rest becomes `-`.
fn slug(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_' => c,
            _ => '-',
        })
        .collect()
}

/// Writes a rendered table to `path`.
pub fn write_text(path: &Path, text: &str) -> Result<()> {
    write_atomically(path, text.as_bytes())
}
