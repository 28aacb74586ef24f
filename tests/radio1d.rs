//! RADIO1D against upstream's tensors (spec/radio1d.md §9: 1e-5 * max(1, largest)).

use crate::common::{fails, fixture, radio_eval, shared, stdout};
use radio_eval::models::radio1d::{CodeOptions, Neck, Radio1d};
use radio_eval::models::{BuildOptions, Features, Indices, IntermediateRequest, Request, backbone};
use radio_eval::weights::{Checkpoint, WeightSource, safetensors};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};

const TOLERANCE: f64 = 1e-5;

fn load(folder: &Path, tokens: Option<i64>, neck: Neck) -> Radio1d {
    let options = BuildOptions {
        radio1d: CodeOptions {
            tokens,
            neck: Some(neck),
        },
        ..BuildOptions::default()
    };
    let checkpoint = Checkpoint::open(folder).expect("opens");
    Radio1d::load(&checkpoint, &options).expect("loads")
}

#[track_caller]
fn assert_equal(name: &str, ours: &Tensor, theirs: &Tensor) {
    assert_eq!(ours.size(), theirs.size(), "{name}");
    let largest = theirs.abs().max().double_value(&[]).max(1.0);
    let worst = (ours.to_kind(Kind::Double) - theirs.to_kind(Kind::Double))
        .abs()
        .max()
        .double_value(&[]);
    assert!(worst <= TOLERANCE * largest, "{name}: differs by {worst:e}");
}

/// Every number of tokens and both necks of every `io_*` file; returns the outputs compared.
fn check(folder: &Path) -> usize {
    let mut files: Vec<PathBuf> = (std::fs::read_dir(folder).expect("folder"))
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.to_string_lossy().contains("io_"))
        .collect();
    files.sort();
    let mut compared = 0;
    for file in &files {
        let (stored, _) = safetensors::open(file).expect("golden opens");
        let read = |name: &str| stored.get(name).map(|t| t.read_stored().expect("reads"));
        let input = read("input").expect("an input");
        for tag in ["n1", "n4", "n16", "n64", "all"] {
            let tokens = tag.strip_prefix('n').and_then(|n| n.parse().ok());
            let mut compare = |name: String, ours: &Tensor| {
                if let Some(theirs) = read(&name) {
                    assert_equal(&format!("{} {name}", file.display()), ours, &theirs);
                    compared += 1;
                }
            };
            for neck in [Neck::Encoder, Neck::Decoder] {
                let model = load(folder, tokens, neck);
                let names = radio_eval::models::Backbone::info(&model).adaptors.clone();
                let features: Features =
                    backbone::run(&model, &input, &Request::adaptors(names)).expect("runs");
                let name = neck.name();
                compare(format!("{tag}.{name}.summary"), &features.summary);
                compare(format!("{tag}.{name}.features"), &features.spatial);
                for (adaptor, made) in &features.adaptors {
                    compare(format!("{tag}.{adaptor}.summary"), &made.summary);
                    let (spatial, _) = made.spatial.as_ref().expect("a feature head");
                    compare(format!("{tag}.{adaptor}.features"), spatial);
                }
            }
            // Blocks, with their own grids and widths.
            if tag == "n4" && read("trace.n4.block.0").is_some() {
                let model = load(folder, tokens, Neck::Encoder);
                let p = model.shape().prefix_tokens;
                let depth = model.shape().encoder.len();
                let blocks = Indices::Blocks((0..depth as i64).collect());
                let request = Request::intermediates(IntermediateRequest::new(blocks));
                let features = backbone::run(&model, &input, &request).expect("runs");
                assert_eq!(features.intermediates.len(), depth);
                for one in &features.intermediates {
                    let name = format!("trace.n4.block.{}", one.block);
                    let theirs = read(&name).expect("a trace of every block");
                    let patches = theirs.narrow(1, p, theirs.size()[1] - p);
                    assert_eq!(one.grid.0 * one.grid.1, patches.size()[1], "{name}");
                    assert_equal(&name, &one.spatial, &patches);
                }
            }
            // radio-eval's own vector: the mean of the code's tokens.
            let model = load(folder, tokens, Neck::Tokens);
            let features = backbone::run(&model, &input, &Request::default()).expect("runs");
            if let Some(code) = read(&format!("{tag}.encoder.features")) {
                let mean = code.mean_dim(1, false, None::<Kind>);
                assert_equal(tag, &features.summary, &mean);
            }
        }
    }
    compared
}

#[test]
fn two_levels_and_an_odd_grid() {
    assert!(check(&fixture("radio1d/two_levels")) >= 16);
}

#[test]
fn every_golden() {
    let Some(folder) = shared("golden/radio1d") else {
        return;
    };
    for case in ["plain", "progressive", "two_levels", "dynamic_rate"] {
        let compared = check(&folder.join(case));
        assert!(compared >= 16, "{case}: only {compared} outputs compared");
    }
}

/// Files are read strictly: a leading underscore is no licence.
#[test]
fn unknown_tensors_are_refused() {
    let file = Checkpoint::open(&fixture("radio1d/two_levels")).unwrap();
    let with = |name: &str| {
        let mut tensors = file.tensors().unwrap().clone();
        let one = tensors.values().next().unwrap().clone();
        tensors.insert(name.into(), one);
        let file = Checkpoint {
            source: WeightSource::File(tensors),
            ..file.clone()
        };
        Radio1d::load(&file, &BuildOptions::default()).map(drop)
    };
    with("radio_model.model._iter_count").unwrap();
    for name in ["_momentum.weight", "radio_model.model.decoder.extra.weight"] {
        let refused = with(name).unwrap_err().to_string();
        assert!(refused.contains(&format!("`{name}`: unexpected")), "{refused}");
    }
}

/// kNN by the mean of the code, at three lengths: a record each, and a plot of them.
#[test]
fn code_lengths_are_swept() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    let knn = |more: &[&str]| {
        let mut command = radio_eval(home.path());
        command
            .args([
                "imagenet",
                "--data",
                "imagenet-mini",
                "--resolution",
                "64",
                "--limit",
                "40",
            ])
            .args([
                "--train-limit",
                "2",
                "--k",
                "1",
                "--batch-size",
                "8",
                "--json",
                "--model",
            ])
            .arg(fixture("radio1d/two_levels"))
            .arg("--out")
            .arg(&out)
            .args(more);
        command
    };
    let told = stdout(&mut knn(&["--tokens", "1,4,900", "--neck", "tokens"]));
    let records: Vec<Value> = serde_json::from_str(&told).unwrap();
    let code = |record: &Value| record["options"]["code_tokens"].as_i64().unwrap();
    // 64 px in patches of 4 and two mergings: 16 tokens at most.
    assert_eq!(records.iter().map(code).collect::<Vec<_>>(), [1, 4, 16]);
    let asked = |record: &Value| record["model"]["settings"]["tokens"].as_i64().unwrap();
    assert_eq!(records.iter().map(asked).collect::<Vec<_>>(), [1, 4, 900]);
    let plot = std::fs::read_to_string(out.join("knn_top1-tokens.svg")).unwrap();
    assert!(plot.contains("tokens"), "{plot}");

    let told = fails(&mut knn(&["--neck", "middle"]), 2);
    assert!(told.contains("decoder, encoder, tokens"), "{told}");
    let mut other = radio_eval(home.path());
    other.args([
        "imagenet",
        "--data",
        "imagenet-mini",
        "--model",
        "mini-dino",
        "--tokens",
        "4",
    ]);
    let told = fails(other.arg("--out").arg(&out), 2);
    assert!(told.contains("--tokens does nothing"), "{told}");
}

/// Without a place in the picture, tokens are no map for a linear probe.
#[test]
fn a_code_is_no_map() {
    let home = tempfile::tempdir().unwrap();
    let mut probe = radio_eval(home.path());
    probe
        .args([
            "ade20k", "--data", "ade-mini", "--preset", "mini", "--neck", "encoder",
        ])
        .args([
            "--resolution",
            "64",
            "--iterations",
            "2",
            "--skip-check",
            "--model",
        ])
        .arg(fixture("radio1d/two_levels"))
        .arg("--out")
        .arg(home.path().join("out"));
    let told = fails(&mut probe, 2);
    assert!(told.contains("use --neck decoder"), "{told}");
}
