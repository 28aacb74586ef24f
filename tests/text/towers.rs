//! Text towers in both layouts against the goldens (tolerance 1e-5 * max(1, |max|)).

use crate::common::{fixture, shared};
use radio_eval::models::BuildOptions;
use radio_eval::models::text::{self, TextTower};
use radio_eval::weights::{Checkpoint, LazyTensor, WeightSource};
use serde_json::Value;
use std::path::Path;
use tch::{Device, Kind, Tensor};

const CASES: [&str; 3] = ["clip_quickgelu", "siglip_so400m_like", "siglip2_gopt_like"];
/// (weights, config) of the two layouts
const LAYOUTS: [(&str, &str); 2] = [
    ("openclip.safetensors", "openclip_config.json"),
    ("hf/model.safetensors", "hf/config.json"),
];

fn open(weights: &Path, config: &Path) -> Checkpoint {
    let config = std::fs::read_to_string(config).unwrap();
    Checkpoint {
        config: serde_json::from_str(&config).unwrap(),
        ..Checkpoint::open(weights).unwrap()
    }
}

fn load(checkpoint: &Checkpoint) -> Box<dyn TextTower> {
    text::load(checkpoint, &BuildOptions::default()).unwrap()
}

fn read(io: &Checkpoint, name: &str) -> Tensor {
    let tensors = io.tensors().unwrap();
    tensors[name].read_stored().unwrap()
}

#[track_caller]
fn assert_close(found: &Tensor, expected: &Tensor, what: &str) {
    assert_eq!(found.size(), expected.size(), "{what}");
    let scale = expected.abs().max().double_value(&[]).max(1.0);
    let difference = (found - expected).abs().max().double_value(&[]);
    assert!(difference <= 1e-5 * scale, "{what}: {difference}");
}

fn check(folder: &Path, case: &str) {
    let io = Checkpoint::open(&folder.join("io.safetensors")).unwrap();
    for (weights, config) in LAYOUTS {
        let what = format!("{case} {weights}");
        let checkpoint = open(&folder.join(weights), &folder.join(config));
        let tower = load(&checkpoint);
        let found = tower.encode(&read(&io, "text_ids")).unwrap();
        // transformers runs SigLIP SO400M with another GELU (spec/teachers.md §0.5).
        let expected = match io.has("hf_tanh.text_pooler_output") && weights.starts_with("hf") {
            true => "hf_tanh.text_pooler_output",
            false => "text_features",
        };
        assert_close(&found, &read(&io, expected), &what);
        if io.has("text_ids_pad_eot") {
            // Padding with the end token changes nothing: the first one is taken.
            let padded = tower.encode(&read(&io, "text_ids_pad_eot")).unwrap();
            assert_close(&padded, &found, &what);
        }
        if weights.starts_with("openclip") {
            let tower = load(&with_small_embeddings(&checkpoint));
            let found = tower.encode(&read(&io, "text_ids")).unwrap();
            let expected = read(&io, "eps_probe.text_features");
            assert_close(&found, &expected, &format!("{what}, eps probe"));
        }
    }
}

/// The tables times 0.003, so that the eps of the norms shows.
fn with_small_embeddings(checkpoint: &Checkpoint) -> Checkpoint {
    let mut tensors = checkpoint.tensors().unwrap().clone();
    for (name, tensor) in &mut tensors {
        if name.ends_with("token_embedding.weight") || name.ends_with("positional_embedding") {
            let stored = tensor.clone();
            *tensor = LazyTensor::computed(stored.shape.clone(), Kind::Float, move || {
                Ok(stored.read(Device::Cpu, Kind::Float)? * 0.003)
            });
        }
    }
    Checkpoint {
        source: WeightSource::File(tensors),
        ..checkpoint.clone()
    }
}

#[test]
fn trimmed_goldens() {
    for case in CASES {
        check(&fixture(&format!("text/{case}")), case);
    }
}

#[test]
fn full_goldens() {
    for case in CASES {
        let Some(folder) = shared(&format!("golden/teachers/{case}")) else {
            return;
        };
        check(&folder, case);
    }
}

/// golden/misc/clip_text_tiny with its real vocabulary; its outputs are open_clip's, made anew.
#[test]
fn clip_with_its_whole_vocabulary() {
    let Some(path) = shared("golden/misc/clip_text_tiny.safetensors") else {
        return;
    };
    let golden = Checkpoint::open(&path).unwrap();
    let weights = Checkpoint {
        config: serde_json::json!({"model_cfg": {"text_cfg": {"heads": 4}}}),
        ..golden.clone()
    };
    let fixed = Checkpoint::open(&fixture("text/clip_text_tiny_fixed.safetensors")).unwrap();
    let tower = load(&weights);
    let found = tower.encode(&read(&golden, "tokens")).unwrap();
    assert_close(&found, &read(&fixed, "text_raw"), "clip_text_tiny");
}

#[test]
fn siglip_from_bare_tensors() {
    let Some(path) = shared("golden/misc/siglip_text_tiny.safetensors") else {
        return;
    };
    let golden = Checkpoint::open(&path).unwrap();
    let weights = Checkpoint {
        config: serde_json::json!({"model_cfg": {"text_cfg": {"heads": 4}}}),
        ..golden.clone()
    };
    let tower = load(&weights);
    let found = tower.encode(&read(&golden, "tokens")).unwrap();
    assert_close(&found, &read(&golden, "text_raw"), "siglip_text_tiny");
}

/// x·σ(1.702x) by open_clip's tag, whatever the config says (spec/teachers.md §0.1).
#[test]
fn the_tag_decides_the_activation() {
    let folder = fixture("text/clip_quickgelu");
    let io = Checkpoint::open(&folder.join("io.safetensors")).unwrap();
    let mut checkpoint = Checkpoint::open(&folder.join("openclip.safetensors")).unwrap();
    checkpoint.config = serde_json::json!({"model_cfg": {"text_cfg": {"heads": 3}}});
    let difference = |tag: Option<&str>| {
        let options = BuildOptions {
            zoo_hints: tag.map_or(Value::Null, |tag| serde_json::json!({"pretrained": tag})),
            ..BuildOptions::default()
        };
        let tower = text::load(&checkpoint, &options).unwrap();
        let found = tower.encode(&read(&io, "text_ids")).unwrap();
        let expected = read(&io, "text_features");
        (found - expected).abs().max().double_value(&[])
    };
    for tag in ["openai", "metaclip_fullcc", "dfn5b"] {
        assert!(difference(Some(tag)) < 1e-5, "{tag}");
    }
    assert!(difference(Some("laion2b_s32b_b79k")) > 1e-3);
    assert!(difference(None) > 1e-3);
}

#[test]
fn errors_name_the_users_tensors() {
    let folder = fixture("text/clip_quickgelu");
    let (weights, config) = LAYOUTS[1];
    let checkpoint = open(&folder.join(weights), &folder.join(config));
    let fails = |checkpoint: &Checkpoint| {
        let error = text::load(checkpoint, &BuildOptions::default());
        error.err().unwrap().to_string()
    };
    let norm = "text_model.encoder.layers.1.layer_norm2.weight";
    let error = fails(&checkpoint.renamed(|k| (k != norm).then(|| k.to_string())));
    assert!(error.contains(norm) && error.contains("missing"), "{error}");
    let error = fails(&checkpoint.renamed(|k| Some(k.replace("text_model", "vision_model"))));
    assert!(error.contains("holds no text tower"), "{error}");
}
