//! The network inside a file, whatever trainers wrapped around it: the same numbers as without, a
//! note of what was taken, and sentences where there is none.

use crate::common::{fixture, shared};
use radio_eval::models::recognise::{self, Recognised};
use radio_eval::models::{Backbone, BuildOptions, Request, backbone, text};
use radio_eval::weights::Checkpoint;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

type Tensors = Vec<(String, Tensor)>;

/// The tensors of a fixture under other names; `None` drops one.
fn tensors(file: &Path, rename: impl Fn(&str) -> Option<String>) -> Tensors {
    let file = Checkpoint::open(file).unwrap();
    let tensors = file.tensors().unwrap().iter();
    tensors
        .filter_map(|(name, t)| Some((rename(name)?, t.read_stored().unwrap())))
        .collect()
}

/// A scratch folder with `model.safetensors` and, where there is one, a config beside it.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new(tensors: &Tensors, config: Option<(&str, &Value)>) -> Self {
        let scratch = Scratch(tempfile::tempdir().unwrap());
        Tensor::write_safetensors(tensors, scratch.file()).unwrap();
        if let Some((name, config)) = config {
            std::fs::write(scratch.0.path().join(name), config.to_string()).unwrap();
        }
        scratch
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("model.safetensors")
    }

    fn find(&self) -> radio_eval::Result<Recognised> {
        recognise::find(&Checkpoint::open(&self.file())?)
    }

    #[track_caller]
    fn found(&self) -> Recognised {
        self.find().unwrap_or_else(|e| panic!("{e}"))
    }

    #[track_caller]
    fn network(&self) -> Box<dyn Backbone> {
        let built = self.found().build(&BuildOptions::default());
        built.unwrap_or_else(|e| panic!("{e}"))
    }

    /// The error of finding or building.
    #[track_caller]
    fn error(&self) -> String {
        let built = self.find().and_then(|f| f.build(&BuildOptions::default()));
        built.err().expect("an error").to_string()
    }
}

fn clip() -> (PathBuf, Value) {
    let folder = fixture("teachers/clip_quickgelu");
    let config = std::fs::read(folder.join("openclip_config.json")).unwrap();
    let config = serde_json::from_slice(&config).unwrap();
    (folder.join("openclip.safetensors"), config)
}

const OPEN_CLIP: &str = "open_clip_config.json";

/// Summary and tokens of one picture of noise.
fn run(network: &dyn Backbone) -> (Tensor, Tensor) {
    tch::manual_seed(3);
    let (height, width) = network.info().preferred;
    let x = Tensor::rand([1, 3, height, width], (Kind::Float, Device::Cpu));
    let out = backbone::run(network, &x, &Request::default()).unwrap_or_else(|e| panic!("{e}"));
    (out.summary, out.spatial)
}

#[track_caller]
fn same(left: &dyn Backbone, right: &dyn Backbone) {
    let (left, right) = (run(left), run(right));
    assert_eq!(left.0, right.0);
    assert_eq!(left.1, right.1);
}

#[test]
fn wrappers_in_any_stacking_come_off() {
    let (file, config) = clip();
    let beside = Some((OPEN_CLIP, &config));
    let plain = Scratch::new(&tensors(&file, |n| Some(n.into())), beside).network();
    let deep = |n: &str| {
        let n = n.replace(
            "visual.transformer.",
            "visual._fsdp_wrapped_module.transformer.",
        );
        let n = n.replace(".attn.", "._checkpoint_wrapped_module.attn.");
        format!("_orig_mod.{n}")
    };
    type Renaming<'a> = &'a dyn Fn(&str) -> String;
    let wrapped: [(&str, Renaming); 7] = [
        ("module.", &|n| format!("module.{n}")),
        ("module.", &|n| format!("_orig_mod.module.{n}")),
        ("model.clip.", &|n| {
            format!("_forward_module.model.clip.{n}")
        }),
        ("state_dict.ema.module.", &|n| {
            format!("state_dict.ema.module.{n}")
        }),
        ("", &deep),
        ("", &|n| n.replace("visual.", "visual.module.")),
        ("my_own_name.", &|n| format!("my_own_name.{n}")),
    ];
    for (path, rename) in wrapped {
        let scratch = Scratch::new(&tensors(&file, |n| Some(rename(n))), beside);
        let found = scratch.found();
        same(plain.as_ref(), scratch.network().as_ref());
        assert_eq!(found.checkpoint.within, path);
        let under = found.checkpoint.notes.get("weights_under");
        let said = under.and_then(Value::as_str).unwrap_or_default();
        assert_eq!(said.trim_matches('`'), path.trim_end_matches('.'));
        assert_eq!(found.checkpoint.notes["described_by"], OPEN_CLIP);
    }
}

#[test]
fn the_teacher_is_taken_before_the_student_and_both_are_named() {
    let folder = fixture("teachers/dinov2_mlp");
    let file = folder.join("hub.safetensors");
    let config: Value =
        serde_json::from_slice(&std::fs::read(folder.join("hub_config.json")).unwrap()).unwrap();
    let beside = Some(("hub_config.json", &config));
    let plain = Scratch::new(&tensors(&file, |n| Some(n.into())), beside).network();
    let mut both: Tensors = tensors(&file, |n| Some(format!("student.backbone.{n}")))
        .into_iter()
        .map(|(name, t)| (name, t * 0.5))
        .collect();
    both.extend(tensors(&file, |n| Some(format!("teacher.backbone.{n}"))));
    let heads = Tensor::ones([2], (Kind::Float, Device::Cpu));
    both.push(("teacher.dino_head.mlp.0.weight".into(), heads));
    let scratch = Scratch::new(&both, beside);
    same(plain.as_ref(), scratch.network().as_ref());
    let notes = scratch.found().checkpoint.notes;
    assert_eq!(notes["weights_under"], "`teacher.backbone`");
    assert_eq!(notes["weights_instead_of"], json!(["`student.backbone`"]));
    assert!(notes["tensors_beside"].as_u64().unwrap() > 0);
}

/// The vision tower inside a vision-language model, its config one level down.
#[test]
fn the_tower_of_a_vision_language_model_is_found() {
    let Some(folder) = shared("golden/teachers/clip_quickgelu/hf") else {
        return;
    };
    let file = folder.join("model.safetensors");
    let config: Value =
        serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
    let plain = tensors(&file, |n| n.starts_with("vision_model.").then(|| n.into()));
    let plain = Scratch::new(&plain, Some(("config.json", &config)));
    let mut vlm = tensors(&file, |n| {
        let tower = n.starts_with("vision_model.");
        tower.then(|| format!("model.vision_tower.vision_tower.{n}"))
    });
    for i in 0..20 {
        let t = Tensor::ones([2, 2], (Kind::Float, Device::Cpu));
        vlm.push((format!("model.layers.{i}.self_attn.q_proj.weight"), t));
    }
    let llava = json!({"model_type": "llava", "vision_config": config["vision_config"],
        "text_config": {"model_type": "llama", "hidden_size": 4}});
    let scratch = Scratch::new(&vlm, Some(("config.json", &llava)));
    same(plain.network().as_ref(), scratch.network().as_ref());
    assert_eq!(scratch.found().checkpoint.notes["tensors_beside"], 20);
}

/// A SigLIP tower without the pool, as in vision-language models: its tokens, and their mean.
#[test]
fn a_siglip_tower_without_its_pool_gives_the_mean() {
    let Some(folder) = shared("golden/teachers/siglip_so400m_like/hf") else {
        return;
    };
    let file = folder.join("model.safetensors");
    let config: Value =
        serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
    let beside = Some(("config.json", &config));
    let whole = Scratch::new(&tensors(&file, |n| Some(n.into())), beside).network();
    let tower = tensors(&file, |n| {
        let keep = n.starts_with("vision_model.") && !n.starts_with("vision_model.head.");
        keep.then(|| format!("vision_tower.{n}"))
    });
    let tower = Scratch::new(&tower, beside).network();
    let (summary, tokens) = run(tower.as_ref());
    assert_eq!(tokens, run(whole.as_ref()).1);
    assert_eq!(summary, tokens.mean_dim(1, false, None::<Kind>));
    assert!(tower.info().adaptors.is_empty());
    let said = tower.info().settings["summary"].to_string();
    assert!(said.contains("no attention pool"), "{said}");
}

#[test]
fn an_encoder_saved_alone_is_the_encoder() {
    let file = fixture("teachers/sam/sam_tiny.original.safetensors");
    let whole = Scratch::new(&tensors(&file, |n| Some(n.into())), None).network();
    let alone = |prefix: &'static str| {
        move |n: &str| {
            let short = n.strip_prefix("image_encoder.")?;
            Some(format!("{prefix}{short}"))
        }
    };
    for prefix in ["", "module.", "encoder."] {
        let alone = Scratch::new(&tensors(&file, alone(prefix)), None).network();
        same(whole.as_ref(), alone.as_ref());
    }
    let (file, config) = clip();
    let beside = Some((OPEN_CLIP, &config));
    let whole = Scratch::new(&tensors(&file, |n| Some(n.into())), beside).network();
    let tower = tensors(&file, |n| n.strip_prefix("visual.").map(String::from));
    same(
        whole.as_ref(),
        Scratch::new(&tower, beside).network().as_ref(),
    );
}

/// A classifier behind timm's network is left out; what belongs to no network is not.
#[test]
fn a_classifier_on_top_is_left_out() {
    let Some(case) = shared("cases/models/m06-dinov3-timm") else {
        return;
    };
    let file = case.join("model.safetensors");
    let config: Value =
        serde_json::from_slice(&std::fs::read(case.join("config.json")).unwrap()).unwrap();
    let beside = Some(("config.json", &config));
    let plain = Scratch::new(&tensors(&file, |n| Some(n.into())), beside).network();
    let mut more = tensors(&file, |n| Some(n.into()));
    let ones = |shape: &[i64]| Tensor::ones(shape, (Kind::Float, Device::Cpu));
    more.push(("head.weight".into(), ones(&[10, 64])));
    more.push(("head.bias".into(), ones(&[10])));
    same(
        plain.as_ref(),
        Scratch::new(&more, beside).network().as_ref(),
    );
    more.push(("strange".into(), ones(&[3])));
    let error = Scratch::new(&more, beside).error();
    assert!(error.contains("tensor `strange`: unexpected"), "{error}");
}

/// DINOv3 without storage tokens, in the hub's layout.
#[test]
fn dinov3_needs_no_storage_tokens() {
    let Some(folder) = shared("golden/teachers/dinov3_hub_periods/base_other") else {
        return;
    };
    let file = folder.join("hub.safetensors");
    let mut config: Value =
        serde_json::from_slice(&std::fs::read(folder.join("hub_config.json")).unwrap()).unwrap();
    config["n_storage_tokens"] = json!(0);
    let without = tensors(&file, |n| (n != "storage_tokens").then(|| n.into()));
    let network = Scratch::new(&without, Some(("hub_config.json", &config))).network();
    assert_eq!(network.info().prefix_tokens, 1);
    assert_eq!(run(network.as_ref()).0.size(), [1, 48]);
    // The config of a model with them: a missing tensor, by its name.
    config["n_storage_tokens"] = json!(4);
    let error = Scratch::new(&without, Some(("hub_config.json", &config))).error();
    assert!(error.contains("`storage_tokens`: missing"), "{error}");
    // A norm that is not built here is refused by its name.
    config["norm_layer"] = json!("rmsnorm");
    let error = Scratch::new(&without, Some(("hub_config.json", &config))).error();
    assert!(error.contains("`norm_layer` to `rmsnorm`"), "{error}");
}

#[test]
fn what_is_no_network_is_described() {
    let (file, config) = clip();
    let beside = Some((OPEN_CLIP, &config));
    let ones = || Tensor::ones([2, 2], (Kind::Float, Device::Cpu));
    let renamed =
        |from: &'static str, to: &'static str| tensors(&file, move |n| Some(n.replace(from, to)));
    let lora = renamed("mlp.c_fc.weight", "mlp.c_fc.base_layer.weight");
    let error = Scratch::new(&lora, beside).error();
    assert!(error.contains("merge them first"), "{error}");

    let flat = vec![
        ("_flat_param".to_string(), ones()),
        ("x._flat_param".into(), ones()),
    ];
    let error = Scratch::new(&flat, None).error();
    assert!(error.contains("flat shards of FSDP"), "{error}");

    let foreign: Tensors = [
        "layer1.0.conv1.weight",
        "layer1.0.bn1.weight",
        "fc.weight",
        "fc.bias",
    ]
    .map(|n| (n.to_string(), ones()))
    .into();
    let error = Scratch::new(
        &foreign,
        Some(("config.json", &json!({"model_type": "resnet"}))),
    )
    .error();
    for part in [
        "`layer1.0.bn1.weight`",
        "nearest names looked for",
        "model_type `resnet`",
    ] {
        assert!(error.contains(part), "{error}");
    }

    // Long-CLIP's second table of positions.
    let mut long = tensors(&file, |n| Some(n.into()));
    long.push(("positional_embedding_res".into(), ones()));
    let error = Scratch::new(&long, beside).error();
    assert!(
        error.contains("tensor `positional_embedding_res`: unexpected"),
        "{error}"
    );
    // Errors name the tensors as the file does.
    let lost = tensors(&file, |n| {
        (n != "visual.ln_post.weight").then(|| format!("state.module.{n}"))
    });
    let error = Scratch::new(&lost, beside).error();
    assert!(
        error.contains("`state.module.visual.ln_post.weight`: missing"),
        "{error}"
    );
    assert!(
        error.contains("nearest names in the file are `state.module.visual.ln_p"),
        "{error}"
    );
}

#[test]
fn shards_need_no_index_and_one_alone_says_so() {
    let (file, config) = clip();
    let all = tensors(&file, |n| Some(n.into()));
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("open_clip_config.json"), config.to_string()).unwrap();
    let (first, second) = all.split_at(all.len() / 2);
    Tensor::write_safetensors(first, at("model-00001-of-00002.safetensors")).unwrap();
    let error = Checkpoint::open(folder.path()).err().unwrap().to_string();
    assert!(error.contains("1 of 2 shards"), "{error}");
    Tensor::write_safetensors(second, at("model-00002-of-00002.safetensors")).unwrap();
    let whole = recognise::find(&Checkpoint::open(folder.path()).unwrap()).unwrap();
    let whole = whole.build(&BuildOptions::default()).unwrap();
    let plain = Scratch::new(&all, Some((OPEN_CLIP, &config))).network();
    same(plain.as_ref(), whole.as_ref());
    let one = Checkpoint::open(&at("model-00001-of-00002.safetensors")).unwrap();
    let error = recognise::find(&one).and_then(|f| f.build(&BuildOptions::default()));
    let error = error.err().unwrap().to_string();
    assert!(error.contains("shard 1 of 2"), "{error}");
}

/// A trainer's settings beside the weights hide no description, and are none themselves.
#[test]
fn only_an_architectures_own_words_describe_it() {
    let (file, config) = clip();
    let all = tensors(&file, |n| Some(n.into()));
    let scratch = Scratch::new(&all, Some((OPEN_CLIP, &config)));
    let trainer = json!({"model": "ViT-tiny", "lr": 1e-5, "precision": "amp"});
    std::fs::write(scratch.0.path().join("args.json"), trainer.to_string()).unwrap();
    std::fs::write(scratch.0.path().join("model.json"), trainer.to_string()).unwrap();
    let settings = scratch.network().info().settings.clone();
    assert_eq!(settings["activation"], "quick_gelu");
    assert_eq!(settings["activation_from"], "the config (quick_gelu)");
    // A trainer's nested words are found too.
    let nested = json!({"lr": 1, "cfg": {"clip": config["model_cfg"]}});
    let settings = Scratch::new(&all, Some(("args.json", &nested))).network();
    assert_eq!(settings.info().settings["activation"], "quick_gelu");
    // Without any, the activation is a guess, which the record says.
    let guessed = Scratch::new(&all, None).found();
    let guessed = guessed.build(&BuildOptions::default()).unwrap();
    let from = guessed.info().settings["activation_from"].to_string();
    assert!(from.contains("a guess"), "{from}");
}

#[test]
fn settings_of_a_text_tower_are_obeyed_or_refused() {
    let folder = fixture("text/clip_quickgelu");
    let file = folder.join("openclip.safetensors");
    let config = std::fs::read(folder.join("openclip_config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    let tower = |key: &str, value: Value| {
        let mut config = config.clone();
        config["model_cfg"]["text_cfg"][key] = value;
        let checkpoint = Checkpoint {
            config,
            ..Checkpoint::open(&file).unwrap()
        };
        text::load(&checkpoint, &BuildOptions::default())
    };
    let refused = [
        ("pool_type", json!("cls"), "`text_cfg.pool_type` is `cls`"),
        ("embed_cls", json!(true), "`text_cfg.embed_cls` to true"),
        (
            "final_ln_after_pool",
            json!(true),
            "`text_cfg.final_ln_after_pool`",
        ),
        ("proj_type", json!("none"), "`text_cfg.proj_type` is `none`"),
        (
            "tokenizer_kwargs",
            json!({"reduction_mask": "syntax"}),
            "reduction_mask",
        ),
    ];
    for (key, value, expected) in refused {
        let error = tower(key, value).err().expect(key).to_string();
        assert!(error.contains(expected), "{error}");
    }
    // Another tokenizer needs its file.
    let other = tower("hf_tokenizer_name", json!("bert-base-uncased")).unwrap();
    let error = other.tokenize(&["a dog".into()]).unwrap_err().to_string();
    assert!(
        error.contains("hf_tokenizer_name` is `bert-base-uncased`"),
        "{error}"
    );
    assert!(error.contains("tokenizer.json"), "{error}");
    // Mask and pooling change the result.
    let ids = Tensor::from_slice(&[5i64, 7, 199, 0, 3]);
    let ids = Tensor::cat(&[ids, Tensor::zeros([72], (Kind::Int64, Device::Cpu))], 0).view([1, 77]);
    let encode = |key: &str, value: Value| tower(key, value).unwrap().encode(&ids).unwrap();
    let plain = encode("pool_type", json!("argmax"));
    for (key, value) in [
        ("no_causal_mask", json!(true)),
        ("pool_type", json!("last")),
        ("pool_type", json!("first")),
    ] {
        assert_ne!(encode(key, value), plain, "{key}");
    }
    let mut eos = config.clone();
    eos["model_cfg"]["text_cfg"]["pool_type"] = json!("eos");
    eos["model_cfg"]["text_cfg"]["eos_id"] = json!(199);
    let checkpoint = Checkpoint {
        config: eos,
        ..Checkpoint::open(&file).unwrap()
    };
    let eos = text::load(&checkpoint, &BuildOptions::default()).unwrap();
    assert_eq!(eos.encode(&ids).unwrap(), plain);
}

/// The files' own periods, rounded to bf16 or of another base, and the eps of `norm_layer`.
#[test]
fn dinov3_uses_the_periods_of_its_file() {
    for case in ["bf16_rounded", "base_other"] {
        let Some(folder) = shared(&format!("golden/teachers/dinov3_hub_periods/{case}")) else {
            return;
        };
        let io = Tensor::read_safetensors(folder.join("io.safetensors")).unwrap();
        let io: std::collections::HashMap<String, Tensor> = io.into_iter().collect();
        let found = recognise::find(&Checkpoint::open(&folder.join("hub.safetensors")).unwrap());
        let network = found.unwrap().build(&BuildOptions::default()).unwrap();
        let channel = |v: [f64; 3]| Tensor::from_slice(&v).view([1, 3, 1, 1]);
        let (mean, std) = radio_eval::models::normalise::IMAGENET;
        for size in ["64x96", "80x80", "32x160"] {
            let image = io[&format!("{size}.image")].to_kind(Kind::Double);
            let pixels = (image * channel(std) + channel(mean)).to_kind(Kind::Float);
            let out = backbone::run(network.as_ref(), &pixels, &Request::default()).unwrap();
            let off = |name: &str, got: &Tensor| {
                let want = &io[&format!("{size}.{name}")];
                let scale = want.abs().max().double_value(&[]).max(1.0);
                (got - want).abs().max().double_value(&[]) / scale
            };
            assert!(
                off("x_norm_clstoken", &out.summary) <= 1e-5,
                "{case} {size}"
            );
            assert!(
                off("x_norm_patchtokens", &out.spatial) <= 1e-5,
                "{case} {size}"
            );
            let wrong = off("if_recomputed.x_norm_patchtokens", &out.spatial);
            assert!(wrong > 1e-3, "{case} {size}: {wrong}");
        }
    }
}
