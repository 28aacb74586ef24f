use super::{Golden, bf16_agrees, cases, dimmed, edited, model, open, run};
use radio_eval::models::architecture::build;
use radio_eval::models::normalise::CLIP;
use radio_eval::models::{BuildOptions, clip, zoo};
use radio_eval::weights::Checkpoint;
use std::path::Path;
use tch::Tensor;

fn open_clip(folder: &Path) -> Checkpoint {
    open(
        &folder.join("openclip.safetensors"),
        &folder.join("openclip_config.json"),
    )
}

fn embedding(name: &str) -> bool {
    let names = [
        "visual.conv1",
        "visual.class_embedding",
        "visual.positional_embedding",
        "vision_model.embeddings.",
    ];
    names.iter().any(|n| name.starts_with(n))
}

fn before_norm() -> BuildOptions {
    BuildOptions {
        clip: clip::Options {
            tokens_before_norm: true,
        },
        ..BuildOptions::default()
    }
}

#[test]
fn both_layouts_equal_the_official_code() {
    for folder in cases(&["clip_quickgelu"], &["clip_quickgelu", "clip_gelu"]) {
        let golden = Golden::open(&folder.join("io.safetensors"));
        let mut files = vec![("openclip", open_clip(&folder))];
        let hf = folder.join("hf");
        if hf.exists() {
            let file = open(&hf.join("model.safetensors"), &hf.join("config.json"));
            files.push(("hf", file));
        }
        let image = golden.pixels("image", CLIP);
        for (layout, file) in &files {
            let network = model(file, &BuildOptions::default());
            let out = run(network.as_ref(), &image, &["clip"]);
            golden.close("image_features_preproj", &out.summary);
            golden.close("image_features_proj", &out.adaptors["clip"].summary);
            golden.close("image_tokens_ln", &out.spatial);
            let raw = run(model(file, &before_norm()).as_ref(), &image, &[]);
            golden.close("image_tokens_raw", &raw.spatial);
            let probe = model(&dimmed(file, embedding), &BuildOptions::default());
            let out = run(probe.as_ref(), &image, &["clip"]);
            golden.close(
                "eps_probe.image_features_proj",
                &out.adaptors["clip"].summary,
            );

            // Each layout resizes positions by its own rule.
            for size in ["84x56", "42x70"] {
                let name = |n: &str| format!("resized{size}.{n}");
                if !golden.has(&name("image")) {
                    continue;
                }
                let image = golden.pixels(&name("image"), CLIP);
                let out = run(network.as_ref(), &image, &["clip"]);
                if *layout == "openclip" {
                    golden.close(&name("openclip.proj"), &out.adaptors["clip"].summary);
                    golden.close(&name("openclip.tokens_ln"), &out.spatial);
                    continue;
                }
                golden.close(&name("hf.pooler_output"), &out.summary);
                let raw = run(model(file, &before_norm()).as_ref(), &image, &[]);
                let want = name("hf.last_hidden_state");
                let class = golden.get(&want).narrow(1, 0, 1);
                golden.close(&want, &Tensor::cat(&[class, raw.spatial], 1));
            }
        }
        bf16_agrees(&files[0].1, &image);
    }
}

/// The tag says what the weights were trained with, whatever the config is called.
#[test]
fn the_pretrained_tag_decides_the_activation() {
    let mut file = open_clip(&crate::common::fixture("teachers/clip_quickgelu"));
    let activation = |file: &Checkpoint, hints: serde_json::Value| {
        let options = BuildOptions {
            zoo_hints: hints,
            ..BuildOptions::default()
        };
        let network = model(file, &options);
        network.info().settings["activation"]
            .as_str()
            .unwrap()
            .to_string()
    };
    for (name, wanted) in [
        ("openai-clip-l14-336", "quick_gelu"),
        ("openclip-h14", "gelu"),
        ("metaclip-h14", "quick_gelu"),
        ("dfn-clip-h14-378", "quick_gelu"),
    ] {
        let hints = (zoo::find(name).unwrap().hints)();
        assert_eq!(activation(&file, hints), wanted, "{name}");
    }
    assert_eq!(activation(&file, serde_json::Value::Null), "quick_gelu");
    file.config["model_cfg"]["quick_gelu"] = false.into();
    assert_eq!(activation(&file, serde_json::Value::Null), "gelu");
}

/// transformers' files of the image tower alone.
#[test]
fn image_only_files_load() {
    for folder in cases(&[], &["clip_quickgelu"]) {
        let golden = Golden::open(&folder.join("io.safetensors"));
        let image = golden.pixels("image", CLIP);
        let hf = folder.join("hf");
        let whole = open(&hf.join("model.safetensors"), &hf.join("config.json"));
        let vision = |key: &str| key.starts_with("vision_model.") || key.starts_with("visual_");
        let with_projection = whole.renamed(|k| vision(k).then(|| k.to_string()));
        let alone = whole.renamed(|k| k.strip_prefix("vision_model.").map(str::to_string));
        let out = run(
            model(&with_projection, &BuildOptions::default()).as_ref(),
            &image,
            &["clip"],
        );
        golden.close("image_features_proj", &out.adaptors["clip"].summary);
        let network = model(&alone, &BuildOptions::default());
        assert!(network.info().adaptors.is_empty());
        let out = run(network.as_ref(), &image, &[]);
        golden.close("image_features_preproj", &out.summary);
    }
}

/// timm's files of the image tower: the class row of the positions is there, the projection is
/// `head`, transposed, beside a bias of zeros in some.
#[test]
fn timm_layout_equals_the_official_code() {
    let folder = crate::common::fixture("teachers/clip_quickgelu");
    let golden = Golden::open(&folder.join("io.safetensors"));
    let image = golden.pixels("image", CLIP);
    let whole = open_clip(&folder);
    let read = |name: &str| whole.tensors().unwrap()[name].read_stored().unwrap();
    let visual = whole
        .tensors()
        .unwrap()
        .keys()
        .filter_map(|k| k.strip_prefix("visual."));
    let tensors: Vec<(String, Tensor)> = visual
        .map(|name| {
            let tensor = read(&format!("visual.{name}"));
            match name {
                "class_embedding" => ("cls_token".into(), tensor.view([1, 1, -1])),
                "positional_embedding" => ("pos_embed".into(), tensor.unsqueeze(0)),
                "proj" => ("head.weight".into(), tensor.tr().contiguous()),
                _ => {
                    let timm = name
                        .replace("conv1", "patch_embed.proj")
                        .replace("ln_pre", "norm_pre")
                        .replace("ln_post", "norm")
                        .replace("transformer.resblocks", "blocks")
                        .replace("ln_1", "norm1")
                        .replace("ln_2", "norm2")
                        .replace("attn.in_proj_", "attn.qkv.")
                        .replace("attn.out_proj", "attn.proj")
                        .replace("mlp.c_fc", "mlp.fc1")
                        .replace("mlp.c_proj", "mlp.fc2");
                    (timm, tensor)
                }
            }
        })
        .collect();
    let zeros = (
        "head.bias".to_string(),
        Tensor::zeros([40], (tch::Kind::Float, tch::Device::Cpu)),
    );
    let scratch = tempfile::tempdir().unwrap();
    for bias in [None, Some(zeros)] {
        let tensors: Vec<_> = tensors.iter().chain(&bias).collect();
        let tensors: Vec<_> = tensors.iter().map(|(n, t)| (n, t)).collect();
        let path = scratch.path().join("model.safetensors");
        Tensor::write_safetensors(&tensors, &path).unwrap();
        let config = serde_json::json!({
            "architecture": "vit_large_patch14_clip_quickgelu_336",
            "num_classes": 40,
            "num_attention_heads": 4,
        });
        std::fs::write(scratch.path().join("config.json"), config.to_string()).unwrap();
        let network = model(
            &Checkpoint::open(scratch.path()).unwrap(),
            &BuildOptions::default(),
        );
        let out = run(network.as_ref(), &image, &["clip"]);
        golden.close("image_features_preproj", &out.summary);
        golden.close("image_features_proj", &out.adaptors["clip"].summary);
        golden.close("image_tokens_ln", &out.spatial);
    }
}

#[test]
fn loading_is_strict_about_the_image_tower_only() {
    let file = open_clip(&crate::common::fixture("teachers/clip_quickgelu"));
    let refused = |file: &Checkpoint| {
        let error = build(file, &BuildOptions::default()).err().unwrap();
        error.to_string()
    };
    let missing = edited(&file, |k, t| {
        (k != "visual.ln_post.bias").then(|| t.clone())
    });
    let error = refused(&missing);
    assert!(error.contains("`visual.ln_post.bias`: missing"), "{error}");
    let renamed = |from: &'static str, to: &'static str| {
        file.renamed(move |k| Some(if k == from { to } else { k }.to_string()))
    };
    let error = refused(&renamed("logit_scale", "visual.strange"));
    assert!(error.contains("`visual.strange`: unexpected"), "{error}");
    let error = refused(&renamed("logit_scale", "strange"));
    assert!(error.contains("`strange`: unexpected"), "{error}");
    model(
        &renamed("logit_scale", "text.ln_final.bias"),
        &BuildOptions::default(),
    );
}

#[test]
fn mini_clip_equals_its_golden() {
    let weights = radio_eval::assets::path("mini/weights/mini-clip").unwrap();
    let file = open(
        &weights.join("open_clip_model.safetensors"),
        &weights.join("open_clip_config.json"),
    );
    let network = model(&file, &BuildOptions::default());
    assert_eq!(network.info().preferred, (128, 128));
    let Some(golden) = crate::common::shared("mini/golden/clip.safetensors") else {
        return;
    };
    let golden = Golden::open(&golden);
    let out = run(network.as_ref(), &golden.u8_pixels("pixels_u8"), &["clip"]);
    golden.close("summary", &out.summary);
    golden.close("features", &out.spatial);
    // The golden's embedding is L2-normalised.
    let joint = &out.adaptors["clip"].summary;
    let length = joint.norm_scalaropt_dim(2, [-1], true);
    golden.close("image_embed", &(joint / length));
}
