//! CLIP's tokens of odd prompts, equal to open_clip 3.3.0 with ftfy 6.3.1.

use crate::common::{fixture, shared, skipped};
use radio_eval::models::text::{Clean, ClipTokenizer, HuggingFaceTokenizer};
use radio_eval::weights::Checkpoint;
use std::path::{Path, PathBuf};
use tch::{Device, Kind};

/// Number of prompts of a file of `make_prompts.py`, and those whose ids differ.
fn differing(path: &Path) -> (usize, Vec<String>) {
    let tokenizer = ClipTokenizer::new(77).unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    let mut different = Vec::new();
    for line in text.lines() {
        let (prompt, mut expected): (String, Vec<i64>) = serde_json::from_str(line).unwrap();
        expected.resize(77, 0);
        let ids = tokenizer.row(&prompt).unwrap();
        if ids != expected {
            different.push(format!("{prompt:?}: {ids:?}, not {expected:?}"));
        }
    }
    (text.lines().count(), different)
}

#[test]
fn odd_prompts() {
    let (count, different) = differing(&fixture("text/prompts.jsonl"));
    assert_eq!(count, 1500);
    assert!(
        different.is_empty(),
        "{} of {count} differ:\n{}",
        different.len(),
        different.join("\n")
    );
}

/// open_clip's `HFTokenizer`, on word pieces (CLIPA's kind, its separator 0) and on byte pairs;
/// whatever the file itself says about filling and cutting.
#[test]
fn tokenizers_of_the_hugging_face_kind() {
    const CONTEXT: usize = 24;
    for (name, clean, strip_sep) in [
        ("hf_bert", Clean::Whitespace, true),
        ("hf_roberta", Clean::Canonicalize, false),
    ] {
        let folder = fixture("text").join(name);
        let file = folder.join("tokenizer.json");
        let tokenizer = HuggingFaceTokenizer::open(&file, CONTEXT, clean, strip_sep, "").unwrap();
        let rows = std::fs::read_to_string(folder.join("rows.jsonl")).unwrap();
        assert_eq!(rows.lines().count(), 253);
        for line in rows.lines() {
            let (prompt, expected): (String, Vec<i64>) = serde_json::from_str(line).unwrap();
            assert_eq!(
                tokenizer.row(&prompt).unwrap(),
                expected,
                "{name}: {prompt:?}"
            );
        }
    }
}

/// `make_prompts.py 60000 2 assigned > FILE; RADIO_EVAL_PROMPTS=FILE cargo test`
#[test]
fn any_number_of_odd_prompts() {
    let Some(path) = std::env::var_os("RADIO_EVAL_PROMPTS").map(PathBuf::from) else {
        return skipped("RADIO_EVAL_PROMPTS names no file of make_prompts.py");
    };
    let (count, different) = differing(&path);
    assert!(
        different.is_empty(),
        "{} of {count} differ:\n{}",
        different.len(),
        different[..different.len().min(20)].join("\n")
    );
}

/// The recorded prompts of golden/misc, one of them cut at 77.
#[test]
fn recorded_prompts() {
    let Some(path) = shared("golden/misc/clip_text_tiny.safetensors") else {
        return;
    };
    let golden = Checkpoint::open(&path).unwrap();
    let expected = golden.tensors().unwrap()["tokens"]
        .read(Device::Cpu, Kind::Int64)
        .unwrap();
    let very = "very ".repeat(120);
    let prompts = [
        "a photo of a tench.",
        "itap of a great white shark.",
        "a DSLR picture: naïve café & 3 dogs!",
        "",
        &format!("an origami T-shirt {very}"),
    ];
    let tokenizer = ClipTokenizer::new(77).unwrap();
    for (i, prompt) in prompts.iter().enumerate() {
        let row: Vec<i64> = expected.get(i as i64).try_into().unwrap();
        assert_eq!(tokenizer.row(prompt).unwrap(), row, "{prompt}");
    }
}
