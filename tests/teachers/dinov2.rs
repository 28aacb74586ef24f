use super::{Golden, bf16_agrees, cases, dimmed, edited, model, open, run};
use radio_eval::models::architecture::build;
use radio_eval::models::normalise::IMAGENET;
use radio_eval::models::{BuildOptions, ModelSpec, recognise, resolve, zoo};
use radio_eval::weights::{Checkpoint, StateDict, WeightSource};
use serde_json::json;
use std::path::Path;
use tch::{Device, Kind, Tensor};

const SIZES: [&str; 4] = ["56x84", "70x70", "98x98", "126x112"];

fn hub(folder: &Path) -> Checkpoint {
    open(
        &folder.join("hub.safetensors"),
        &folder.join("hub_config.json"),
    )
}

fn embedding(name: &str) -> bool {
    let name = name.strip_prefix("embeddings.").unwrap_or(name);
    [
        "patch_embed",
        "cls_token",
        "register_tokens",
        "pos_embed",
        "position_embeddings",
    ]
    .iter()
    .any(|p| name.starts_with(p))
}

#[test]
fn both_layouts_equal_the_official_code() {
    let full = [
        "dinov2_mlp",
        "dinov2_mlp_reg",
        "dinov2_swiglu",
        "dinov2_swiglu_reg",
    ];
    for folder in cases(&["dinov2_mlp"], &full) {
        let golden = Golden::open(&folder.join("io.safetensors"));
        let file = hub(&folder);
        let network = model(&file, &BuildOptions::default());
        let probe = model(&dimmed(&file, embedding), &BuildOptions::default());
        for size in SIZES {
            let Some(image) = golden
                .has(&format!("{size}.image"))
                .then(|| golden.pixels(&format!("{size}.image"), IMAGENET))
            else {
                continue;
            };
            let out = run(network.as_ref(), &image, &[]);
            golden.close(&format!("{size}.x_norm_clstoken"), &out.summary);
            golden.close(&format!("{size}.x_norm_patchtokens"), &out.spatial);
        }
        let image = golden.pixels("56x84.image", IMAGENET);
        let out = run(probe.as_ref(), &image, &[]);
        golden.close("eps_probe.56x84.x_norm_patchtokens", &out.spatial);
        bf16_agrees(&file, &image);

        let hf = folder.join("hf");
        if !hf.exists() {
            continue;
        }
        let file = open(&hf.join("model.safetensors"), &hf.join("config.json"));
        let network = model(&file, &BuildOptions::default());
        let prefix = network.info().prefix_tokens;
        for size in SIZES {
            let image = golden.pixels(&format!("{size}.image"), IMAGENET);
            let out = run(network.as_ref(), &image, &[]);
            let name = format!("{size}.hf.last_hidden_state");
            let want = golden.get(&name);
            // The registers are not part of the features; the golden's own take their place.
            let registers = want.narrow(1, 1, prefix - 1);
            let all = tch::Tensor::cat(&[out.summary.unsqueeze(1), registers, out.spatial], 1);
            golden.close(&name, &all);
        }
        // Without registers the probe was made with the hub's position rule.
        if prefix > 1 {
            let probe = model(&dimmed(&file, embedding), &BuildOptions::default());
            let out = run(probe.as_ref(), &image, &[]);
            golden.close("eps_probe.56x84.x_norm_patchtokens", &out.spatial);
        }
    }
}

/// Training files: a prefix, blocks in chunks, heads beside the backbone.
#[test]
fn training_files_and_wrappers_load() {
    let folder = crate::common::fixture("teachers/dinov2_mlp");
    let golden = Golden::open(&folder.join("io.safetensors"));
    let image = golden.pixels("70x70.image", IMAGENET);
    for prefix in ["dinov2.", "backbone.", "teacher.backbone."] {
        let chunks = prefix == "teacher.backbone.";
        let wrap = |key: &str| match key.strip_prefix("blocks.") {
            Some(rest) if chunks => format!("{prefix}blocks.0.{rest}"),
            _ => format!("{prefix}{key}"),
        };
        let file = hub(&folder).renamed(|key| Some(wrap(key)));
        let network = model(&file, &BuildOptions::default());
        let out = run(network.as_ref(), &image, &[]);
        golden.close("70x70.x_norm_clstoken", &out.summary);
        let norm = format!("{prefix}norm.weight");
        let broken = edited(&file, |k, t| (k != norm).then(|| t.clone()));
        let error = build(&broken, &BuildOptions::default()).err().unwrap();
        assert!(
            error.to_string().contains(&format!("`{norm}`: missing")),
            "{error}"
        );
    }
}

#[test]
fn loading_is_strict() {
    let folder = crate::common::fixture("teachers/dinov2_mlp");
    let file = hub(&folder);
    let strange = file.renamed(|key| {
        Some(match key {
            "blocks.1.mlp.fc2.bias" => "blocks.1.mlp.fc3.bias".into(),
            key => key.into(),
        })
    });
    let error = build(&strange, &BuildOptions::default()).err().unwrap();
    assert!(
        error
            .to_string()
            .contains("`blocks.1.mlp.fc2.bias`: missing"),
        "{error}"
    );
    let mut extra = file.clone();
    if let radio_eval::weights::WeightSource::File(tensors) = &mut extra.source {
        let tensor = tensors["norm.bias"].clone();
        tensors.insert("blocks.2.norm1.bias".into(), tensor);
    }
    let error = build(&extra, &BuildOptions::default()).err().unwrap();
    assert!(
        error
            .to_string()
            .contains("`blocks.2.norm1.bias`: unexpected"),
        "{error}"
    );
}

/// A hub file with registers in timm's layout: the class token's position is added to the token
/// there, and the registers and the halves of the SwiGLU have other names.
fn timm(hub: &Checkpoint) -> Checkpoint {
    let read = |name: &str| hub.tensors().unwrap()[name].read_stored().unwrap();
    let position = read("pos_embed");
    let class = read("cls_token") + position.narrow(1, 0, 1);
    let patches = position.narrow(1, 1, position.size()[1] - 1);
    let mut tensors = vec![
        ("cls_token".to_string(), class),
        ("pos_embed".into(), patches),
    ];
    for name in hub.tensors().unwrap().keys() {
        let new = match name.as_str() {
            "cls_token" | "pos_embed" | "mask_token" => continue,
            "register_tokens" => "reg_token".into(),
            name => name
                .replace("mlp.w12", "mlp.fc1")
                .replace("mlp.w3", "mlp.fc2"),
        };
        tensors.push((new, read(name)));
    }
    let config = json!({"architecture": "vit_tiny_patch14_reg4_dinov2", "num_heads": 4});
    written(&tensors, config)
}

/// A file of `tensors`, opened.
fn written(tensors: &[(String, Tensor)], config: serde_json::Value) -> Checkpoint {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("model.safetensors");
    Tensor::write_safetensors(tensors, &path).unwrap();
    let mut file = Checkpoint::open(&path).unwrap();
    file.config = config;
    file
}

#[test]
fn timm_layout_equals_the_official_code() {
    for folder in cases(&[], &["dinov2_swiglu_reg"]) {
        let golden = Golden::open(&folder.join("io.safetensors"));
        let network = model(&timm(&hub(&folder)), &BuildOptions::default());
        for size in SIZES {
            let image = golden.pixels(&format!("{size}.image"), IMAGENET);
            let out = run(network.as_ref(), &image, &[]);
            golden.close(&format!("{size}.x_norm_clstoken"), &out.summary);
            golden.close(&format!("{size}.x_norm_patchtokens"), &out.spatial);
        }
    }
}

/// The same where only the committed fixture is: it gets registers and, if asked, SwiGLUs, and
/// both layouts must give the same.
#[test]
fn timm_layout_equals_the_hubs() {
    tch::manual_seed(1);
    let folder = crate::common::fixture("teachers/dinov2_mlp");
    let golden = Golden::open(&folder.join("io.safetensors"));
    let plain = hub(&folder);
    let random = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu)) * 0.1;
    for swiglu in [false, true] {
        let mut tensors = vec![("register_tokens".to_string(), random(&[1, 4, 64]))];
        for (name, tensor) in plain.tensors().unwrap() {
            if !swiglu || !name.contains(".mlp.") {
                tensors.push((name.clone(), tensor.read_stored().unwrap()));
            }
        }
        for block in 0..if swiglu { 2 } else { 0 } {
            for (layer, output, input) in [("w12", 352, 64), ("w3", 64, 176)] {
                let name = format!("blocks.{block}.mlp.{layer}");
                tensors.push((format!("{name}.weight"), random(&[output, input])));
                tensors.push((format!("{name}.bias"), random(&[output])));
            }
        }
        let mut config = plain.config.clone();
        config["num_register_tokens"] = 4.into();
        config["ffn_layer"] = if swiglu { "swiglufused" } else { "mlp" }.into();
        let hub = written(&tensors, config);
        let networks = [&hub, &timm(&hub)].map(|file| model(file, &BuildOptions::default()));
        for size in SIZES {
            if !golden.has(&format!("{size}.image")) {
                continue;
            }
            let image = golden.pixels(&format!("{size}.image"), IMAGENET);
            let [hub, timm] = networks
                .each_ref()
                .map(|network| run(network.as_ref(), &image, &[]));
            for (hub, timm) in [(hub.summary, timm.summary), (hub.spatial, timm.spatial)] {
                let difference = (&hub - timm).abs().max().double_value(&[]);
                assert!(difference <= 1e-5, "{size}: {difference:e}");
            }
        }
    }
}

#[test]
fn mini_dino_equals_its_golden() {
    let Some(mini) = crate::common::shared("mini") else {
        return;
    };
    let weights = mini.join("weights/mini-dino");
    let file = open(
        &weights.join("model.safetensors"),
        &weights.join("config.json"),
    );
    let network = model(&file, &BuildOptions::default());
    assert_eq!(network.info().preferred, (126, 126));
    let Some(golden) = crate::common::shared("mini/golden/dino.safetensors") else {
        return;
    };
    let golden = Golden::open(&golden);
    let out = run(network.as_ref(), &golden.u8_pixels("pixels_u8"), &[]);
    golden.close("summary", &out.summary);
    golden.close("features", &out.spatial);
}

/// Sizes come from the config alone, and parameters add up to the spec's.
#[test]
fn random_weights_have_the_published_size() {
    for name in ["dinov2-s", "dinov2-s-reg"] {
        let spec = ModelSpec {
            model: name.into(),
            random_weights: Some(1),
            ..ModelSpec::default()
        };
        let resolved = resolve(&spec, &BuildOptions::default()).unwrap();
        let info = resolved.backbone.info();
        assert_eq!(Some(info.parameters), resolved.entry.unwrap().parameters);
        assert_eq!(info.preferred, (224, 224));
    }
}

/// Franca's release: the teacher of its trainer, in chunks and gates, with a RASA head that its own
/// loader leaves out too.
#[test]
fn franca_is_a_dinov2() {
    let Some(folder) = crate::common::shared("golden/teachers/dinov2_swiglu") else {
        return;
    };
    let plain = open(
        &folder.join("hub.safetensors"),
        &folder.join("hub_config.json"),
    );
    let expected = model(&plain, &BuildOptions::default());
    let mut released: StateDict = (plain.tensors().unwrap().iter())
        .map(|(name, tensor)| (format!("teacher.backbone.{name}"), tensor.clone()))
        .collect();
    let one = released.values().next().unwrap().clone();
    for beside in [
        "teacher.backbone.rasa_head.pos_pred.weight",
        "teacher.dino_head.mlp.0.weight",
    ] {
        released.insert(beside.into(), one.clone());
    }
    let file = Checkpoint {
        source: WeightSource::File(released),
        ..plain.clone()
    };
    let found = recognise::find(&file).unwrap();
    assert_eq!(found.architecture.name(), "dinov2");
    let network = found.build(&BuildOptions::default()).unwrap();
    let x = Tensor::rand([1, 3, 56, 84], (Kind::Float, Device::Cpu));
    assert_eq!(
        run(network.as_ref(), &x, &[]).summary,
        run(expected.as_ref(), &x, &[]).summary
    );

    let random = Checkpoint::random((zoo::find("franca-b").unwrap().config)(), 1);
    let network = build(&random, &BuildOptions::default()).unwrap();
    assert_eq!(
        Some(network.info().parameters),
        zoo::find("franca-b").unwrap().parameters
    );
    assert_eq!(
        network.info().settings["positions"],
        "bicubic, scale (h+0.1)/M"
    );
}
