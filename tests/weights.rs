//! Every form of weight file gives the same tensors and the same config.

use crate::common::{fixture, shared};
use radio_eval::weights::Checkpoint;
use serde_json::{Value, json};
use std::path::Path;
use tch::{Device, Kind, Tensor};

fn open(path: &Path) -> Checkpoint {
    Checkpoint::open(path).unwrap_or_else(|e| panic!("{e}"))
}

fn file(name: &str) -> Checkpoint {
    open(&fixture("weights").join(name))
}

/// Bitwise equality: names, order-free; types, shapes and bytes.
#[track_caller]
fn assert_equal(left: &Checkpoint, right: &Checkpoint) {
    let (left, right) = (left.tensors().unwrap(), right.tensors().unwrap());
    let names = |t: &radio_eval::weights::StateDict| {
        let mut names: Vec<String> = t.keys().cloned().collect();
        names.sort();
        names
    };
    assert_eq!(names(left), names(right));
    for (name, tensor) in left {
        let (a, b) = (
            tensor.read_stored().unwrap(),
            right[name].read_stored().unwrap(),
        );
        assert_eq!((a.kind(), a.size()), (b.kind(), b.size()), "{name}");
        assert!(bytes(&a) == bytes(&b), "{name} differs");
    }
}

fn bytes(tensor: &Tensor) -> Vec<u8> {
    let numel = tensor.numel();
    let mut bytes = vec![0u8; numel * tensor.kind().elt_size_in_bytes()];
    tensor.copy_data_u8(&mut bytes, numel);
    bytes
}

fn expected_args() -> Value {
    json!({
        "model": "tiny",
        "dtype": "torch.bfloat16",
        "size": [2, 3],
        "device": "cuda:1",
        "path": "/data/x",
        "rate": 0.25,
        "steps": 7,
        "nan": "NaN",
        "nested": {"a": [1, [2, null]], "3": true},
        "colour": "<__main__.Colour>",
        "namespace": {"b": 1},
    })
}

#[test]
fn pickles_of_both_containers_equal_safetensors() {
    let expected = file("expected.safetensors");
    for name in ["zip.pth.tar", "legacy.pth.tar", "protocol4.pth"] {
        let checkpoint = file(name);
        assert_equal(&checkpoint, &expected);
        assert_eq!(checkpoint.config, expected_args(), "{name}");
        assert!(!checkpoint.ema);
    }
}

#[test]
fn published_checkpoints_equal_their_safetensors() {
    let Some(golden) = shared("golden/radio_vit") else {
        return;
    };
    for case in ["v25_like", "v21_bf16", "ema", "v1_like", "spectral"] {
        let folder = golden.join(case);
        let pickle = open(&folder.join("checkpoint.pth.tar"));
        let raw = open(&folder.join("checkpoint_raw.safetensors"));
        assert_equal(&pickle, &raw);
        assert_eq!(pickle.config, raw.config, "{case}");
        assert!(pickle.config["model"].is_string());
        assert_eq!(pickle.ema, case == "ema");
    }
}

#[test]
fn state_dicts_are_found_where_checkpoints_keep_them() {
    let ema = file("ema.pth");
    assert!(ema.ema);
    let w = ema.tensors().unwrap()["w"].read_stored().unwrap();
    assert_eq!(Vec::<f32>::try_from(w).unwrap(), [1.0, 1.0]);
    assert!(file("teacher.pth").has("backbone.w"));
    assert!(file("flat.bin").has("w"));
    assert_eq!(file("flat.bin").config, Value::Null);
}

#[test]
fn torchscript_is_recognised() {
    let script = file("script.pt");
    assert!(script.is_torchscript());
    assert!(script.tensors().is_none());
}

#[test]
fn pickled_calls_are_never_run() {
    let marker = Path::new("/tmp/radio-eval-was-run");
    let _ = std::fs::remove_file(marker);
    assert_eq!(file("evil_args.pth").config, json!({"x": "<posix.system>"}));
    let refused = error(&fixture("weights/evil_weight.pth"));
    assert!(refused.contains("posix.system"), "{refused}");
    assert!(!marker.exists());
}

#[track_caller]
fn error(path: &Path) -> String {
    match Checkpoint::open(path) {
        Err(e) => e.to_string(),
        Ok(_) => panic!("{} opens", path.display()),
    }
}

#[test]
fn other_pickles_say_what_they_are() {
    let module = error(&fixture("weights/module.pth"));
    assert!(
        module.contains("torch.nn.modules.linear.Linear"),
        "{module}"
    );
    let foreign = error(&fixture("weights/foreign.pkl"));
    assert!(
        foreign.contains("not one that torch.save wrote"),
        "{foreign}"
    );
}

#[test]
fn folders_bring_their_config() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let weights = fixture("weights/expected.safetensors");
    std::fs::copy(&weights, at("model.safetensors")).unwrap();
    std::fs::write(at("config.json"), r#"{"model_type": "x"}"#).unwrap();
    assert_eq!(open(folder.path()).config["model_type"], "x");

    // open_clip's files go together, also where transformers' lie beside them.
    std::fs::copy(&weights, at("open_clip_model.safetensors")).unwrap();
    std::fs::write(at("open_clip_config.json"), r#"{"model_cfg": {}}"#).unwrap();
    let clip = open(folder.path());
    assert!(clip.config["model_cfg"].is_object());
    assert_eq!(clip.files, [at("open_clip_model.safetensors")]);
    assert_eq!(open(&at("model.safetensors")).config["model_type"], "x");

    // A JSON named after the file comes first.
    std::fs::write(at("model.json"), r#"{"model_type": "y"}"#).unwrap();
    assert_eq!(open(&at("model.safetensors")).config["model_type"], "y");

    std::fs::write(at("model.json"), "[1, 2").unwrap();
    assert!(error(&at("model.safetensors")).contains("not valid JSON"));
}

#[test]
fn a_folder_with_one_file_is_that_file() {
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join("radio.pth.tar");
    std::fs::copy(fixture("weights/zip.pth.tar"), &first).unwrap();
    assert_eq!(open(folder.path()).files, [first]);
    std::fs::copy(fixture("weights/flat.bin"), folder.path().join("x.pt")).unwrap();
    let several = error(folder.path());
    assert!(several.contains("radio.pth.tar, x.pt"), "{several}");
    let none = tempfile::tempdir().unwrap();
    assert!(error(none.path()).contains("holds no weights"));
}

#[test]
fn shards_are_one_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let ones = Tensor::ones([2], (Kind::Float, Device::Cpu));
    Tensor::write_safetensors(&[("b", &ones)], at("model-00001-of-00002.safetensors")).unwrap();
    Tensor::write_safetensors(&[("a", &ones)], at("model-00002-of-00002.safetensors")).unwrap();
    let index = at("model.safetensors.index.json");
    let map = |a: &str, c: &str| {
        json!({"weight_map": {"a": a, "b": "model-00001-of-00002.safetensors", c: a}}).to_string()
    };
    let second = "model-00002-of-00002.safetensors";
    std::fs::write(&index, map(second, "a")).unwrap();
    let sharded = open(folder.path());
    assert!(sharded.has("a") && sharded.has("b"));
    assert_eq!(sharded.files.len(), 2);

    std::fs::write(&index, map(second, "c")).unwrap();
    assert!(error(folder.path()).contains("`c`: is in the index but in none of the shards"));
    std::fs::write(&index, map("../../etc/passwd", "a")).unwrap();
    assert!(error(folder.path()).contains("not the name of a file beside it"));
    std::fs::write(&index, map("gone.safetensors", "a")).unwrap();
    assert!(error(folder.path()).contains("gone.safetensors: this shard"));
}

#[test]
fn digests_are_those_of_sha256sum() {
    let path = fixture("weights/flat.bin");
    let output = std::process::Command::new("sha256sum")
        .arg(&path)
        .output()
        .unwrap();
    let sum = String::from_utf8(output.stdout).unwrap();
    let sum = sum.split_whitespace().next().unwrap().to_string();
    assert_eq!(open(&path).sha256().unwrap(), Some(sum));
    assert_eq!(Checkpoint::random(Value::Null, 1).sha256().unwrap(), None);
}
