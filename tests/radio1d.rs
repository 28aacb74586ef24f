//! RADIO1D against upstream's tensors (spec/radio1d.md §9: 1e-5 * max(1, largest)).

use crate::common::{fails, fixture, radio_eval, shared, stdout};
use radio_eval::models::radio1d::{CodeOptions, Neck, Radio1d};
use radio_eval::models::{
    Backbone, BuildOptions, Features, Indices, IntermediateRequest, Request, backbone, zoo,
};
use radio_eval::weights::{Checkpoint, StateDict, WeightSource, safetensors};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

const TOLERANCE: f64 = 1e-5;

fn load(folder: &Path, tokens: Option<i64>, neck: Neck) -> Radio1d {
    load_with(
        folder,
        CodeOptions {
            tokens,
            neck: Some(neck),
            last: false,
        },
    )
}

fn load_with(folder: &Path, radio1d: CodeOptions) -> Radio1d {
    let options = BuildOptions {
        radio1d,
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

/// One `io_*` file of a golden.
struct Golden {
    case: String,
    stored: StateDict,
}

impl Golden {
    fn open(file: &Path) -> Self {
        Golden {
            case: file.display().to_string(),
            stored: safetensors::open(file).expect("golden opens").0,
        }
    }

    fn read(&self, name: &str) -> Option<Tensor> {
        let tensor = self.stored.get(name);
        tensor.map(|t| t.read_stored().expect("reads"))
    }

    /// What a neck gives, against the whole sequence [B, P+n, C] that is stored as `name`; features
    /// behind those that are stored are zero.
    #[track_caller]
    fn compare_sequence(&self, name: &str, model: &Radio1d) {
        let theirs = self.read(name).expect("stored");
        let input = self.read("input").expect("an input");
        let ours = backbone::run(model, &input, &Request::default()).expect("runs");
        let (shape, count) = (model.shape(), theirs.size()[1]);
        let name = format!("{} {name}", self.case);
        let summary = theirs.index_select(1, &Tensor::from_slice(&shape.summary));
        assert_equal(&name, &ours.summary, &summary.flatten(1, 2));
        let patches = theirs.narrow(1, shape.prefix_tokens, count - shape.prefix_tokens);
        let stored = patches.size()[1];
        assert_equal(&name, &ours.spatial.narrow(1, 0, stored), &patches);
        let rest = ours.spatial.size()[1] - stored;
        let behind = ours.spatial.narrow(1, stored, rest).abs().sum(Kind::Double);
        assert_eq!(behind.double_value(&[]), 0.0, "{name}");
    }
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
        let golden = Golden::open(file);
        let read = |name: &str| golden.read(name);
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

/// The last four tokens instead of the first; behind a progressive reduction there are no others.
#[test]
fn the_last_tokens() {
    let Some(root) = shared("golden/radio1d") else {
        return;
    };
    for (folder, size) in [
        ("plain", "192x320"),
        ("plain", "80x112"),
        ("progressive", "40x56"),
    ] {
        let golden = Golden::open(&root.join(folder).join(format!("io_{size}.safetensors")));
        let folder = root.join(folder);
        for neck in [Neck::Encoder, Neck::Decoder] {
            let code = CodeOptions {
                tokens: Some(4),
                last: !folder.ends_with("progressive"),
                neck: Some(neck),
            };
            let name = format!("last4.{}", neck.name());
            golden.compare_sequence(&name, &load_with(&folder, code));
        }
    }
    let refused = Radio1d::load(
        &Checkpoint::open(&root.join("progressive")).unwrap(),
        &BuildOptions {
            radio1d: CodeOptions {
                last: true,
                ..CodeOptions::default()
            },
            ..BuildOptions::default()
        },
    );
    let refused = refused.map(drop).unwrap_err().to_string();
    assert!(refused.contains("--last-tokens does nothing"), "{refused}");
}

/// Asked for -16 tokens, the model chooses how many each picture gets (spec §5).
#[test]
fn dynamic_rate() {
    let Some(folder) = shared("golden/radio1d/dynamic_rate") else {
        return;
    };
    let golden = Golden::open(&folder.join("io_128x128.safetensors"));
    for neck in [Neck::Encoder, Neck::Decoder] {
        let model = load(&folder, Some(-16), neck);
        golden.compare_sequence(&format!("neg16.{}", neck.name()), &model);
        assert_eq!(model.code_length(128, 128), None);
    }
    // The mean is over each picture's own tokens.
    let p = load(&folder, None, Neck::Tokens).shape().prefix_tokens;
    let counts = golden.read("neg16.num_tokens").unwrap();
    let sequence = golden.read("neg16.encoder").unwrap();
    let code = sequence.narrow(1, p, sequence.size()[1] - p);
    let mean = code.sum_dim_intlist(1, false, None::<Kind>) / counts.view([-1, 1]);
    let input = golden.read("input").unwrap();
    let mut model = load(&folder, Some(4), Neck::Tokens);
    model.set_code_length(-16).unwrap();
    let ours = backbone::run(&model, &input, &Request::default()).unwrap();
    assert_equal("mean", &ours.summary, &mean);
    // One picture has as many as among others.
    let alone = backbone::run(&model, &input.narrow(0, 1, 1), &Request::default()).unwrap();
    assert_equal("alone", &alone.summary, &mean.narrow(0, 1, 1));

    let refused = load(&fixture("radio1d/two_levels"), Some(4), Neck::Encoder).set_code_length(-4);
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("this one has none in its args"),
        "{refused}"
    );
}

/// A loaded network gives codes of another length, as if it had been loaded for that.
#[test]
fn code_length_of_a_loaded_network() {
    let folder = fixture("radio1d/two_levels");
    tch::manual_seed(1);
    let x = Tensor::rand([2, 3, 32, 48], (Kind::Float, Device::Cpu));
    let summary = |model: &Radio1d| {
        backbone::run(model, &x, &Request::default())
            .unwrap()
            .summary
    };
    let mut model = load(&folder, None, Neck::Decoder);
    let all = summary(&model);
    model.set_code_length(2).unwrap();
    assert_eq!(
        summary(&model),
        summary(&load(&folder, Some(2), Neck::Decoder))
    );
    assert_ne!(summary(&model), all);
    assert_eq!(model.info().settings["tokens"], 2);
    assert_eq!(model.code_length(32, 48), Some(2));
    let mut other = radio_eval::models::architecture::build(
        &Checkpoint::random((zoo::find("mini-dino").unwrap().config)(), 1),
        &BuildOptions::default(),
    )
    .unwrap();
    let refused = other.set_code_length(2).unwrap_err().to_string();
    assert!(refused.contains("makes no code"), "{refused}");
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
        assert!(
            refused.contains(&format!("`{name}`: unexpected")),
            "{refused}"
        );
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

    // The network was loaded once.
    let load = |record: &Value| record["timings"]["stages"]["load"].as_f64();
    assert_eq!(load(&records[1]), Some(0.0), "{}", records[1]["timings"]);

    for (tokens, told) in [
        ("0", "1 to 65536 tokens"),
        ("-16,4", "this one has none in its args"),
        ("x", "1 to 65536 tokens"),
    ] {
        let text = fails(&mut knn(&["--tokens", tokens]), 2);
        assert!(text.contains(told), "{tokens}: {text}");
    }
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
