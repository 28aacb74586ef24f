//! kNN figures that are known from elsewhere, reached through the binary.

use crate::common::{fixture, radio_eval, shared, stdout};
use radio_eval::report::Record;
use serde_json::Value;

/// Top-1 and the predictions, one by one, of `mini/expected.json`.
#[track_caller]
fn equals_expected(model: &str) {
    let expected = std::fs::read(fixture("knn/mini.json")).unwrap();
    let expected: Value = serde_json::from_slice(&expected).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let predictions = folder.path().join("predictions.csv");
    let text = stdout(
        radio_eval(folder.path())
            .args([
                "imagenet",
                "--model",
                model,
                "--data",
                "imagenet-mini",
                "--json",
                "--out",
            ])
            .arg(folder.path().join("out"))
            .arg("--predictions")
            .arg(&predictions),
    );
    let records: Vec<Record> = serde_json::from_str(&text).unwrap();
    let top1 = records[0].metrics["knn_top1"].value;
    assert_eq!(top1, expected[model]["knn_top1"].as_f64().unwrap());
    let own: Vec<u64> = csv::Reader::from_path(&predictions)
        .unwrap()
        .records()
        .map(|row| row.unwrap()[7].parse().unwrap())
        .collect();
    let expected: Vec<u64> =
        serde_json::from_value(expected[model]["knn_predictions"].clone()).unwrap();
    assert_eq!(own, expected);
}

#[test]
fn mini_dino() {
    equals_expected("mini-dino");
}

#[test]
fn mini_clip() {
    equals_expected("mini-clip");
}

#[test]
fn mini_sam() {
    equals_expected("mini-sam");
}

/// Real photographs through a user's TorchScript file: 71.2 % (expected.json beside the images).
#[test]
fn cifar10_with_a_torchscript_file() {
    let (Some(data), Some(model)) = (
        shared("real/cifar10"),
        shared("real/efficientnet_lite0.torchscript.pt"),
    ) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let text = stdout(
        radio_eval(folder.path())
            .args(["imagenet", "--resolution", "224", "--json", "--model"])
            .arg(model)
            .arg("--data")
            .arg(data)
            .arg("--out")
            .arg(folder.path().join("out")),
    );
    let records: Vec<Record> = serde_json::from_str(&text).unwrap();
    assert_eq!(
        format!("{:.1}", records[0].metrics["knn_top1"].value),
        "71.2"
    );
}
