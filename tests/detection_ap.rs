//! COCO's average precision against pycocotools 2.0.11, to the last bit.

use crate::common::{fixture, shared};
use radio_eval::tasks::detection::ap::{Evaluation, IouKind, Settings, evaluation, input};
use radio_eval::weights::safetensors;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn file(name: &str) -> PathBuf {
    fixture("detection").join(name)
}

fn evaluate(truth: &Path, results: &Path, kind: IouKind, settings: &Settings) -> Evaluation {
    let truth = Arc::new(input::ground_truth(truth).unwrap());
    let loaded = input::results(&truth, results).unwrap();
    let found = evaluation::evaluate(&truth, &Arc::new(loaded.detections), kind, settings);
    found.unwrap_or_else(|e| panic!("{e}"))
}

fn numbers(value: &Value) -> Vec<f64> {
    let values = value.as_array().unwrap().iter();
    values.map(|v| v.as_f64().unwrap()).collect()
}

#[test]
fn twelve_numbers_of_boxes_and_masks_to_the_last_bit() {
    let expected = read(&file("expected.json"));
    for set in ["a", "tiny"] {
        let expected = &expected["sets"][set];
        for (results, kind, stats) in [
            ("bbox", IouKind::Bbox, &expected["bbox"]["stats"]),
            ("segm", IouKind::Segm, &expected["segm"]["stats"]),
            (
                "segm",
                IouKind::Bbox,
                &expected["segm_results_as_bbox_stats"],
            ),
            (
                "bbox",
                IouKind::Segm,
                &expected["bbox_results_as_segm_stats"],
            ),
        ] {
            let found = evaluate(
                &file(&format!("{set}.gt.json")),
                &file(&format!("{set}.{results}.json")),
                kind,
                &Settings::default(),
            );
            assert_eq!(found.stats, numbers(stats), "{set} {results} as {kind:?}");
        }
    }
}

#[test]
fn numbers_of_each_category() {
    let expected = read(&file("expected.json"));
    for kind in [IouKind::Bbox, IouKind::Segm] {
        let name = kind.name();
        let found = evaluate(
            &file("a.gt.json"),
            &file(&format!("a.{name}.json")),
            kind,
            &Settings::default(),
        );
        assert_eq!(found.categories.len(), 6);
        for row in &found.categories {
            let expected = &expected["sets"]["a"][name]["per_class"][row.id.to_string()];
            for (key, value) in ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR100"]
                .iter()
                .zip(row.values)
            {
                match (expected[key].as_f64(), value) {
                    (None, None) => {}
                    (Some(e), Some(v)) => assert!((e - v).abs() < 1e-14, "{} {key}", row.id),
                    other => panic!("{} {key}: {other:?}", row.id),
                }
            }
        }
    }
}

/// The whole arrays that the numbers are means of.
#[test]
fn precision_and_recall_arrays_to_the_last_bit() {
    let Some(golden) = shared("golden/det/ap") else {
        return;
    };
    for set in ["a", "tiny"] {
        let (tensors, _) =
            safetensors::open(&golden.join(format!("{set}.pr.safetensors"))).unwrap();
        let mut compared = 0;
        for kind in [IouKind::Bbox, IouKind::Segm] {
            let found = evaluate(
                &golden.join(format!("{set}.gt.json")),
                &golden.join(format!("{set}.{}.json", kind.name())),
                kind,
                &Settings::default(),
            );
            for (name, values) in [
                ("precision", &found.accumulated.precision),
                ("recall", &found.accumulated.recall),
                ("scores", &found.accumulated.scores),
            ] {
                let key = format!("{}.{name}", kind.name());
                let stored = tensors[&key].read(Device::Cpu, Kind::Double).unwrap();
                let own = Tensor::from_slice(values).view_as(&stored);
                assert!(own.equal(&stored), "{set} {key}");
                compared += 1;
            }
        }
        assert_eq!(compared, 6);
    }
}

/// 12,800 detections of a real network on 128 photographs.
#[test]
fn real_detections() {
    let Some(folder) = shared("real/coco_ap") else {
        return;
    };
    let expected = read(&folder.join("centernet_val128_expected.json"));
    let found = evaluate(
        &folder.join("coco_val128_gt_from_yolo.json"),
        &folder.join("centernet_mbv3_dets_val128.json"),
        IouKind::Bbox,
        &Settings::default(),
    );
    // Made by faster-coco-eval, whose means add up in another order.
    for (own, other) in found.stats.iter().zip(numbers(&expected["stats"])) {
        assert!((own - other).abs() <= 2.3e-16, "{own} {other}");
    }
}

/// The bootstrap's own arithmetic, with every image once, gives the numbers of the evaluation.
#[test]
fn the_bootstrap_resamples_the_same_average_precision() {
    for kind in [IouKind::Bbox, IouKind::Segm] {
        let settings = Settings::default();
        let results = file(&format!("a.{}.json", kind.name()));
        let mut found = evaluate(&file("a.gt.json"), &results, kind, &settings);
        let own = found.average_precision_of_ranking().unwrap();
        assert!(
            (own - found.stats[0]).abs() < 1e-12,
            "{own} {}",
            found.stats[0]
        );
        found.find_intervals(&settings, 0).unwrap();
        for (interval, value) in found.intervals.iter().zip(&found.stats) {
            let (low, high) = interval.unwrap();
            assert!(
                low < *value && *value < high && high - low < 0.5,
                "{low} {value} {high}"
            );
        }
    }
}

#[test]
fn other_thresholds_and_fewer_detections() {
    let settings = Settings {
        thresholds: vec![0.5],
        max_dets: [1, 2, 5],
        intervals: false,
    };
    let found = evaluate(
        &file("a.gt.json"),
        &file("a.bbox.json"),
        IouKind::Bbox,
        &settings,
    );
    let all = evaluate(
        &file("a.gt.json"),
        &file("a.bbox.json"),
        IouKind::Bbox,
        &Settings {
            thresholds: vec![0.5],
            ..Settings::default()
        },
    );
    assert_eq!(all.stats[0], all.stats[1]);
    assert_eq!(all.stats[0], 0.375_884_442_456_218_27);
    assert_eq!(all.stats[2], -1.0);
    assert!(found.stats[0] > 0.0 && found.stats[0] < all.stats[0]);
    assert_eq!(found.stats[6], all.stats[6]);
    for bad in [[1, 1, 5], [0, 2, 5], [10, 5, 100]] {
        let settings = Settings {
            max_dets: bad,
            ..Settings::default()
        };
        assert!(settings.check().is_err());
    }
}

/// What would give a wrong number without a word, or none.
#[test]
fn files_that_make_no_sense_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let truth = read(&file("tiny.gt.json"));
    let results = read(&file("tiny.segm.json"));
    let write = |name: &str, value: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, value).unwrap();
        path
    };
    let broken_truth = |change: &dyn Fn(&mut Value), expected: &str| {
        let mut broken = truth.clone();
        change(&mut broken);
        let error = input::ground_truth(&write("gt.json", &broken.to_string()));
        let error = error.err().expect(expected).to_string();
        assert!(error.contains(expected), "{error}");
    };
    broken_truth(
        &|v| v["annotations"][1]["id"] = 1.into(),
        "annotation 1 is there twice",
    );
    broken_truth(&|v| v["annotations"][1]["id"] = 0.into(), "with id 0");
    broken_truth(
        &|v| v["annotations"][0]["area"] = Value::Null,
        "has no area",
    );
    broken_truth(
        &|v| v["annotations"][0]["bbox"][2] = (-3).into(),
        "negative size",
    );
    broken_truth(&|v| v["images"] = Value::Array(vec![]), "has no images");
    broken_truth(
        &|v| v["images"][0]["neg_category_ids"] = serde_json::json!([1]),
        "LVIS",
    );

    let good = input::ground_truth(&file("tiny.gt.json")).unwrap();
    let refused = |text: &str, expected: &str| {
        let error = input::results(&good, &write("dt.json", text));
        let error = error.err().expect(expected).to_string();
        assert!(error.contains(expected), "{error}");
    };
    let broken_results = |change: &dyn Fn(&mut Value), expected: &str| {
        let mut broken = results.clone();
        change(&mut broken);
        refused(&broken.to_string(), expected);
    };
    broken_results(
        &|v| v[1]["image_id"] = 7.into(),
        "image that the ground truth does not have",
    );
    broken_results(&|v| v[1]["score"] = Value::Null, "has no score");
    broken_results(
        &|v| v[1]["segmentation"]["size"] = serde_json::json!([100, 99]),
        "mask of 99x100 pixels, its image 100x100",
    );
    broken_results(&|v| v[0]["segmentation"]["counts"] = "bo0d0`2".into(), "");
    refused("[]", "holds no detections");
    refused("{\"a\": 1}", "");
    refused("[{", "");
    let boxes = read(&file("tiny.bbox.json")).to_string();
    refused(&boxes.replacen("0.9", "NaN", 1), "NaN");
    refused(&boxes.replacen("[10", "[NaN", 1), "");
    assert!(input::results(&good, Path::new("absent.json")).is_err());

    let mut other = results.clone();
    other[2]["category_id"] = 5.into();
    let loaded = input::results(&good, &write("dt.json", &other.to_string())).unwrap();
    assert_eq!(loaded.warnings.len(), 1);
    assert!(loaded.warnings[0].contains("1 detections count nowhere"));
}
