//! `radio-eval coco --task ap` and `--task detect`, as a user runs them.

use crate::common::{fails, fixture, radio_eval, stdout};
use serde_json::Value;
use std::path::Path;

fn file(name: &str) -> String {
    fixture("detection").join(name).display().to_string()
}

/// `coco --task ap` on a committed set; what else is given is for the caller to add.
fn ap(home: &Path, results: &str) -> std::process::Command {
    let mut command = radio_eval(home);
    command.args([
        "coco",
        "--task",
        "ap",
        "--json",
        "--ground-truth",
        &file("a.gt.json"),
    ]);
    command
        .args(["--results", results, "--out"])
        .arg(home.join("out"));
    command
}

fn records(text: &str) -> Vec<Value> {
    serde_json::from_str(text).unwrap()
}

#[test]
fn average_precision_of_a_file() {
    let home = tempfile::tempdir().unwrap();
    let record = &records(&stdout(&mut ap(home.path(), &file("a.segm.json"))))[0];
    let expected: Value =
        serde_json::from_slice(&std::fs::read(file("expected.json")).unwrap()).unwrap();
    let expected = &expected["sets"]["a"];
    for (metric, stats, at) in [
        ("mask_ap", &expected["segm"]["stats"], 0),
        ("mask_ap75", &expected["segm"]["stats"], 2),
        ("mask_ar_large", &expected["segm"]["stats"], 11),
        ("box_ap", &expected["segm_results_as_bbox_stats"], 0),
    ] {
        let value = record["metrics"][metric]["value"].as_f64().unwrap();
        assert_eq!(value, 100.0 * stats[at].as_f64().unwrap(), "{metric}");
    }
    assert_eq!(record["metrics"]["mask_ap"]["n"], 24);
    assert!(record["metrics"]["mask_ap"]["low"].as_f64().unwrap() > 10.0);
    let out = home.path().join("out");
    let classes = std::fs::read_to_string(out.join("ap__a.segm.segm.classes.csv")).unwrap();
    let rows: Vec<&str> = classes.lines().collect();
    assert_eq!(rows.len(), 7);
    // A category without objects has no numbers.
    assert!(
        rows[6].starts_with("90,") && rows[6].ends_with(",0,,,,,,,"),
        "{}",
        rows[6]
    );
    let plot = std::fs::read_to_string(out.join("ap__a.segm.bbox.pr.svg")).unwrap();
    assert!(plot.contains("IoU 0.75") && plot.contains("Precision over recall, boxes"));

    let few = [
        "--iou",
        "0.5",
        "--max-dets",
        "1,2,5",
        "--no-intervals",
        "--name",
        "few",
    ];
    let record = &records(&stdout(ap(home.path(), &file("a.bbox.json")).args(few)))[0];
    let metrics = record["metrics"].as_object().unwrap();
    assert_eq!(metrics["box_ap"], metrics["box_ap50"]);
    assert!(metrics["box_ap"].get("low").is_none());
    assert!(!metrics.contains_key("box_ap75") && !metrics.contains_key("mask_ap"));
    assert_eq!(record["model"]["name"], "few");
    assert_eq!(record["options"]["max_dets"], serde_json::json!([1, 2, 5]));
}

#[test]
fn flags_that_cannot_be_obeyed_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let coco = |args: &[&str]| {
        let mut command = radio_eval(home.path());
        command.arg("coco").args(args);
        fails(&mut command, 2)
    };
    let needs = coco(&["--task", "ap", "--results", "x.json"]);
    assert!(needs.contains("--ground-truth FILE"), "{needs}");
    assert!(coco(&["--task", "ap", "--model", "mini-dino"]).contains("--model and its flags go"));
    assert!(coco(&["--task", "detect"]).contains("--model"));
    assert!(coco(&["--task", "detect", "-m", "mini-dino", "--iou", "0.5"]).contains("--task ap"));
    let detect = |args: &[&str]| {
        let all = ["--task", "detect", "-m", "mini-dino", "--data", "coco-mini"];
        coco(&[&all, args].concat())
    };
    assert!(detect(&["--resolution", "250"]).contains("the nearest is 256"));
    assert!(detect(&["--head-precision", "fp16"]).contains("bf16 or fp32"));
    assert!(detect(&["--jitter", "2,1"]).contains("smaller scale first"));
    let nothing = detect(&["--head", "x.safetensors", "--epochs", "3"]);
    assert!(nothing.contains("nothing is trained"), "{nothing}");
    let order = fails(
        ap(home.path(), &file("a.bbox.json")).args(["--max-dets", "3,2,1"]),
        2,
    );
    assert!(order.contains("three numbers that rise"), "{order}");
    let absent = fails(&mut ap(home.path(), "absent.json"), 1);
    assert!(absent.contains("absent.json"), "{absent}");
}

/// Eight updates of a small detector on the miniature world; then the same head again, and its
/// detections as a file.
#[test]
fn a_detector_is_trained_saved_and_evaluated_again() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    let results = home.path().join("found.json");
    let detect = |args: &[&str]| {
        let mut command = radio_eval(home.path());
        command.args([
            "coco",
            "--task",
            "detect",
            "--json",
            "-m",
            "mini-dino",
            "--data",
            "coco-mini",
        ]);
        command
            .args(["--device", "cpu", "--threads", "1", "--out"])
            .arg(&out);
        let mut found = records(&stdout(command.args(args)));
        found.remove(0)
    };
    let small = [
        "--recipe",
        "mini",
        "--resolution",
        "128",
        "--channels",
        "16",
        "--epochs",
        "0.0533",
        "--batch-size",
        "2",
        "--box-batch",
        "16",
        "--lr",
        "0.01",
        "--warmup",
        "1",
        "--val-every",
        "0.03",
        "--save-detections",
    ];
    let path = results.display().to_string();
    let with_file: Vec<&str> = small.iter().copied().chain([path.as_str()]).collect();
    let record = detect(&with_file);
    assert_eq!(record["options"]["iterations"], 8);
    assert_eq!(record["options"]["head"], "mask-vitdet");
    assert_eq!(record["options"]["validation"].as_array().unwrap().len(), 1);
    assert_eq!(record["resolution"], serde_json::json!([112, 112]));
    assert!(record["metrics"]["box_ap"]["value"].as_f64().unwrap() >= 0.0);
    assert!(out.join("detection__mini-dino.curve.svg").is_file());

    // The whole training again, from the state that was kept: nothing is done, all is the same.
    let again = detect(&with_file);
    assert_eq!(again["metrics"], record["metrics"]);
    assert_eq!(again["timings"]["stages"]["backbone"], 0.0);

    // The saved head finds the same to the last bit.
    let head = out.join("detection__mini-dino.head.safetensors");
    let copy = home.path().join("head.safetensors");
    std::fs::copy(&head, &copy).unwrap();
    let first = std::fs::read(&results).unwrap();
    let copy = copy.display().to_string();
    let reused = detect(&["--head", &copy, "--draw", "1", "--save-detections", &path]);
    assert_eq!(reused["metrics"], record["metrics"]);
    assert_eq!(std::fs::read(&results).unwrap(), first);
    let drawn = out.join("drawn__mini-dino");
    let pictures: Vec<_> = walkdir::WalkDir::new(&drawn)
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_file())
        .collect();
    assert_eq!(pictures.len(), 1);
}
