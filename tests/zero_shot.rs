//! Zero-shot classification: the official golden, and the miniature world end to end.

use crate::common::{fails, fixture, radio_eval, shared, stderr, stdout};
use radio_eval::assets;
use radio_eval::models::{BuildOptions, text};
use radio_eval::tasks::extract::Rows;
use radio_eval::tasks::zero_shot::{Templates, classifier, rank};
use radio_eval::weights::Checkpoint;
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use tch::{Device, Tensor};

fn read(file: &Checkpoint, name: &str) -> Tensor {
    file.tensors().unwrap()[name].read_stored().unwrap()
}

#[track_caller]
fn assert_close(found: &Tensor, expected: &Tensor) {
    assert_eq!(found.size(), expected.size());
    let difference = (found - expected).abs().max().double_value(&[]);
    assert!(difference <= 1e-5, "{difference}");
}

/// golden/misc/zero_shot: 10 classes x 7 templates, 64 images.
#[test]
fn golden_classifier_and_accuracy() {
    let golden = Checkpoint::open(&fixture("text/zero_shot.safetensors")).unwrap();
    let built = classifier::mean_directions(&read(&golden, "text_emb"), 7).unwrap();
    assert_close(&built, &read(&golden, "classifier").tr());

    let images = Vec::<f32>::try_from(read(&golden, "image").reshape([-1])).unwrap();
    let images = Rows::new(&images, 32).unwrap();
    let scores = images
        .normalised(0..64, Device::Cpu)
        .unwrap()
        .mm(&built.tr());
    assert_close(&scores, &read(&golden, "logits"));

    let labels = Vec::<i64>::try_from(read(&golden, "labels")).unwrap();
    let rankings = rank(images, &built, Device::Cpu).unwrap();
    for (k, name) in [(1, "acc1"), (5, "acc5")] {
        let hits = rankings
            .iter()
            .zip(&labels)
            .filter(|(ranking, label)| ranking[..k].iter().any(|c| i64::from(*c) == **label))
            .count();
        let expected = read(&golden, name).double_value(&[]);
        assert!(
            (100.0 * hits as f64 / 64.0 - expected).abs() < 1e-4,
            "{name}"
        );
    }
}

/// The miniature CLIP's classifier of its 20 classes, made by open_clip's code.
#[test]
fn miniature_classifier() {
    let golden = Checkpoint::open(&fixture("text/mini_classifier.safetensors")).unwrap();
    let weights = Checkpoint::open(&assets::path("mini/weights/mini-clip").unwrap()).unwrap();
    let tower = text::load(&weights, &BuildOptions::default()).unwrap();
    let data = radio_eval::data::classification::open("imagenet-mini", None).unwrap();
    let templates = Templates::open(fixture("text/mini_templates.txt").to_str().unwrap()).unwrap();
    let prompts: Vec<String> = data
        .classes
        .iter()
        .flat_map(|class| templates.prompts(&class.names[0]))
        .collect();
    assert_eq!(prompts[7], "a photo of a striped star.");
    let embeddings = tower.encode(&tower.tokenize(&prompts).unwrap()).unwrap();
    let built = classifier::mean_directions(&embeddings, templates.lines.len() as i64).unwrap();
    assert_close(&built, &read(&golden, "classifier"));
}

fn zero_shot(home: &Path, model: &str, data: &str) -> Command {
    let mut command = crate::common::zero_shot(home);
    command.args(["--model", model, "--data", data]);
    command
}

/// 91.8 / 100.0, and every one of the 500 predictions (mini/expected.json).
#[track_caller]
fn check_miniature(home: &Path, json: &str) {
    let expected = std::fs::read_to_string(fixture("text/mini_expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&expected).unwrap();
    let records: Value = serde_json::from_str(json).unwrap();
    let record = &records[0];
    for name in ["zero_shot_top1", "zero_shot_top5"] {
        let metric = &record["metrics"][name];
        assert_eq!(metric["value"], expected[name], "{name}");
        assert_eq!(metric["n"], 500);
        assert!(metric["low"].as_f64() <= metric["value"].as_f64());
    }
    assert_eq!(record["model"]["adaptor"], "clip");
    assert_eq!(
        record["options"]["text_settings"]["activation"],
        "quick_gelu"
    );
    assert_eq!(record["options"]["class_names"], "data set");

    let csv = std::fs::read_to_string(home.join("predictions.csv")).unwrap();
    let mut rows: Vec<(&str, u64)> = csv
        .lines()
        .skip(1)
        .map(|line| {
            let columns: Vec<&str> = line.rsplitn(4, ',').collect();
            (columns[2], columns[0].parse().unwrap())
        })
        .collect();
    rows.sort();
    let predictions: Vec<u64> = rows.into_iter().map(|(_, class)| class).collect();
    let expected = expected["zero_shot_predictions"].as_array().unwrap();
    let expected: Vec<u64> = expected.iter().filter_map(Value::as_u64).collect();
    assert_eq!(predictions, expected);
}

#[test]
fn miniature_world_by_name_and_again_from_the_caches() {
    let home = tempfile::tempdir().unwrap();
    let first = stdout(&mut zero_shot(home.path(), "mini-clip", "imagenet-mini"));
    check_miniature(home.path(), &first);

    let output = zero_shot(home.path(), "mini-clip", "imagenet-mini")
        .output()
        .unwrap();
    let log = stderr(&output);
    assert!(log.contains("text classifier from the cache"), "{log}");
    check_miniature(home.path(), &String::from_utf8(output.stdout).unwrap());
}

#[test]
fn miniature_world_by_path_from_unpacked_folders() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("unpacked");
    for split in ["train", "val"] {
        let tar = assets::path(&format!("mini/data/imagenet-mini-{split}.tar")).unwrap();
        tar::Archive::new(std::fs::File::open(tar).unwrap())
            .unpack(&folder)
            .unwrap();
    }
    let weights = shared("mini/weights/mini-clip");
    let weights = weights.unwrap_or_else(|| assets::path("mini/weights/mini-clip").unwrap());
    let mut command = zero_shot(
        home.path(),
        weights.to_str().unwrap(),
        folder.to_str().unwrap(),
    );
    check_miniature(home.path(), &stdout(&mut command));
}

/// One table over models and both tasks; a model without a joint space has an empty cell.
#[test]
fn comparison_over_both_tasks_marks_the_best() {
    let home = tempfile::tempdir().unwrap();
    let markdown = home.path().join("table.md");
    let mut command = radio_eval(home.path());
    command
        .args([
            "imagenet",
            "--model",
            "mini-clip,mini-dino",
            "--task",
            "all",
        ])
        .args([
            "--data",
            "imagenet-mini",
            "--limit",
            "60",
            "--train-limit",
            "3",
        ])
        .args(["--templates", "base", "--out"])
        .arg(home.path().join("out"))
        .arg("--markdown")
        .arg(&markdown);
    let output = command.output().unwrap();
    let log = stderr(&output);
    assert!(output.status.success(), "{log}");
    assert!(log.contains("zero-shot is left out"), "{log}");
    let table = std::fs::read_to_string(&markdown).unwrap();
    let row = |name: &str| -> Vec<String> {
        let line = table.lines().find(|l| l.contains(name)).unwrap();
        line.split('|')
            .map(|cell| cell.trim().to_string())
            .collect()
    };
    let (head, clip, dino) = (row("model"), row("mini-clip"), row("mini-dino"));
    let column = |title: &str| head.iter().position(|h| h == title).unwrap();
    let knn = column("kNN top-1");
    assert!(dino[knn].starts_with("**"), "{table}");
    assert!(!clip[knn].starts_with("**"), "{table}");
    let zero_shot = column("zero-shot top-1");
    assert!(!clip[zero_shot].is_empty(), "{table}");
    assert!(
        !dino[zero_shot].contains(|c: char| c.is_ascii_digit()),
        "{table}"
    );
    assert!(!head.iter().any(|h| h.starts_with("text")), "{table}");
}

#[test]
fn a_users_own_names_and_templates() {
    let home = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = home.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let error = |model: &str, flags: &[&str], path: &Path, code: i32| {
        let mut command = radio_eval(home.path());
        command
            .args(["imagenet", "--task", "zero-shot", "--model", model])
            .args(["--data", "imagenet-mini", "--out"])
            .arg(home.path().join("out"))
            .args(flags)
            .arg(path);
        fails(&mut command, code)
    };
    let templates = |bytes: &[u8]| {
        let path = file("templates.txt", bytes);
        error("mini-clip", &["--templates"], &path, 1)
    };
    assert!(templates(b"").contains("templates.txt: holds no template"));
    assert!(templates(b"\n \n").contains("holds no template"));
    let text = templates(b"a photo of a {}.\n\na photo.\n");
    assert!(text.contains("line 3: `a photo.` has no {}"), "{text}");
    let text = templates(b"a photo of a {}.\na caf\xE9 {}\n");
    assert!(text.contains("line 2 is not UTF-8"), "{text}");
    let text = error("mini-clip", &["--templates"], Path::new("nowhere.txt"), 2);
    assert!(text.contains("openai, simple, base"), "{text}");

    let classes = |bytes: &[u8]| {
        let path = file("classes.tsv", bytes);
        error("mini-clip", &["--classnames"], &path, 1)
    };
    let text = classes(b"a\tx\nb\ty\na\tz\n");
    assert!(
        text.contains("line 3: class `a` is already on line 1"),
        "{text}"
    );
    let text = classes(b"a\tx\nb\t\xFF\n");
    assert!(text.contains("line 2 is not UTF-8"), "{text}");
    assert!(classes(b"").contains("names no class"));

    let text = error("mini-dino", &["--templates"], Path::new("base"), 2);
    assert!(text.contains("has no summary in a joint space"), "{text}");
    let dino = assets::path("mini/weights/mini-dino").unwrap();
    let text = error("mini-clip", &["--text-weights"], &dino, 1);
    assert!(text.contains("holds no text tower"), "{text}");
}
