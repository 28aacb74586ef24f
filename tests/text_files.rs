//! Text files as Windows' editors save them: with a byte order mark, or as UTF-16.

use crate::common::{fails, radio_eval, stdout};
use radio_eval::data::coco;
use std::path::Path;
use std::process::Command;

/// The same text as UTF-8 with a mark, and as UTF-16 of both byte orders.
fn encodings(text: &str) -> [Vec<u8>; 3] {
    let marked = format!("\u{FEFF}{text}");
    let little = marked.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big = marked.encode_utf16().flat_map(u16::to_be_bytes).collect();
    [marked.into_bytes(), little, big]
}

#[test]
fn own_datasets() {
    let home = tempfile::tempdir().unwrap();
    let text = "[birds-of-mine]\ntask = \"images\"\nabout = \"V\u{f6}gel\"\nroots = [\"/nowhere\"]\n\
                [birds-of-mine.splits.val]\npath = \"x\"\n";
    for bytes in encodings(text) {
        std::fs::write(home.path().join("datasets.toml"), bytes).unwrap();
        let told = stdout(radio_eval(home.path()).arg("datasets"));
        assert!(told.contains("birds-of-mine"), "{told}");
        assert!(told.contains("V\u{f6}gel"), "{told}");
    }
}

/// The error about a value is the one of the file without a mark, with the same line.
#[test]
fn recipes_and_sweeps() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("values.toml");
    for bytes in encodings("iterations = 10\nlearning_rate = 1\n") {
        std::fs::write(&file, bytes).unwrap();
        let mut probe = radio_eval(home.path());
        probe.args(["ade20k", "--model", "mini-dino", "--data", "ade-mini"]);
        probe.arg("--out").arg(home.path().join("out"));
        let told = fails(probe.arg("--recipe").arg(&file), 2);
        assert!(
            told.contains("line 2: unknown field `learning_rate`"),
            "{told}"
        );
    }
    for bytes in encodings("batch = [1]\nbatches = [2]\n") {
        std::fs::write(&file, bytes).unwrap();
        let mut latency = radio_eval(home.path());
        latency.args(["latency", "--model", "eradio_xxxtiny", "--out"]);
        let told = fails(latency.arg(home.path()).arg("--config").arg(&file), 1);
        assert!(told.contains("line 2: unknown field `batches`"), "{told}");
    }
}

/// A run of distillation, and COCO's annotations.
#[test]
fn distillations_and_coco() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("run.toml");
    for bytes in encodings("seed = 1\nno_such_value = 2\n") {
        std::fs::write(&file, bytes).unwrap();
        let mut distill = radio_eval(home.path());
        distill
            .arg("distill")
            .arg(&file)
            .arg("--out")
            .arg(home.path().join("out"));
        let told = fails(&mut distill, 1);
        assert!(
            told.contains("line 2: unknown field `no_such_value`"),
            "{told}"
        );
    }
    let annotations = home.path().join("instances.json");
    let images = home.path().join("images");
    std::fs::create_dir(&images).unwrap();
    for bytes in encodings(r#"{"images": [], "annotations": [], "categories": []}"#) {
        std::fs::write(&annotations, bytes).unwrap();
        let options = coco::OpenOptions {
            images: Some(images.clone()),
            annotations: Some(annotations.clone()),
        };
        let read = coco::open(images.to_str().unwrap(), coco::Split::Val, &options);
        let told = read.map(drop).unwrap_err().to_string();
        assert!(told.contains("lists no image"), "{told}");
    }
}

/// Zero-shot with templates and class names in each encoding gives the record of plain files.
#[test]
fn templates_and_class_names() {
    let home = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = home.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let templates = "a photo of a {}.\nsome {}.\n";
    let shipped =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/mini/data/imagenet-mini-val.tar");
    let mut tar = Command::new("tar");
    let names = stdout(tar.arg("xOf").arg(shipped).arg("classes.tsv"));
    let run = |templates: &Path, names: &Path| {
        let mut command = radio_eval(home.path());
        command
            .args(["imagenet", "--task", "zero-shot", "--model", "mini-clip"])
            .args(["--data", "imagenet-mini", "--limit", "20", "--json"])
            .arg("--templates")
            .arg(templates)
            .arg("--classnames")
            .arg(names)
            .arg("--out")
            .arg(home.path().join("out"));
        let records: serde_json::Value = serde_json::from_str(&stdout(&mut command)).unwrap();
        records[0]["metrics"].clone()
    };
    let plain = run(
        &write("t.txt", templates.as_bytes()),
        &write("c.tsv", names.as_bytes()),
    );
    for (t, c) in encodings(templates).iter().zip(&encodings(&names)) {
        assert_eq!(run(&write("t.txt", t), &write("c.tsv", c)), plain);
    }
    let wide: Vec<u8> = templates
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let mut command = radio_eval(home.path());
    command
        .args(["imagenet", "--task", "zero-shot", "--model", "mini-clip"])
        .args(["--data", "imagenet-mini", "--templates"])
        .arg(write("t.txt", &wide))
        .arg("--out")
        .arg(home.path().join("out"));
    let told = fails(&mut command, 1);
    assert!(
        told.contains("UTF-16 without a byte order mark; save it as UTF-8"),
        "{told}"
    );
}
