//! Perception Encoder against a restatement of upstream's code in NumPy (`fixtures/teachers/pe`).

use super::{Golden, bf16_agrees, model, run};
use radio_eval::models::architecture::build;
use radio_eval::models::{Backbone, BuildOptions, recognise, text, zoo};
use radio_eval::weights::{Checkpoint, StateDict, WeightSource, safetensors};
use tch::Tensor;

/// Heads are as wide as in no released model, so that upstream's config has to tell their number.
fn open(case: &str) -> Checkpoint {
    let file = crate::common::fixture(&format!("teachers/pe/{case}.safetensors"));
    let mut checkpoint = Checkpoint::open(&file).expect("a readable file");
    checkpoint.config = serde_json::json!({"use_rope2d": true, "patch_size": 4, "heads": 2});
    checkpoint
}

fn golden(case: &str) -> Golden {
    Golden::open(&crate::common::fixture(&format!(
        "teachers/pe/{case}.io.safetensors"
    )))
}

#[track_caller]
fn rest(golden: &Golden, name: &str, prefix: i64) -> Tensor {
    let tokens = golden.get(name);
    tokens.narrow(1, prefix, tokens.size()[1] - prefix)
}

#[track_caller]
fn close(name: &str, got: &Tensor, want: &Tensor) {
    assert_eq!(got.size(), want.size(), "{name}");
    let difference = (got - want).abs().max().double_value(&[]);
    let allowed = 1e-5 * want.abs().max().double_value(&[]).max(1.0);
    assert!(difference <= allowed, "{name}: off by {difference:e}");
}

#[test]
fn core_equals_the_restatement() {
    for (case, sizes, prefix) in [
        ("core", ["16x16", "20x8"], 1),
        ("core_g", ["12x12", "20x8"], 0),
    ] {
        let (file, golden) = (open(case), golden(case));
        let network = model(&file, &BuildOptions::default());
        assert_eq!(network.info().prefix_tokens, prefix);
        assert_eq!(
            network.info().settings["mean"],
            serde_json::json!([0.5, 0.5, 0.5])
        );
        for size in sizes {
            let image = golden.get(&format!("{size}.image"));
            let out = run(network.as_ref(), image, &["clip"]);
            golden.close(&format!("{size}.pooled"), &out.summary);
            golden.close(&format!("{size}.projected"), &out.adaptors["clip"].summary);
            let patches = rest(&golden, &format!("{size}.tokens"), prefix);
            close(case, &out.spatial, &patches);
        }
        bf16_agrees(&file, golden.get("20x8.image"));
    }
}

#[test]
fn spatial_equals_the_restatement() {
    for (case, sizes, prefix) in [
        ("spatial", ["16x16", "20x8"], 1),
        ("spatial_g", ["12x12", "20x8"], 0),
    ] {
        let (file, golden) = (open(case), golden(case));
        let network = model(&file, &BuildOptions::default());
        assert!(network.info().adaptors.is_empty());
        for size in sizes {
            let image = golden.get(&format!("{size}.image"));
            let out = run(network.as_ref(), image, &[]);
            let name = format!("{size}.tokens");
            let patches = rest(&golden, &name, prefix);
            close(case, &out.spatial, &patches);
            let summary = match prefix {
                0 => patches.mean_dim(1, false, None),
                _ => golden.get(&name).select(1, 0),
            };
            close(case, &out.summary, &summary);
        }
    }
}

/// What a released PE-Core holds: text at the root, images under `visual.`; strict on both sides.
#[test]
fn the_whole_file_with_its_text_tower() {
    let images = open("core");
    let clip = crate::common::fixture("text/clip_quickgelu/openclip.safetensors");
    let (clip, _) = safetensors::open(&clip).unwrap();
    let mut tensors: StateDict = images.tensors().unwrap().clone();
    tensors.extend(
        clip.into_iter()
            .filter(|(name, _)| !name.starts_with("visual.")),
    );
    let with = |extra: Option<&str>| {
        let mut tensors = tensors.clone();
        if let Some(name) = extra {
            let one = tensors.values().next().unwrap().clone();
            tensors.insert(name.into(), one);
        }
        Checkpoint {
            source: WeightSource::File(tensors),
            ..images.clone()
        }
    };
    let mut whole = with(None);
    whole.config["text_config"] = serde_json::json!({"num_attention_heads": 2});
    assert_eq!(recognise::find(&whole).unwrap().architecture.name(), "pe");
    assert!(build(&whole, &BuildOptions::default()).is_ok());
    let refused = build(
        &with(Some("visual.attn_pool.extra")),
        &BuildOptions::default(),
    );
    let refused = refused.err().unwrap().to_string();
    assert!(
        refused.contains("`visual.attn_pool.extra`: unexpected"),
        "{refused}"
    );
    // The same tower as a CLIP whose config says which activation.
    let embed = |file: &Checkpoint| {
        let tower = text::load(file, &BuildOptions::default()).unwrap();
        let ids = (0..tower.context() as i64).map(|i| (i * 7) % 200);
        let tokens = Tensor::from_slice(&ids.collect::<Vec<_>>()).unsqueeze(0);
        tower.encode(&tokens).unwrap()
    };
    let clip = |quick: bool| {
        let of_text = |name: &str| (!name.starts_with("visual.")).then(|| name.to_string());
        let mut clip = whole.renamed(of_text);
        let text_cfg = serde_json::json!({"heads": 2});
        clip.config = serde_json::json!({"model_cfg": {"quick_gelu": quick, "text_cfg": text_cfg}});
        embed(&clip)
    };
    assert_eq!(embed(&whole), clip(false));
    assert_ne!(embed(&whole), clip(true));
}

/// Entries of the zoo build with the sizes that upstream's README gives in billions.
#[test]
fn sizes_of_the_zoo() {
    for (name, billions, preferred) in [
        ("pe-core-b16-224", 0.09, 224),
        ("pe-core-t16-384", 0.01, 384),
        ("pe-spatial-t16-512", 0.01, 512),
    ] {
        let checkpoint = Checkpoint::random((zoo::find(name).unwrap().config)(), 1);
        let network: Box<dyn Backbone> = build(&checkpoint, &BuildOptions::default()).unwrap();
        let info = network.info();
        let counted = info.parameters as f64 / 1e9;
        assert!(
            (counted - billions).abs() < 0.006,
            "{name}: {counted} billion"
        );
        assert_eq!(Some(info.parameters), zoo::find(name).unwrap().parameters);
        assert_eq!(info.preferred, (preferred, preferred));
    }
}
