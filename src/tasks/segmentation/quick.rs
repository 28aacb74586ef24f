//! How far preset `quick` is from `repo-head` where both were measured: the records that
//! `scripts/quick-distance.sh` made are part of the binary.

use crate::report::Record;

const QUICK: &str =
    include_str!("../../../results/quick-distance/quick/segmentation__mini-dino.json");
const REPO_HEAD: &str = include_str!(
    "../../../results/quick-distance/repo-head/segmentation__mini-dino__inferenceslide_9c4bd7f7.json"
);

/// A sentence with both figures, for whoever uses `quick`; `None` if the records say nothing.
pub fn distance() -> Option<String> {
    let record = |text| serde_json::from_str::<Record>(text).ok();
    let (quick, repo) = (record(QUICK)?, record(REPO_HEAD)?);
    let miou = |record: &Record| record.metrics.get("miou").map(|metric| metric.value);
    let (of_quick, of_repo) = (miou(&quick)?, miou(&repo)?);
    let data = &quick.data.first()?.name;
    Some(format!(
        "preset quick knows no augmentation: on {data} with {} it gave mIoU {of_quick:.2}, repo-head scaled down to {} iterations of {} px gave {of_repo:.2}: {:+.2} (results/quick-distance, made by scripts/quick-distance.sh)",
        quick.model.name,
        repo.options.get("iterations")?,
        repo.options.get("resolution")?,
        of_quick - of_repo,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn the_records_differ_in_the_preset_alone() {
        let parse = |text: &str| -> Record { serde_json::from_str(text).unwrap() };
        let (quick, repo) = (parse(QUICK), parse(REPO_HEAD));
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
        let told = distance().unwrap();
        let value = format!("{:.2}", quick.metrics["miou"].value);
        assert!(told.contains(&value), "{told}");
    }
}
