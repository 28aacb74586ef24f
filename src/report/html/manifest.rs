//! What every number was made from.

use super::{escape, stem};
use crate::report::Record;
use std::fmt::Write;
use std::path::PathBuf;

pub fn section(records: &[(PathBuf, Record)]) -> String {
    if records.is_empty() {
        return String::new();
    }
    let mut out = String::from("<h2>Manifest</h2>\n");
    for (path, record) in records {
        let model = &record.model;
        let _ = writeln!(
            out,
            "<details><summary>{} <small>{} at {}x{}, {}</small></summary>",
            escape(&stem(path)),
            escape(&model.name),
            record.resolution.0,
            record.resolution.1,
            escape(&record.precision)
        );
        let hash = match &model.sha256 {
            Some(hash) => format!("SHA-256 {hash}"),
            None => "random, none read".to_string(),
        };
        let mut facts = vec![
            ("command", record.command.join(" ")),
            ("made", record.created.clone()),
            (
                "tool",
                format!(
                    "radio-eval {} ({}), libtorch {}",
                    record.tool_version, record.git_revision, record.libtorch_version
                ),
            ),
            (
                "device",
                format!("{}, {} threads", record.device, record.threads),
            ),
            ("weights", format!("{} ({hash})", model.weights)),
        ];
        for data in &record.data {
            facts.push((
                "data",
                format!(
                    "{} {}: {} samples, {} skipped, fingerprint {}",
                    data.name, data.split, data.samples, data.skipped, data.fingerprint
                ),
            ));
        }
        for warning in &record.warnings {
            facts.push(("warning", warning.clone()));
        }
        let settings = serde_json::json!({"settings": model.settings, "options": record.options});
        let settings = serde_json::to_string_pretty(&settings).unwrap_or_default();
        out += "<ul class=\"notes\">";
        for (name, text) in facts {
            let _ = write!(out, "<li>{name}: {}</li>", escape(&text));
        }
        let _ = writeln!(out, "</ul><pre>{}</pre></details>", escape(&settings));
    }
    out
}
