//! E-RADIO against the official code's outputs, and against a restatement for the options that
//! no released model uses.

use crate::common::{fixture, shared};
use radio_eval::models::eradio::{Config, Network};
use radio_eval::models::{BuildOptions, Request, Window, architecture, backbone, eradio, zoo};
use radio_eval::weights::{
    Checkpoint, LazyTensor, ParamStore, StateDict, WeightSource, safetensors,
};
use serde_json::Value;
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// Tolerance of spec radio.md §10 for the goldens.
const TOLERANCE: f64 = 1e-4;

fn open(path: &Path) -> Checkpoint {
    let mut checkpoint = Checkpoint::open(path).unwrap();
    if checkpoint.config.is_null() {
        let (_, metadata) = safetensors::open(path).unwrap();
        checkpoint.config = serde_json::from_str(&metadata["config"]).unwrap();
    }
    checkpoint
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    (a.to_kind(Kind::Double) - b.to_kind(Kind::Double))
        .abs()
        .max()
        .double_value(&[])
}

/// Compares every stage that `io` has with what the network makes of `io`'s input.
/// Returns how many tensors were compared and the largest difference.
#[track_caller]
fn compare(weights: &Path, io: &Path, window: Option<i64>) -> (usize, f64) {
    let checkpoint = open(weights);
    let config = Config::find(&checkpoint.config).unwrap().unwrap();
    let store = ParamStore::new(&checkpoint, Device::Cpu, Kind::Float);
    let network = Network::new(&store.root(), &config).unwrap();
    let (golden, _) = safetensors::open(io).unwrap();
    let golden = |name: &str| golden.get(name).map(|t| t.read_stored().unwrap());
    let (mut compared, mut worst) = (0, 0f64);
    let mut check = |name: &str, value: &Tensor, wanted: &Tensor| {
        let difference = largest_difference(value, wanted);
        assert!(
            difference <= TOLERANCE,
            "{}: {name} differs by {difference:e}",
            io.display()
        );
        compared += 1;
        worst = worst.max(difference);
    };
    let input = golden("input").unwrap();
    let map = tch::no_grad(|| {
        network.forward(&input, window, &mut |_, _| (), &mut |name, value| {
            if let Some(wanted) = golden(&name.to_string()) {
                check(&name.to_string(), value, &wanted);
            }
        })
    });
    let (b, h, w, c) = map.size4().unwrap();
    let tokens = map.view([b, h * w, c]);
    check("features_nlc", &tokens, &golden("features_nlc").unwrap());
    let summary = tokens.mean_dim([1i64].as_slice(), false, Kind::Float);
    check("summary", &summary, &golden("summary").unwrap());
    (compared, worst)
}

#[test]
fn trimmed_official_golden() {
    let (compared, worst) = compare(
        &fixture("eradio/tiny_8x.weights.safetensors"),
        &fixture("eradio/tiny_8x.64x64.safetensors"),
        None,
    );
    assert_eq!(compared, 5);
    assert!(worst < TOLERANCE);
}

#[test]
fn official_goldens_at_every_stage() {
    let Some(folder) = shared("golden/eradio") else {
        return;
    };
    for (variant, weights, window, stages) in [
        ("tiny_8x.64x64", "tiny_8x", None, 16),
        ("tiny_8x.96x160", "tiny_8x", None, 16),
        ("tiny_8x.128x128", "tiny_8x", None, 16),
        ("tiny_official.64x64", "tiny_official", None, 16),
        ("tiny_official.96x160", "tiny_official", None, 16),
        ("tiny_official.128x128", "tiny_official", None, 16),
        ("tiny_official_win.64x64.win2", "tiny_official", Some(2), 11),
        ("tiny_official_win.96x96.win3", "tiny_official", Some(3), 11),
        (
            "tiny_official_win.128x128.win4",
            "tiny_official",
            Some(4),
            11,
        ),
    ] {
        let (compared, worst) = compare(
            &folder.join(format!("{weights}.weights.safetensors")),
            &folder.join(format!("{variant}.safetensors")),
            window,
        );
        println!("{variant}: {compared} tensors, largest difference {worst:.2e}");
        assert_eq!(compared, stages, "{variant}");
    }
}

/// The options of the constructor, each in a small network of its own; values from
/// `scripts/make-eradio-fixtures.py`.
#[test]
fn every_option() {
    for name in ["convolutions", "attention", "shift"] {
        let file = fixture(&format!("eradio/{name}.safetensors"));
        let (compared, _) = compare(&file, &file, None);
        assert_eq!(compared, 2, "{name}");
    }
}

/// The builder asks for exactly the tensors of the released size (strict both ways), which are
/// 389.6M parameters.
#[test]
fn key_list_of_the_released_size() {
    let Some(list) = shared("golden/eradio/eradio_full.keys.txt") else {
        return;
    };
    let text = std::fs::read_to_string(list).unwrap();
    let tensors: StateDict = text
        .lines()
        .map(|line| {
            let mut fields = line.split('\t');
            let (key, shape) = (fields.next().unwrap(), fields.next().unwrap());
            let shape: Vec<i64> = shape
                .trim_matches(['(', ')'])
                .split(',')
                .filter_map(|n| n.trim().parse().ok())
                .collect();
            let sizes = shape.clone();
            let zeros =
                move || Ok(Tensor::ones([1], (Kind::Float, Device::Cpu)).expand(&sizes, false));
            (
                key.to_string(),
                LazyTensor::computed(shape, Kind::Float, zeros),
            )
        })
        .collect();
    assert_eq!(tensors.len(), 434);
    let entry = zoo::find("e-radio").unwrap();
    let checkpoint = Checkpoint {
        source: WeightSource::File(tensors),
        ..Checkpoint::random((entry.config)(), 0)
    };
    let options = BuildOptions {
        kind: Some(Kind::BFloat16),
        ..BuildOptions::default()
    };
    let model = architecture::build(&checkpoint, &options).unwrap();
    assert_eq!(model.info().parameters, entry.parameters.unwrap());
    assert_eq!(
        (model.info().parameters as f64 / 1e5).round(),
        3896.0,
        "spec radio.md §3.1"
    );
}

/// Parameter counts of spec radio.md §3.1, which include the last norm and a 1000-way head.
#[test]
fn parameters_of_the_small_variants() {
    for (name, millions) in [
        ("eradio_xxxtiny", 10.513),
        ("eradio_xxxtiny_8x_ws12", 6.516),
        ("eradio_xxxtiny_8x_ws16", 6.533),
    ] {
        let model = random(name, Window::Trained);
        let with_head = model.info().parameters + 2 * 256 + 256 * 1000 + 1000;
        assert!(
            (with_head as f64 / 1e6 - millions).abs() < 6e-4,
            "{name}: {with_head}"
        );
        assert_eq!(
            zoo::find(name).unwrap().parameters,
            Some(model.info().parameters)
        );
    }
}

fn random(name: &str, window: Window) -> Box<dyn backbone::Backbone> {
    let entry = zoo::find(name).unwrap();
    let options = BuildOptions {
        eradio: eradio::Options {
            window: Some(window),
        },
        ..BuildOptions::default()
    };
    architecture::build(&Checkpoint::random((entry.config)(), 1), &options).unwrap()
}

#[test]
fn optimal_window_follows_the_resolution() {
    let optimal = random("eradio_xxxtiny", Window::Optimal);
    for (size, window) in [(64, 2), (96, 3), (128, 4)] {
        let x = Tensor::rand([1, 3, size, size], (Kind::Float, Device::Cpu));
        let fixed = random("eradio_xxxtiny", Window::Size(window));
        let spatial = |model: &dyn backbone::Backbone| {
            backbone::run(model, &x, &Request::default())
                .unwrap()
                .spatial
        };
        assert_eq!(
            largest_difference(&spatial(&*optimal), &spatial(&*fixed)),
            0.0
        );
    }
    assert_eq!(optimal.info().settings["window"], Value::from("optimal"));
    assert_eq!(
        random("eradio_xxxtiny", Window::Trained).info().settings["window_tokens"],
        Value::from(16)
    );
}

#[test]
fn sizes_off_the_step_are_refused_with_the_nearest_good_one() {
    let model = random("eradio_xxxtiny", Window::Trained);
    let x = Tensor::zeros([1, 3, 80, 64], (Kind::Float, Device::Cpu));
    let error = backbone::run(&*model, &x, &Request::default())
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("80x64") && error.contains("64x64"),
        "{error}"
    );
}

/// bf16 keeps the direction of the features (issue: cosine >= 0.999).
#[test]
fn bf16_stays_close() {
    let weights = fixture("eradio/tiny_8x.weights.safetensors");
    let (io, _) = safetensors::open(&fixture("eradio/tiny_8x.64x64.safetensors")).unwrap();
    let options = BuildOptions {
        kind: Some(Kind::BFloat16),
        ..BuildOptions::default()
    };
    let model = architecture::build(&open(&weights), &options).unwrap();
    let input = io["input"].read_stored().unwrap();
    let features = backbone::run(&*model, &input, &Request::default()).unwrap();
    let wanted = io["features_nlc"].read_stored().unwrap();
    let cosine = Tensor::cosine_similarity(
        &features.spatial.to_kind(Kind::Float).flatten(0, -1),
        &wanted.flatten(0, -1),
        0,
        1e-8,
    )
    .double_value(&[]);
    assert!(cosine >= 0.999, "{cosine}");
}

#[test]
fn a_missing_or_foreign_tensor_is_named() {
    let weights = fixture("eradio/tiny_8x.weights.safetensors");
    let full = open(&weights);
    let build = |checkpoint: &Checkpoint| {
        architecture::build(checkpoint, &BuildOptions::default())
            .err()
            .unwrap()
            .to_string()
    };
    let lost = full.renamed(|key| {
        (key != "levels.3.blocks.0.attention_blocks.0.norm1.bias").then(|| key.into())
    });
    let error = build(&lost);
    assert!(
        error.contains("`levels.3.blocks.0.attention_blocks.0.norm1.bias`: missing"),
        "{error}"
    );
    let extra = full.renamed(|key| {
        Some(if key == "levels.0.blocks.cv1.bn.num_batches_tracked" {
            "levels.0.extra".into()
        } else {
            key.to_string()
        })
    });
    let error = build(&extra);
    assert!(error.contains("`levels.0.extra`: unexpected"), "{error}");
}

/// A checkpoint as upstream publishes it: prefixed network, conditioner, heads by number.
#[test]
fn a_hub_checkpoint_with_heads() {
    let bare = open(&fixture("eradio/tiny_8x.weights.safetensors"));
    let mut tensors: StateDict = bare
        .tensors()
        .unwrap()
        .iter()
        .map(|(name, tensor)| (format!("base_model.{name}"), tensor.clone()))
        .collect();
    let mut insert = |name: String, shape: &[i64]| {
        let sizes = shape.to_vec();
        let lazy = LazyTensor::computed(shape.to_vec(), Kind::Float, move || Ok(wave(&sizes)));
        tensors.insert(name, lazy);
    };
    insert("input_conditioner.norm_mean".into(), &[3, 1, 1]);
    insert("input_conditioner.norm_std".into(), &[3, 1, 1]);
    for (head, output) in [("_heads.1", 5), ("_feature_projections.1", 4 * 6)] {
        for (layer, out, input) in [("fc1", 8, 32), ("final.2", output, 8)] {
            insert(format!("{head}.{layer}.weight"), &[out, input]);
            insert(format!("{head}.{layer}.bias"), &[out]);
        }
        insert(format!("{head}.final.0.weight"), &[8]);
        insert(format!("{head}.final.0.bias"), &[8]);
    }
    let mut config = serde_json::json!({
        "model": "eradio_xxxtiny_8x_ws16", "mlp_version": "v2",
        "teachers": [{"name": "clip"}, {"name": "sam", "fd_upsample_factor": 2}],
    });
    config["model_kwargs"] = bare.config.clone();
    let checkpoint = Checkpoint {
        source: WeightSource::File(tensors),
        config,
        ..bare
    };
    let model = architecture::build(&checkpoint, &BuildOptions::default()).unwrap();
    assert_eq!(model.info().adaptors, ["sam"]);
    let x = Tensor::rand([2, 3, 64, 64], (Kind::Float, Device::Cpu));
    let features = backbone::run(&*model, &x, &Request::adaptors(["sam"])).unwrap();
    let head = |x: &Tensor, output: i64| {
        let y = x.linear(&wave(&[8, 32]), Some(&wave(&[8])));
        let y = y.layer_norm([8], Some(&wave(&[8])), Some(&wave(&[8])), 1e-5, true);
        y.gelu("none")
            .linear(&wave(&[output, 8]), Some(&wave(&[output])))
    };
    let sam = &features.adaptors["sam"];
    assert!(largest_difference(&sam.summary, &head(&features.summary, 5)) < 1e-4);
    let (spatial, grid) = sam.spatial.as_ref().unwrap();
    assert_eq!((*grid, spatial.size()), ((16, 16), vec![2, 256, 6]));
    // Token (1, 0) of the enlarged grid is the third quarter of the first token's vector.
    let first = head(&features.spatial, 24).narrow(1, 0, 1).narrow(2, 12, 6);
    assert!(largest_difference(&spatial.narrow(1, 16, 1), &first) < 1e-4);

    // Errors name the file's own tensors.
    let lost = checkpoint
        .renamed(|key| (key != "base_model.levels.0.blocks.cv1.bn.bias").then(|| key.into()));
    let error = architecture::build(&lost, &BuildOptions::default());
    let error = error.err().unwrap().to_string();
    assert!(
        error.contains("`base_model.levels.0.blocks.cv1.bn.bias`: missing"),
        "{error}"
    );
}

/// E-RADIO's files are read strictly, but for heads of teachers that the args do not list.
#[test]
fn a_leading_underscore_is_no_licence() {
    let bare = open(&fixture("eradio/tiny_8x.weights.safetensors"));
    let with = |name: &str| {
        let mut tensors: StateDict = (bare.tensors().unwrap().iter())
            .map(|(name, tensor)| (format!("base_model.{name}"), tensor.clone()))
            .collect();
        let one = tensors.values().next().unwrap().clone();
        tensors.insert(name.into(), one);
        let checkpoint = Checkpoint {
            source: WeightSource::File(tensors),
            config: serde_json::json!({
                "model": "eradio_xxxtiny_8x_ws16",
                "teachers": [{"name": "clip"}],
                "model_kwargs": bare.config,
            }),
            ..bare.clone()
        };
        architecture::build(&checkpoint, &BuildOptions::default())
    };
    assert!(with("_heads.9.fc1.weight").is_ok());
    let refused = with("_decoder.norm.bias").err().unwrap().to_string();
    assert!(
        refused.contains("`_decoder.norm.bias`: unexpected"),
        "{refused}"
    );
}

/// A tensor of that shape with distinct values.
fn wave(shape: &[i64]) -> Tensor {
    let count: i64 = shape.iter().product();
    (Tensor::arange(count, (Kind::Float, Device::Cpu)) * 0.7 + 0.5)
        .sin()
        .view(shape)
}
