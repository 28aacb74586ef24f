//! `radio-eval features`, `verify` and `models`: the commands people check a model with.

use crate::common::{fails, radio_eval, shared, stdout};
use radio_eval::weights::{StateDict, safetensors};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;
use tch::{Device, Kind, Tensor};

fn read(path: &Path) -> StateDict {
    safetensors::open(path).unwrap().0
}

fn tensor(tensors: &StateDict, name: &str) -> Tensor {
    tensors[name].read(Device::Cpu, Kind::Float).unwrap()
}

fn write(path: &Path, tensors: &[(&str, &Tensor)]) {
    safetensors::write(path, tensors.iter().copied(), HashMap::new()).unwrap();
}

fn pixels(size: i64) -> Tensor {
    tch::manual_seed(1);
    Tensor::rand([3, 3, size, size], (Kind::Float, Device::Cpu))
}

/// One file says what `features` gave and what `verify` should find again.
#[test]
fn features_verify_against_themselves() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    let input = pixels(126);
    write(&at("in.safetensors"), &[("input", &input)]);
    let told = stdout(
        radio_eval(home.path())
            .args(["features", "--model", "mini-dino", "--batch-size", "2"])
            .arg("--input")
            .arg(at("in.safetensors"))
            .arg("--output")
            .arg(at("out/new.safetensors")),
    );
    assert!(
        told.contains("summary [3, 192]") && told.contains("spatial [3, 81, 192]"),
        "{told}"
    );
    let (out, metadata) = safetensors::open(&at("out/new.safetensors")).unwrap();
    assert_eq!(metadata["spatial.grid"], "9x9");
    assert_eq!(metadata["model"], "mini-dino");
    assert_eq!(metadata["sha256"].len(), 64);
    let (summary, spatial) = (tensor(&out, "summary"), tensor(&out, "spatial"));

    let nchw = spatial
        .view([3, 9, 9, 192])
        .permute([0, 3, 1, 2])
        .contiguous();
    let all = [
        ("input", &input),
        ("backbone.summary", &summary),
        ("features", &spatial),
        ("nchw.backbone.features", &nchw),
        ("blocks.0", &summary),
    ];
    write(&at("ref.safetensors"), &all);
    let verify = |file: &str, extra: &[&str]| {
        let mut command = radio_eval(home.path());
        command
            .args(["verify", "--model", "mini-dino", "--reference"])
            .arg(at(file))
            .args(extra);
        command
    };
    let told = stdout(&mut verify("ref.safetensors", &[]));
    assert!(told.contains("3 of 3 tensors within 1e-4"), "{told}");

    let moved = &summary + 0.5;
    write(
        &at("bad.safetensors"),
        &[("input", &input), ("summary", &moved), ("spatial", &nchw)],
    );
    let output = verify("bad.safetensors", &["--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let compared = |name: &str| {
        let rows = report["compared"].as_array().unwrap();
        rows.iter().find(|row| row["name"] == name).unwrap().clone()
    };
    let difference = compared("summary")["difference"].as_f64().unwrap();
    assert!((difference - 0.5).abs() < 1e-3, "{report}");
    assert_eq!(
        compared("spatial")["problem"],
        "the model gives shape [3, 81, 192]"
    );

    let nan = &summary * f64::NAN;
    write(
        &at("nan.safetensors"),
        &[("input", &input), ("summary", &nan)],
    );
    assert_eq!(
        verify("nan.safetensors", &[])
            .output()
            .unwrap()
            .status
            .code(),
        Some(3)
    );

    write(
        &at("none.safetensors"),
        &[("input", &input), ("other", &nan)],
    );
    assert!(fails(&mut verify("none.safetensors", &[]), 1).contains("holds no output to compare"));
    write(&at("noinput.safetensors"), &[("summary", &summary)]);
    assert!(fails(&mut verify("noinput.safetensors", &[]), 1).contains("no tensor `input`"));
}

#[test]
fn features_of_images_and_folders() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("images");
    std::fs::create_dir(&folder).unwrap();
    for (name, width) in [("b.png", 150), ("a.png", 200)] {
        let picture = image::RgbImage::from_fn(width, 130, |x, y| {
            image::Rgb([x as u8, y as u8, (x * y) as u8])
        });
        picture.save(folder.join(name)).unwrap();
    }
    std::fs::write(folder.join("notes.txt"), "no image").unwrap();
    let out = home.path().join("out.safetensors");
    let features = |input: &Path, extra: &[&str]| {
        let mut command = radio_eval(home.path());
        command
            .args(["features", "--model", "mini-dino", "--input"])
            .arg(input);
        command.arg("--output").arg(&out).args(extra);
        command
    };
    stdout(&mut features(&folder, &[]));
    let (tensors, metadata) = safetensors::open(&out).unwrap();
    assert_eq!(metadata["images"], r#"["a.png","b.png"]"#);
    let both = tensor(&tensors, "summary");
    assert_eq!(both.size(), [2, 192]);

    stdout(&mut features(&folder.join("b.png"), &[]));
    let one = tensor(&read(&out), "summary");
    let difference = (one.get(0) - both.get(1)).abs().max().double_value(&[]);
    assert!(difference < 1e-4, "{difference}");

    stdout(&mut features(&folder, &["--resolution", "56x84"]));
    assert_eq!(read(&out)["spatial"].shape, [2, 24, 192]);

    // Nothing is written over the old file when something is wrong.
    let before = std::fs::read(&out).unwrap();
    let error = fails(&mut features(&folder, &["--resolution", "100"]), 2);
    assert!(error.contains("98x98"), "{error}");
    let error = fails(&mut features(&folder, &["--adaptor", "sam"]), 2);
    assert!(error.contains("no adaptor `sam`"), "{error}");
    std::fs::write(folder.join("c.png"), "not an image").unwrap();
    let error = fails(&mut features(&folder, &[]), 1);
    assert!(error.contains("c.png"), "{error}");
    assert!(before == std::fs::read(&out).unwrap());
    let empty = home.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    assert!(fails(&mut features(&empty, &[]), 1).contains("holds no images"));
}

#[test]
fn official_references_verify() {
    let Some(golden) = shared("golden/eradio") else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    for size in ["64x64", "96x160"] {
        let told = stdout(
            radio_eval(home.path())
                .args(["verify", "--tolerance", "1e-4", "--model"])
                .arg(golden.join("tiny_official.weights.safetensors"))
                .arg("--reference")
                .arg(golden.join(format!("tiny_official.{size}.safetensors"))),
        );
        assert!(told.contains("3 of 3 tensors within"), "{told}");
    }
}

#[test]
fn models_say_what_they_are_and_where() {
    let home = tempfile::tempdir().unwrap();
    let table = stdout(radio_eval(home.path()).arg("models"));
    let row = |name: &str| {
        let found = table
            .lines()
            .find(|l| l.split_whitespace().next() == Some(name));
        found
            .unwrap_or_else(|| panic!("{name} is not in\n{table}"))
            .to_string()
    };
    assert!(row("mini-dino").contains(" here "));
    assert!(row("dinov2-s").contains("not here"));
    assert!(row("dinov2-s").contains("facebook/dinov2-small model.safetensors"));

    assert!(row("eradio_xxxtiny").contains("no weights released"));

    let json = stdout(radio_eval(home.path()).args(["models", "--json"]));
    let models: Vec<Value> = serde_json::from_str(&json).unwrap();
    assert_eq!(models.len(), radio_eval::models::zoo::entries().count());
    for model in &models {
        if model["name"].as_str().unwrap().starts_with("dinov2") {
            assert_eq!(model["architecture"], "dinov2");
        }
        for figure in model["published"].as_array().unwrap() {
            assert!(!figure["source"].as_str().unwrap().is_empty());
        }
    }

    // Put by hand where the error says.
    let folder = home.path().join("weights/dinov2-s");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("model.safetensors"), "x").unwrap();
    let json = stdout(radio_eval(home.path()).args(["models", "--json", "DINOv2_S"]));
    let models: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        models[0]["weights"],
        folder.join("model.safetensors").to_str().unwrap()
    );
}
