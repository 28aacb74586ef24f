//! Networks built for training: the same outputs as for inference, gradients for every parameter,
//! and files that load again.

use crate::common::{fixture, shared};
use crate::teachers;
use radio_eval::Result;
use radio_eval::models::architecture::build;
use radio_eval::models::normalise::CLIP;
use radio_eval::models::radio::{Draws, RadioVit};
use radio_eval::models::{Backbone, BuildOptions, Features, Purpose, Request, backbone, zoo};
use radio_eval::runtime::shim::Autocast;
use radio_eval::weights::spectral::SpectralWeight;
use radio_eval::weights::{
    Checkpoint, LazyTensor, ParamStore, Registry, WeightSource, safetensors,
};
use serde_json::json;
use std::collections::HashMap;
use std::path::Path;
use tch::{Device, Kind, Tensor};

const CPU: (Kind, Device) = (Kind::Float, Device::Cpu);

/// Numbers in [0,1) that look random and are the same in every run: tests share libtorch's generator.
fn noise(size: &[i64]) -> Tensor {
    let count: i64 = size.iter().product();
    let bits = Tensor::arange(count, (Kind::Int64, Device::Cpu)) * 2_654_435_761i64;
    let bits = bits.remainder(1_000_003).to_kind(Kind::Float);
    (bits / 1_000_003.0).view(size)
}

fn training(checkpoint: &Checkpoint) -> Result<Box<dyn Backbone>> {
    let options = BuildOptions {
        purpose: Purpose::Training,
        ..BuildOptions::default()
    };
    build(checkpoint, &options)
}

fn for_training(checkpoint: &Checkpoint) -> Box<dyn Backbone> {
    training(checkpoint).unwrap_or_else(|e| panic!("{e}"))
}

/// In fp32, as networks are trained, whatever the file is meant to run in.
fn for_inference(checkpoint: &Checkpoint) -> Box<dyn Backbone> {
    let options = BuildOptions {
        kind: Some(Kind::Float),
        ..BuildOptions::default()
    };
    build(checkpoint, &options).unwrap_or_else(|e| panic!("{e}"))
}

/// Everything a network gives, by name.
fn outputs(features: &Features) -> Vec<(String, Tensor)> {
    let mut all = vec![
        ("summary".to_string(), features.summary.shallow_clone()),
        ("spatial".to_string(), features.spatial.shallow_clone()),
    ];
    for (name, adaptor) in &features.adaptors {
        all.push((format!("{name}.summary"), adaptor.summary.shallow_clone()));
        if let Some((spatial, _)) = &adaptor.spatial {
            all.push((format!("{name}.spatial"), spatial.shallow_clone()));
        }
    }
    all
}

fn everything(network: &dyn Backbone, x: &Tensor) -> Vec<(String, Tensor)> {
    let request = Request::adaptors(&network.info().adaptors);
    outputs(&backbone::run(network, x, &request).unwrap_or_else(|e| panic!("{e}")))
}

/// The largest |a - b| / |a| over the outputs, norms taken over each.
#[track_caller]
fn apart(a: &[(String, Tensor)], b: &[(String, Tensor)]) -> f64 {
    assert_eq!(a.len(), b.len());
    let norm = |t: &Tensor| t.norm().double_value(&[]);
    let one = |((name, a), (other, b)): (&(String, Tensor), &(String, Tensor))| {
        assert_eq!((name, a.size()), (other, b.size()));
        let (a, b) = (a.to_kind(Kind::Double), b.to_kind(Kind::Double));
        norm(&(&a - b)) / norm(&a)
    };
    a.iter().zip(b).map(one).fold(0.0, f64::max)
}

/// Gradients of a mixture of all outputs, each weighted at random.
fn backward(network: &dyn Backbone, x: &Tensor) {
    let request = Request::adaptors(&network.info().adaptors);
    let features = backbone::run_with_gradients(network, x, &request).unwrap();
    let loss = outputs(&features)
        .iter()
        .map(|(_, output)| (output * (noise(&output.size()) - 0.5)).mean(Kind::Float))
        .fold(Tensor::zeros([], CPU), |sum, term| sum + term);
    loss.backward();
}

/// The whole promise, for one checkpoint. `idle`: parameters that no output depends on.
#[track_caller]
fn check(name: &str, checkpoint: &Checkpoint, size: (i64, i64), idle: &[&str]) {
    let difference = check_training(name, checkpoint, size, idle);
    println!("{name}: inference and training differ by {difference:.1e}");
    assert!(difference <= 1e-6, "{name}: {difference:e}");
}

/// All of it but the equality with inference, which is returned.
#[track_caller]
fn check_training(name: &str, checkpoint: &Checkpoint, (h, w): (i64, i64), idle: &[&str]) -> f64 {
    let x = noise(&[2, 3, h, w]);
    let expected = everything(&*for_inference(checkpoint), &x);
    let network = for_training(checkpoint);
    let trainable = network.trainable().expect("built for training");
    assert!(!trainable.is_train(), "{name}");
    let from_inference = apart(&expected, &everything(&*network, &x));

    backward(&*network, &x);
    let parameters = trainable.named_parameters();
    assert!(!parameters.is_empty());
    for (key, parameter) in &parameters {
        let gradient = parameter.grad();
        if idle.iter().any(|part| key.contains(part)) {
            assert!(!gradient.defined(), "{name}: {key}");
            continue;
        }
        assert!(gradient.defined(), "{name}: {key} got no gradient");
        let largest = gradient.abs().max().double_value(&[]);
        assert!(
            largest > 0.0 && largest.is_finite(),
            "{name}: {key} has gradient {largest}"
        );
    }

    // As it was read, then after a step.
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join("first");
    trainable.save(&first).unwrap();
    let again = Checkpoint::open(&first).unwrap();
    assert_eq!(
        apart(&expected, &everything(&*for_inference(&again), &x)),
        0.0,
        "{name}"
    );
    if let Some(stored) = checkpoint.tensors() {
        let mut keys: Vec<_> = stored.keys().collect();
        let mut saved: Vec<_> = again.tensors().unwrap().keys().collect();
        keys.sort();
        saved.sort();
        assert_eq!(keys, saved, "{name}");
    }
    tch::no_grad(|| {
        for (_, mut parameter) in parameters {
            let gradient = parameter.grad();
            if gradient.defined() {
                let step = 0.01 * parameter.norm() / gradient.norm().clamp_min(1e-12);
                let _ = parameter.g_sub_(&(gradient * step));
            }
        }
    });
    let stepped = everything(&*network, &x);
    assert!(apart(&expected, &stepped) > 1e-3, "{name}");
    let second = folder.path().join("second");
    trainable.save(&second).unwrap();
    let again = for_inference(&Checkpoint::open(&second).unwrap());
    let difference = apart(&stepped, &everything(&*again, &x));
    assert!(
        difference <= from_inference.max(1e-6),
        "{name}: {difference:e} after saving"
    );
    from_inference
}

fn radio(folder: &Path) -> Checkpoint {
    teachers::open(
        &folder.join("checkpoint_raw.safetensors"),
        &folder.join("args.json"),
    )
}

#[test]
fn radio_vit() {
    for case in ["dinov2_like", "v3_like", "spectral"] {
        let checkpoint = radio(&fixture(&format!("radio/{case}")));
        let side = if case == "dinov2_like" { 56 } else { 64 };
        check(case, &checkpoint, (side, side + side / 2), &[]);
    }
}

/// Every golden variant, as pickle where there is one, and as a Hugging Face folder.
#[test]
fn radio_vit_goldens() {
    let Some(goldens) = shared("golden/radio_vit") else {
        return;
    };
    for case in [
        "v25_like",
        "v21_like",
        "v21_bf16",
        "v1_like",
        "v3_like",
        "v4_like",
        "dinov2_like",
        "spectral",
        "featnorm",
        "ema",
    ] {
        let size = match case {
            "v1_like" | "dinov2_like" => (56, 84),
            _ => (64, 96),
        };
        check(case, &radio(&goldens.join(case)), size, &[]);
    }
    for case in [
        "v25_like/hf",
        "spectral/checkpoint.pth.tar",
        "ema/checkpoint.pth.tar",
    ] {
        let checkpoint = Checkpoint::open(&goldens.join(case)).unwrap();
        check(case, &checkpoint, (64, 96), &[]);
    }
}

fn eradio(path: &Path) -> Checkpoint {
    let mut checkpoint = Checkpoint::open(path).unwrap();
    let (_, metadata) = safetensors::open(path).unwrap();
    checkpoint.config = serde_json::from_str(&metadata["config"]).unwrap();
    // Some fixtures hold their input and outputs too.
    let io = ["input", "features_nlc", "summary"];
    checkpoint.renamed(|key| (!io.contains(&key)).then(|| key.into()))
}

#[test]
fn e_radio() {
    for case in ["tiny_8x.weights", "convolutions", "attention", "shift"] {
        let checkpoint = eradio(&fixture(&format!("eradio/{case}.safetensors")));
        check(case, &checkpoint, (64, 96), &[]);
    }
    if let Some(goldens) = shared("golden/eradio") {
        let checkpoint = eradio(&goldens.join("tiny_official.weights.safetensors"));
        check("tiny_official", &checkpoint, (96, 160), &[]);
    }
}

#[test]
fn dinov2() {
    let hub = |folder: &Path| {
        teachers::open(
            &folder.join("hub.safetensors"),
            &folder.join("hub_config.json"),
        )
    };
    check(
        "dinov2_mlp",
        &hub(&fixture("teachers/dinov2_mlp")),
        (56, 84),
        &["mask_token"],
    );
    let Some(goldens) = shared("golden/teachers") else {
        return;
    };
    for case in ["dinov2_mlp", "dinov2_swiglu", "dinov2_swiglu_reg"] {
        let folder = goldens.join(case);
        check(case, &hub(&folder), (56, 84), &["mask_token"]);
        // q, k and v lie apart in transformers' files, and are written apart again.
        let hf = Checkpoint::open(&folder.join("hf")).unwrap();
        check(&format!("{case}/hf"), &hf, (56, 84), &["mask_token"]);
    }
}

#[test]
fn the_other_teachers() {
    let file = |case: &str, weights: &str, config: &str| {
        let folder = fixture(&format!("teachers/{case}"));
        teachers::open(&folder.join(weights), &folder.join(config))
    };
    let clip = file(
        "clip_quickgelu",
        "openclip.safetensors",
        "openclip_config.json",
    );
    check("clip", &clip, (56, 84), &[]);
    let siglip = file(
        "siglip_so400m_like",
        "openclip.safetensors",
        "openclip_config.json",
    );
    check("siglip", &siglip, (56, 84), &[]);
    let sam = file(
        "sam",
        "sam_tiny.original.safetensors",
        "../internvit/config.json",
    );
    let sam = Checkpoint {
        config: serde_json::Value::Null,
        ..sam
    };
    // The neck serves SAM's decoder.
    check("sam", &sam, (128, 128), &["neck."]);
    let intern = file("internvit", "model.safetensors", "config.json");
    check("internvit", &intern, (56, 84), &[]);
}

/// DINOv3's key bias is masked at load: no tensor of its own to train.
#[test]
fn what_cannot_be_saved_is_not_trained() {
    let Some(folder) = shared("golden/teachers/dinov3_mlp") else {
        return;
    };
    let hub = teachers::open(
        &folder.join("hub.safetensors"),
        &folder.join("hub_config.json"),
    );
    let error = training(&hub).err().unwrap().to_string();
    assert!(error.contains("cannot be trained"), "{error}");
    let mini = Checkpoint::random((zoo::find("mini-dino").unwrap().config)(), 1);
    let error = training(&mini).err().unwrap().to_string();
    assert!(error.contains("from a checkpoint only"), "{error}");
    let program = Checkpoint::open(&fixture("torchscript/pair.pt")).unwrap();
    let error = training(&program).err().unwrap().to_string();
    assert!(error.contains("torchscript"), "{error}");
}

/// Students are trained from scratch too.
#[test]
fn random_weights() {
    let checkpoint = Checkpoint::random((zoo::find("eradio_xxxtiny").unwrap().config)(), 1);
    // Forty layers of random weights amplify the last bits more than trained ones do.
    let difference = check_training("eradio_xxxtiny", &checkpoint, (64, 64), &[]);
    assert!(difference <= 2e-6, "{difference:e}");
    let vit = serde_json::json!({
        "model": "vit_tiny_patch16_224", "cpe_max_size": 128, "cls_token_per_teacher": true,
        "register_multiple": 8, "teachers": [{"name": "clip"}, {"name": "sam"}],
        "model_kwargs": {"embed_dim": 64, "depth": 3, "num_heads": 4},
    });
    check("vit", &Checkpoint::random(vit, 1), (64, 96), &[]);
}

/// Batch statistics and moving averages as the official module has them, in one training pass.
#[test]
fn e_radio_in_train_mode() {
    let Some(goldens) = shared("golden") else {
        return;
    };
    let read = |name: &str| Tensor::read_safetensors(goldens.join(name)).expect("a golden");
    let trunk = Checkpoint::open(&goldens.join("eradio/tiny_official.weights.safetensors"));
    let trunk = trunk.unwrap().renamed(|key| {
        let dead = key.starts_with("norm.") || key.starts_with("head.");
        (!dead).then(|| format!("base_model.{key}"))
    });
    let case = goldens.join("distill/eradio_a");
    let heads = Checkpoint::open(&case.join("heads.safetensors")).unwrap();
    let mut tensors = trunk.tensors().unwrap().clone();
    tensors.extend(heads.tensors().unwrap().clone());
    for (name, values) in [("norm_mean", CLIP.0), ("norm_std", CLIP.1)] {
        let value = move || Ok(Tensor::from_slice(&values).view([3, 1, 1]));
        let stored = LazyTensor::computed(vec![3, 1, 1], Kind::Float, value);
        tensors.insert(format!("input_conditioner.{name}"), stored);
    }
    let config = std::fs::read(case.join("config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    let teachers = config["teachers"].as_array().unwrap();
    let names: Vec<_> = teachers
        .iter()
        .map(|t| json!({"name": t["name"]}))
        .collect();
    // The constructor's arguments themselves, beside what the heads need.
    let mut arguments = config["eradio"].clone();
    arguments["teachers"] = json!(names);
    arguments["mlp_version"] = json!("v2");
    let checkpoint = Checkpoint {
        source: WeightSource::File(tensors),
        config: arguments,
        ..trunk
    };
    let network = for_training(&checkpoint);
    let trainable = network.trainable().unwrap();
    trainable.set_train(true);
    let batch: HashMap<_, _> = read("distill/eradio_a/batch.safetensors")
        .into_iter()
        .collect();
    let x = batch["p0.images"].to_kind(Kind::Float) / 255.0;
    let request = Request::adaptors(&network.info().adaptors);
    let features = backbone::run_with_gradients(&*network, &x, &request).unwrap();
    let buffers = trainable.named_buffers();
    let (mut outputs, mut statistics, mut off) = (0, 0, Vec::new());
    for (name, wanted) in read("distill/eradio_a/after_step.safetensors") {
        let (ours, tolerance) = if let Some(name) = name.strip_prefix("out.") {
            let (teacher, what) = name.split_once('.').unwrap();
            let adaptor = &features.adaptors[teacher];
            outputs += 1;
            match what {
                "summary" => (adaptor.summary.shallow_clone(), 5e-5),
                _ => (adaptor.spatial.as_ref().unwrap().0.shallow_clone(), 5e-5),
            }
        } else if let Some(buffer) = name.strip_prefix("after.").and_then(|k| buffers.get(k)) {
            statistics += 1;
            let scale = wanted.abs().max().double_value(&[]).max(1.0);
            (buffer.shallow_clone(), 1e-5 * scale)
        } else {
            continue;
        };
        let worst = (ours - &wanted).abs().max().double_value(&[]);
        if worst > tolerance {
            off.push(format!("{name}: {worst:e}"));
        }
    }
    assert!(off.is_empty(), "{off:#?}");
    assert!(outputs >= 5 && statistics >= 10, "{outputs}, {statistics}");
    // The buffer that upstream's deployed module reads is made anew from the trained network.
    let keys = checkpoint.tensors().unwrap().keys();
    assert!(keys.clone().any(|key| key.ends_with("relative_bias")));
}

/// Power iterations, weights and gradients of two training passes (distillation.md §1.8).
#[test]
fn spectral_weights_in_train_mode() {
    let Some(golden) = shared("golden/distill/functions.safetensors") else {
        return;
    };
    let golden: HashMap<_, _> = Tensor::read_safetensors(golden)
        .unwrap()
        .into_iter()
        .collect();
    let get = |name: &str| golden[&format!("spectral.{name}")].shallow_clone();
    let lazy = |value: Tensor| {
        let value = std::sync::Mutex::new(value);
        let (shape, kind) = {
            let value = value.lock().unwrap();
            (value.size(), value.kind())
        };
        let read = move || Ok(value.lock().expect("not poisoned").copy());
        LazyTensor::computed(shape, kind, read)
    };
    let state = "m.parametrizations.weight.0";
    let tensors = [
        ("m.parametrizations.weight.original".into(), get("original")),
        (format!("{state}.scale"), get("scale")),
        (format!("{state}._u"), get("u")),
        (format!("{state}._v"), get("v")),
        (format!("{state}._sn_version"), Tensor::from_slice(&[2i64])),
    ];
    let checkpoint = Checkpoint {
        source: WeightSource::File(tensors.into_iter().map(|(k, t)| (k, lazy(t))).collect()),
        ..Checkpoint::random(serde_json::Value::Null, 0)
    }
    .with_provenance();
    let registry = Registry::new(|_| Default::default());
    let weight = {
        let store = ParamStore::new(&checkpoint, Device::Cpu, Kind::Float).trained(Some(&registry));
        let weight = SpectralWeight::new(&store.root().pp("m"), 12, 8).unwrap();
        store.finish(|_| false).unwrap();
        weight.expect("a spectral weight")
    };
    let trainable = registry.finish(&checkpoint);
    let (parameters, buffers) = (trainable.named_parameters(), trainable.named_buffers());
    let close = |name: &str, ours: &Tensor| {
        let wanted = get(name);
        let worst = (ours - &wanted).abs().max().double_value(&[]);
        assert!(
            worst <= 1e-6 * wanted.abs().max().double_value(&[]).max(1.0),
            "{name}: {worst:e}"
        );
    };
    // In eval mode the vectors stay.
    close("1.weight", &tch::no_grad(|| weight.value().unwrap()));
    close("u", &buffers[&format!("{state}._u")]);
    trainable.set_train(true);
    for pass in [1, 2] {
        for parameter in parameters.values() {
            let mut gradient = parameter.grad();
            if gradient.defined() {
                let _ = gradient.zero_();
            }
        }
        let value = weight.value().unwrap();
        (&value * get("upstream_grad")).sum(Kind::Float).backward();
        close(&format!("{pass}.weight"), &value.detach());
        close(&format!("{pass}.u"), &buffers[&format!("{state}._u")]);
        close(&format!("{pass}.v"), &buffers[&format!("{state}._v")]);
        let gradient = |name: &str| parameters[name].grad();
        close(
            &format!("{pass}.original_grad"),
            &gradient("m.parametrizations.weight.original"),
        );
        close(
            &format!("{pass}.scale_grad"),
            &gradient(&format!("{state}.scale")),
        );
    }
}

/// In train mode every sample sees the viewport that upstream would draw; in eval mode the map.
#[test]
fn positions_in_train_mode() {
    let options = BuildOptions {
        purpose: Purpose::Training,
        ..BuildOptions::default()
    };
    let checkpoint = radio(&fixture("radio/v3_like")).with_provenance();
    let model = RadioVit::load(&checkpoint, &options).unwrap();
    let x = noise(&[4, 3, 64, 96]);
    let _no_grad = tch::no_grad_guard();
    let (grid, map) = ((4, 6), model.patch_generator().positions());
    let prefix = model.config().prefix_tokens;
    let patches = |tokens: Tensor| tokens.narrow(1, prefix, 24);
    let bare = patches(model.embed(&x)) - map.at(grid);
    model.trainable().unwrap().set_train(true);
    // Another test may draw in between; not twenty times.
    let agrees = || {
        tch::manual_seed(11);
        let ours = patches(model.embed(&x));
        tch::manual_seed(11);
        let draws = Draws::random(4, 1, Device::Cpu).unwrap();
        let wanted = map.add_viewports(&bare, grid, &draws);
        let far = |a: &Tensor, b: &Tensor| (a - b).abs().max().double_value(&[]);
        far(&ours, &wanted) < 1e-5 && far(&ours, &(&bare + map.at(grid))) > 1e-3
    };
    assert!((0..20).any(|_| agrees()));
}

/// fp32 weights and gradients, passes in bf16; and autocast ends where its region does.
#[test]
fn autocast_keeps_fp32_weights() {
    let vit = radio(&fixture("radio/dinov2_like"));
    let eradio = eradio(&fixture("eradio/tiny_8x.weights.safetensors"));
    let dinov2 = fixture("teachers/dinov2_mlp");
    let dinov2 = teachers::open(
        &dinov2.join("hub.safetensors"),
        &dinov2.join("hub_config.json"),
    );
    let bf16 = || Autocast::new(Device::Cpu, Kind::BFloat16).unwrap();
    for (checkpoint, size) in [(vit, 56), (eradio, 64), (dinov2, 56)] {
        let network = for_training(&checkpoint);
        let name = &network.info().architecture;
        let x = noise(&[2, 3, size, size]);
        let gradients = |autocast: bool| {
            let parameters = network.trainable().unwrap().named_parameters();
            {
                let _autocast = autocast.then(bf16);
                backward(&*network, &x);
            }
            let taken = parameters.into_iter().filter(|(_, p)| p.grad().defined());
            let taken = taken.map(|(key, parameter)| {
                let mut gradient = parameter.grad();
                assert_eq!(
                    (parameter.kind(), gradient.kind()),
                    (Kind::Float, Kind::Float)
                );
                let flat = gradient.copy().flatten(0, -1);
                let _ = gradient.zero_();
                (key, flat)
            });
            taken.collect::<Vec<_>>()
        };
        let (full, half) = (gradients(false), gradients(true));
        let mut differ = false;
        for ((key, a), (_, b)) in full.iter().zip(&half) {
            let cosine = Tensor::cosine_similarity(a, b, 0, 1e-30).double_value(&[]);
            assert!(cosine > 0.99, "{name} {key}: cosine {cosine}");
            differ |= cosine < 1.0 - 1e-9;
        }
        assert!(differ, "{name}: autocast changed nothing");
        // Weights changed between two regions are seen in the second.
        let once = || {
            let _autocast = bf16();
            backbone::run(&*network, &x, &Request::default())
                .unwrap()
                .spatial
        };
        let before = once();
        tch::no_grad(|| {
            for (_, mut parameter) in network.trainable().unwrap().named_parameters() {
                let _ = parameter.g_mul_scalar_(1.1);
            }
        });
        assert!(
            (before - once()).abs().max().double_value(&[]) > 1e-3,
            "{name}"
        );
    }
    let product = || {
        Tensor::ones([2, 2], CPU)
            .matmul(&Tensor::ones([2, 2], CPU))
            .kind()
    };
    let failed = radio_eval::runtime::guard(|| -> Result<()> {
        let _autocast = bf16();
        assert_eq!(product(), Kind::BFloat16);
        let _ = Tensor::ones([2, 3], CPU).matmul(&Tensor::ones([2, 3], CPU));
        Ok(())
    });
    assert!(failed.is_err());
    assert_eq!(product(), Kind::Float);
    assert!(Autocast::new(Device::Cpu, Kind::Float).is_err());
}
