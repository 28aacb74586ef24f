//! The data sets of `shared/cases/data`, through the real binary: the right value, or a sentence.

use crate::common::{fails, radio_eval, shared, stderr};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// kNN with k 1 and a small network: the command without its data.
fn knn(home: &Path) -> Command {
    let mut command = radio_eval(home);
    command.args([
        "imagenet",
        "--model",
        "mini-dino",
        "--k",
        "1",
        "--json",
        "--out",
    ]);
    command.arg(home.join("out")).arg("--data");
    command
}

/// Top-1 and what was told on the terminal.
#[track_caller]
fn top1(command: &mut Command) -> (f64, String) {
    let output = command.output().expect("the binary starts");
    let told = stderr(&output);
    assert!(output.status.success(), "{command:?}: {told}");
    let records: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let value = &records[0]["metrics"]["knn_top1"]["value"];
    (value.as_f64().unwrap_or_else(|| panic!("{records}")), told)
}

/// `radio-eval datasets DATA --json`: what a data set is taken for.
#[track_caller]
fn summary(home: &Path, data: &Path) -> Value {
    let mut command = radio_eval(home);
    let output = command
        .args(["datasets", "--json"])
        .arg(data)
        .output()
        .expect("starts");
    assert!(output.status.success(), "{}", stderr(&output));
    let mut sets: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    sets[0].take()
}

fn samples(summary: &Value) -> Vec<u64> {
    let splits = summary["splits"].as_array().expect("splits");
    splits
        .iter()
        .filter_map(|split| split["samples"].as_u64())
        .collect()
}

#[test]
fn c02_indices_of_caffe() {
    let Some(data) = shared("cases/data/c02_caffe_val") else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let mut command = knn(home.path());
    let (value, told) = top1(
        command
            .arg(&data)
            .arg("--mapping")
            .arg(data.join("val.txt")),
    );
    assert_eq!(value, 100.0);
    assert!(
        told.contains("class numbers 0 to 3 are taken as places"),
        "{told}"
    );
}

#[test]
fn c04_folders_of_imagenet_v2() {
    let Some(data) = shared("cases/data/c04_v2_knn") else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let mut command = knn(home.path());
    command.arg(data.join("imagenet")).arg("--val-data");
    let (value, told) = top1(command.arg(data.join("imagenetv2-matched-frequency-format-val")));
    assert_eq!(value, 100.0);
    assert!(
        told.contains("class numbers 0 to 11 are taken as places"),
        "{told}"
    );
}

#[test]
fn c09_names_of_several_words() {
    let Some(data) = shared("cases/data/c09_csv_words") else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    assert_eq!(top1(knn(home.path()).arg(&data)).0, 100.0);
    let set = summary(home.path(), &data.join("valonly"));
    assert_eq!(set["classes"], 3);
    assert_eq!(samples(&set), [9]);
}

#[test]
fn c10_composed_and_decomposed_names() {
    let Some(data) = shared("cases/data/c10_nfd") else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    assert_eq!(top1(knn(home.path()).arg(&data)).0, 100.0);
    assert_eq!(summary(home.path(), &data)["classes"], 3);
}

#[test]
fn w01_webdataset_names_with_dots() {
    let Some(data) = shared("cases/data/w01_dots") else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    for (folder, count) in [("", 9), ("mixed", 12), ("folder", 9)] {
        let folder = data.join(folder);
        assert_eq!(
            samples(&summary(home.path(), &folder)),
            [count, count],
            "{}",
            folder.display()
        );
        assert_eq!(top1(knn(home.path()).arg(&folder)).0, 100.0);
    }
}

#[test]
fn w04_links_inside_a_tar() {
    let Some(data) = shared("cases/data/w04_links") else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let tar = summary(home.path(), &data.join("all.tar"));
    let tree = summary(home.path(), &data.join("tree"));
    assert_eq!(samples(&tar), [12, 12]);
    for split in 0..2 {
        assert_eq!(
            tar["splits"][split]["per_class"],
            tree["splits"][split]["per_class"]
        );
    }
    assert_eq!(top1(knn(home.path()).arg(data.join("all.tar"))).0, 100.0);
}

#[test]
fn p01_two_columns_of_classes() {
    let Some(data) = shared("cases/data/p01_two_labels") else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    assert_eq!(summary(home.path(), &data)["classes"], 3);
    assert_eq!(top1(knn(home.path()).arg(&data)).0, 100.0);
    let domain = top1(
        knn(home.path())
            .arg(&data)
            .args(["--label-column", "domain"]),
    );
    assert_eq!(domain.0, 100.0);
    let told = fails(
        knn(home.path())
            .arg(&data)
            .args(["--label-column", "species"]),
        1,
    );
    assert!(
        told.contains("has no column `species`; its columns are "),
        "{told}"
    );
}

/// What `ade20k` says about a tree of images and masks that it refuses.
fn refusal(data: &Path, more: &[&str]) -> String {
    let home = tempfile::tempdir().unwrap();
    let mut command = radio_eval(home.path());
    command.args([
        "ade20k",
        "--model",
        "mini-dino",
        "--preset",
        "mini",
        "--data",
    ]);
    command.arg(data).arg("--out").arg(home.path()).args(more);
    fails(&mut command, 1)
}

#[test]
fn s01_binary_masks_of_0_and_255() {
    let Some(data) = shared("cases/data/s01_binary255") else {
        return;
    };
    for tree in [data.clone(), data.join("nolist")] {
        let told = refusal(&tree, &[]);
        assert!(told.contains("255") && told.contains("ignore"), "{told}");
        assert!(told.contains("--classes"), "{told}");
        let home = tempfile::tempdir().unwrap();
        let mut command = radio_eval(home.path());
        let output = command
            .args(["datasets", "--check"])
            .arg(&tree)
            .output()
            .unwrap();
        let shown = String::from_utf8_lossy(&output.stdout).into_owned() + &stderr(&output);
        assert_ne!(output.status.code(), Some(0), "{shown}");
        assert!(shown.contains("255") && shown.contains("ignore"), "{shown}");
        assert!(!shown.contains("(classification)"), "{shown}");
    }
}

#[test]
fn s05_masks_as_jpeg() {
    let Some(data) = shared("cases/data/s05_jpg_masks") else {
        return;
    };
    let told = refusal(&data, &[]);
    assert!(told.contains("masks must be lossless"), "{told}");
}
