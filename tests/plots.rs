//! Plots of records. Each is left in the build folder (`tmp/plots`) to be looked at.

use crate::report::record;
use indexmap::IndexMap;
use radio_eval::models::zoo;
use radio_eval::report::plot::accuracy_throughput::{self, join};
use radio_eval::report::plot::{Plot, latency, lines};
use radio_eval::report::{DataPart, Metric, Record, published};
use serde_json::{Map, Value, json};
use std::path::Path;

fn svg(name: &str, plot: Plot) -> String {
    let Plot::Drawn { svg, .. } = plot else {
        panic!("{plot:?}");
    };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plots");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(name), &svg).unwrap();
    svg
}

/// What is written in an SVG.
fn texts(svg: &str) -> Vec<String> {
    let after = svg.split("<text").skip(1);
    after
        .map(|text| {
            let (_, inside) = text.split_once('>').unwrap();
            inside.split('<').next().unwrap().trim().to_string()
        })
        .collect()
}

/// A speed of `model` at a square of `side`: median `ms`.
fn speed(model: &str, side: i64, ms: f64) -> Record {
    let mut run = record(model, 20, 0.0);
    run.task = "latency".into();
    run.data = Vec::new();
    run.options = json!({"batch": 1}).as_object().cloned().unwrap();
    run.resolution = (side, side);
    run.model.random_weights = true;
    run.metrics = IndexMap::from([
        ("latency_ms_p50".to_string(), Metric::value(ms)),
        ("latency_ms_min".to_string(), Metric::value(0.97 * ms)),
        ("latency_ms_p90".to_string(), Metric::value(1.06 * ms)),
        ("throughput".to_string(), Metric::value(1e3 / (1.01 * ms))),
    ]);
    run
}

/// kNN of the same network on `data`.
fn accuracy(model: &str, side: i64, data: &str, top1: f64) -> Record {
    let mut run = record(model, 20, top1);
    run.resolution = (side, side);
    run.options = json!({"k": 20, "temperature": 0.07})
        .as_object()
        .cloned()
        .unwrap();
    run.data = vec![DataPart {
        name: data.into(),
        path: format!("/data/{data}"),
        split: "val".into(),
        samples: 500,
        fingerprint: data.into(),
        fingerprint_of: String::new(),
        skipped: 0,
        transform: json!({"resize": "cover", "size": [side, side], "multiple": 16}),
    }];
    run
}

#[test]
fn a_swept_resolution_gives_lines_with_their_names() {
    let mut records = Vec::new();
    for (model, ms) in [
        ("e-radio_v2", 600.0),
        ("radio_v2.5-l", 610.0),
        ("openclip-h14", 1180.0),
        ("dinov2-g-reg", 2200.0),
        ("mini-dino", 13.7),
    ] {
        for side in [224, 336, 512] {
            let area = (side * side) as f64 / (224.0 * 224.0);
            records.push(speed(model, side, ms * area.powf(1.1)));
        }
    }
    let written = texts(&svg("latency.svg", latency::draw(&records).unwrap()));
    for text in [
        "224",
        "336",
        "512",
        "20",
        "50",
        "1000",
        "10000",
        "mini-dino fp32",
    ] {
        assert!(
            written.iter().any(|t| t == text),
            "{text} not in {written:?}"
        );
    }
}

#[test]
fn one_resolution_gives_sorted_dots_and_one_point_gives_a_sentence() {
    let records = [
        speed("dinov2-g-reg", 224, 2300.0),
        speed("e-radio_v2", 224, 640.0),
        speed("openclip-h14", 224, 1180.0),
        speed("radio_v2.5-l", 224, 625.5),
    ];
    let written = texts(&svg("latency-dots.svg", latency::draw(&records).unwrap()));
    let names: Vec<&String> = written.iter().filter(|t| t.ends_with("fp32")).collect();
    assert_eq!(
        names,
        [
            "radio_v2.5-l fp32",
            "e-radio_v2 fp32",
            "openclip-h14 fp32",
            "dinov2-g-reg fp32"
        ]
    );
    assert!(written.iter().any(|t| t == "640"), "{written:?}");
    let Plot::Nothing(reason) = latency::draw(&records[..1]).unwrap() else {
        panic!("one point was drawn");
    };
    assert!(reason.contains("one point"), "{reason}");
}

#[test]
fn what_is_no_longer_drawn_leaves_no_older_plot() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latency.svg");
    let two = [speed("mini-dino", 126, 5.0), speed("mini-clip", 126, 6.0)];
    assert!(latency::draw(&two).unwrap().save(&path).unwrap().is_empty());
    assert!(path.exists());
    let told = latency::draw(&two[..1]).unwrap().save(&path).unwrap();
    assert!(
        told[0].contains("is not drawn") && told[0].contains("was removed"),
        "{told:?}"
    );
    assert!(!path.exists());
}

#[test]
fn accuracy_and_speed_of_other_conditions_are_never_one_point() {
    let speeds = [speed("mini-dino", 126, 5.0), speed("mini-clip", 128, 6.0)];
    let accuracies = [
        accuracy("mini-dino", 126, "imagenet-mini", 99.4),
        accuracy("mini-clip", 128, "imagenet-mini", 86.0),
    ];
    let joined = |speeds: &[Record], accuracies: &[Record]| {
        join(speeds, accuracies, "knn_top1").points.len()
    };
    assert_eq!(joined(&speeds, &accuracies), 2);
    let plot = accuracy_throughput::draw(&speeds, &accuracies, "knn_top1").unwrap();
    let written = texts(&svg("accuracy.svg", plot));
    assert!(
        written.iter().any(|t| t == "kNN top-1 and throughput"),
        "{written:?}"
    );

    let changes: [fn(&mut Record); 6] = [
        |r| r.resolution = (252, 252),
        |r| r.precision = "bf16".into(),
        |r| r.model.random_weights = true,
        |r| {
            r.model.settings.insert("window".into(), json!("optimal"));
        },
        |r| r.data[0].transform["resize"] = json!("shortest"),
        // Another data set is another axis.
        |r| r.data[0].fingerprint = "other".into(),
    ];
    for (index, change) in changes.iter().enumerate() {
        let mut other = accuracies.clone();
        change(&mut other[0]);
        assert_eq!(joined(&speeds, &other), 1, "change {index}");
    }
}

/// The fault: kNN published at 512 px with the trained window beside the speed at 224 px with the
/// optimal window.
#[test]
fn a_published_accuracy_stands_only_at_the_speed_of_its_own_network() {
    let e_radio = |side: i64, window: &str, ms: f64| {
        let mut run = speed("e-radio_v2", side, ms);
        run.model.settings = Map::from_iter([("window".to_string(), Value::from(window))]);
        run.published = published::standing(zoo::find("e-radio_v2").unwrap(), &run);
        run
    };
    let clip = |side: i64| {
        let mut run = speed("openclip-h14", side, 1180.0);
        run.published = published::standing(zoo::find("openclip-h14").unwrap(), &run);
        run
    };
    let fault = [e_radio(224, "optimal", 180.0), clip(224)];
    let joined = join(&fault, &[], "knn_top1");
    let names: Vec<&str> = joined.points.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["openclip-h14 fp32"]);
    assert!(
        joined.left_out[0].contains("e-radio_v2 window optimal"),
        "{joined:?}"
    );

    let right = [e_radio(512, "trained", 900.0), clip(224)];
    let plot = accuracy_throughput::draw(&right, &[], "knn_top1").unwrap();
    let written = texts(&svg("accuracy-published.svg", plot));
    for text in ["e-radio_v2 fp32 512 px", "openclip-h14 fp32 224 px"] {
        assert!(written.iter().any(|t| t == text), "{written:?}");
    }

    // Published values are ImageNet's: never on one axis with accuracies of other data.
    let mixed = [right[0].clone(), speed("mini-dino", 126, 5.0)];
    let measured = [accuracy("mini-dino", 126, "imagenet-mini", 99.4)];
    assert_eq!(join(&mixed, &measured, "knn_top1").points.len(), 1);
}

#[test]
fn many_points_and_lines_keep_their_names_apart() {
    let mut speeds = Vec::new();
    let mut accuracies = Vec::new();
    for i in 0..9 {
        let model = format!("model-with-a-name-{i}");
        speeds.push(speed(&model, 224, 20.0 + f64::from(i)));
        accuracies.push(accuracy(
            &model,
            224,
            "imagenet-mini",
            80.0 + 0.3 * f64::from(i % 4),
        ));
    }
    let plot = accuracy_throughput::draw(&speeds, &accuracies, "knn_top1").unwrap();
    svg("accuracy-many.svg", plot);
    let lines: Vec<lines::Line> = (0..40)
        .map(|i| lines::Line {
            name: format!("line {i}"),
            points: [1.0, 8.0, 64.0, 256.0]
                .map(|x| lines::At {
                    x,
                    y: 50.0 + f64::from(i) / 3.0 + x.log2(),
                    interval: Some((
                        49.0 + f64::from(i) / 3.0 + x.log2(),
                        51.5 + f64::from(i) / 3.0 + x.log2(),
                    )),
                })
                .to_vec(),
        })
        .collect();
    let titles = lines::Titles {
        plot: "kNN by tokens",
        x: "tokens",
        y: "kNN top-1",
        logarithmic_x: true,
        logarithmic_y: false,
    };
    for (name, count) in [("tokens-few.svg", 3), ("tokens-many.svg", 40)] {
        let svg = svg(
            name,
            Plot::Drawn {
                svg: lines::draw(titles, &lines[..count]).unwrap(),
                left_out: Vec::new(),
            },
        );
        let names = texts(&svg).iter().filter(|t| t.starts_with("line")).count();
        assert_eq!(names, count);
    }
}
