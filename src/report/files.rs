//! Where records lie: `<folder>/<task>__<model>.json`.

use super::record::Record;
use crate::Result;
use crate::files::write_atomically;
use crate::hash::sha256;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Writes a record into `folder` and returns its path.
///
/// The first cell of a task and model has the plain name; another cell of the same two (other k,
/// resolution, data set, ...) gets what differs, and a hash of its conditions, appended. The same
/// cell measured again replaces its record; no two cells share a file.
pub fn write_record(folder: &Path, record: &Record) -> Result<PathBuf> {
    let path = record_path(folder, record);
    record.write(&path)?;
    Ok(path)
}

fn record_path(folder: &Path, record: &Record) -> PathBuf {
    let stem = format!("{}__{}", slug(&record.task), slug(&record.model.name));
    let plain = folder.join(format!("{stem}.json"));
    if !plain.exists() {
        return plain;
    }
    let own = identity(record);
    let difference = match Record::read(&plain).map(|there| identity(&there)) {
        Ok(there) if there == own => return plain,
        Ok(there) => difference(&own, &there),
        Err(_) => String::new(),
    };
    let hash = sha256(Value::Object(own).to_string());
    folder.join(format!("{stem}__{difference}{}.json", &hash[..8]))
}

/// What makes a record the record of this cell and no other.
fn identity(record: &Record) -> Map<String, Value> {
    let mut map = Map::new();
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

/// `k10_px252x252_`: the short values in which `own` differs from `there`.
fn difference(own: &Map<String, Value>, there: &Map<String, Value>) -> String {
    const LONGEST: usize = 24;
    own.iter()
        .filter(|(name, value)| there.get(*name) != Some(*value))
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
