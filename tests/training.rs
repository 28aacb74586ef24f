//! Networks built for training: the same outputs as for inference, gradients for every parameter,
//! and files that load again.

use crate::common::{fixture, shared};
use crate::teachers;
use radio_eval::Result;
use radio_eval::models::architecture::build;
use radio_eval::models::{Backbone, BuildOptions, Features, Purpose, Request, backbone, zoo};
use radio_eval::weights::{Checkpoint, safetensors};
use std::path::Path;
use tch::{Device, Kind, Tensor};

const CPU: (Kind, Device) = (Kind::Float, Device::Cpu);

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

fn for_inference(checkpoint: &Checkpoint) -> Box<dyn Backbone> {
    let options = BuildOptions::default();
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
    tch::manual_seed(5);
    let request = Request::adaptors(&network.info().adaptors);
    let features = backbone::run_with_gradients(network, x, &request).unwrap();
    let loss = outputs(&features)
        .iter()
        .map(|(_, output)| (output * Tensor::randn(output.size(), CPU)).mean(Kind::Float))
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
    tch::manual_seed(3);
    let x = Tensor::rand([2, 3, h, w], CPU);
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
        (keys.sort(), saved.sort());
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
    assert!(difference <= 1e-5, "{difference:e}");
    let vit = serde_json::json!({
        "model": "vit_tiny_patch16_224", "cpe_max_size": 128, "cls_token_per_teacher": true,
        "register_multiple": 8, "teachers": [{"name": "clip"}, {"name": "sam"}],
        "model_kwargs": {"embed_dim": 64, "depth": 3, "num_heads": 4},
    });
    check("vit", &Checkpoint::random(vit, 1), (64, 96), &[]);
}
