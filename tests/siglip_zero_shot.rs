//! Zero-shot with SigLIP from a folder, its own tokenizer included, against open_clip's code.

use crate::common::{fixture, predictions, stdout, zero_shot};
use radio_eval::weights::{Checkpoint, safetensors};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;

/// Both towers of golden/teachers/siglip_so400m_like, which the fixtures keep apart.
fn write_model(folder: &Path) {
    std::fs::create_dir(folder).unwrap();
    let mut tensors = Vec::new();
    for side in ["teachers", "text"] {
        let half = fixture(&format!("{side}/siglip_so400m_like/openclip.safetensors"));
        let half = Checkpoint::open(&half).unwrap();
        for (name, tensor) in half.tensors().unwrap() {
            if !tensors.iter().any(|(known, _)| known == name) {
                tensors.push((name.clone(), tensor.read_stored().unwrap()));
            }
        }
    }
    let weights = folder.join("open_clip_model.safetensors");
    let pairs = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
    safetensors::write(&weights, pairs, HashMap::new()).unwrap();
    for (from, to) in [
        (
            "teachers/siglip_so400m_like/openclip_config.json",
            "open_clip_config.json",
        ),
        ("text/siglip_zero_shot/tokenizer.json", "tokenizer.json"),
    ] {
        std::fs::copy(fixture(from), folder.join(to)).unwrap();
    }
}

/// scripts/make-siglip-zero-shot-fixture.py
#[test]
fn predictions_equal_open_clips() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    write_model(&at("tiny-siglip"));
    let told = stdout(
        zero_shot(home.path())
            .arg("--model")
            .arg(at("tiny-siglip"))
            .args(["--data", "imagenet-mini"]),
    );
    let records: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(records[0]["model"]["adaptor"], "siglip");
    assert_eq!(records[0]["metrics"]["zero_shot_top1"]["n"], 500);

    let expected = std::fs::read(fixture("text/siglip_zero_shot/expected.json")).unwrap();
    let expected: Value = serde_json::from_slice(&expected).unwrap();
    let undecided = expected["undecided"].as_array().unwrap();
    assert!(undecided.len() < 5);
    let found = predictions(&at("predictions.csv"));
    assert_eq!(found.len(), 500);
    for (image, class) in found {
        if !undecided.iter().any(|name| *name == image.as_str()) {
            assert_eq!(expected["predictions"][&image], class, "{image}");
        }
    }
}
