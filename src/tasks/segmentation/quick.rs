//! How far preset `quick` is from `repo-head` where both were measured
//! (`assets/measured/quick-distance.json`, which `scripts/quick-distance.sh` makes).

use crate::files::text;
use crate::{Result, assets};
use serde::Deserialize;

const MEASURED: &str = "measured/quick-distance.json";

/// mIoU of both presets on the same model and data.
#[derive(Deserialize)]
struct Measured {
    data: String,
    model: String,
    quick_miou: f64,
    repo_head_miou: f64,
    repo_head_iterations: u64,
    /// Side of the crop, in pixels.
    repo_head_resolution: i64,
    /// Where the records are, and what made them.
    records: String,
    script: String,
}

/// A sentence with both figures, for whoever uses `quick`.
pub fn distance() -> Result<String> {
    let measured = measured()?;
    Ok(format!(
        "preset quick knows no augmentation: on {} with {} it gave mIoU {:.2}, repo-head scaled down to {} iterations of {} px gave {:.2}: {:+.2} ({}, made by {})",
        measured.data,
        measured.model,
        measured.quick_miou,
        measured.repo_head_iterations,
        measured.repo_head_resolution,
        measured.repo_head_miou,
        measured.quick_miou - measured.repo_head_miou,
        measured.records,
        measured.script,
    ))
}

fn measured() -> Result<Measured> {
    let path = assets::path(MEASURED)?;
    text::read_json(&path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Record;
    use serde_json::Value;
    use std::path::Path;

    #[test]
    fn the_records_differ_in_the_preset_alone() {
        let measured = measured().unwrap();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(&measured.records);
        let read = |preset: &str| -> Record {
            let mut records = Record::read_folder(&folder.join(preset)).unwrap();
            assert_eq!(records.len(), 1);
            records.remove(0)
        };
        let (quick, repo) = (read("quick"), read("repo-head"));
        assert_eq!(quick.options["preset"], "quick");
        assert_eq!(repo.options["preset"], "repo-head");
        assert_eq!(quick.options["iterations"], repo.options["iterations"]);
        assert_eq!(quick.options["resolution"], repo.options["resolution"]);
        assert_eq!(quick.model.sha256, repo.model.sha256);
        let set = |record: &Record| -> Vec<Value> {
            let parts = record.data.iter();
            parts.map(|part| part.fingerprint.clone().into()).collect()
        };
        assert_eq!(set(&quick), set(&repo));

        // What is quoted is what they say.
        assert_eq!(measured.model, quick.model.name);
        assert_eq!(measured.data, quick.data[0].name);
        assert_eq!(repo.options["iterations"], measured.repo_head_iterations);
        assert_eq!(repo.options["resolution"], measured.repo_head_resolution);
        assert_eq!(measured.quick_miou, quick.metrics["miou"].value);
        assert_eq!(measured.repo_head_miou, repo.metrics["miou"].value);
        let sentence = distance().unwrap();
        for record in [&quick, &repo] {
            let value = format!("{:.2}", record.metrics["miou"].value);
            assert!(sentence.contains(&value), "{sentence}");
        }
    }
}
