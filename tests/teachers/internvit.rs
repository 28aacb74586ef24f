use super::{Golden, bf16_agrees, model, open, run};
use radio_eval::models::BuildOptions;
use radio_eval::models::architecture::build;
use radio_eval::models::normalise::IMAGENET;
use radio_eval::weights::{Checkpoint, StateDict, WeightSource};
use tch::Tensor;

/// Against transformers' `InternVLVisionModel` with RMS norms and QK norms (the same network under
/// other names); its config claims a block more than the file has, as with the 448 px model.
#[test]
fn equals_transformers_and_counts_the_blocks() {
    let folder = crate::common::fixture("teachers/internvit");
    let golden = Golden::open(&folder.join("io.safetensors"));
    let file = open(
        &folder.join("model.safetensors"),
        &folder.join("config.json"),
    );
    let network = model(&file, &BuildOptions::default());
    assert_eq!(network.info().settings["blocks"], 2);
    assert_eq!(network.info().preferred, (56, 56));
    for size in ["56x56", "42x70"] {
        let image = golden.pixels(&format!("{size}.image"), IMAGENET);
        let out = run(network.as_ref(), &image, &[]);
        let all = Tensor::cat(&[out.summary.unsqueeze(1), out.spatial], 1);
        golden.close(&format!("{size}.last_hidden_state"), &all);
    }
    bf16_agrees(&file, &golden.pixels("42x70.image", IMAGENET));
}

/// InternVL's own files hold more than the tower; what is none of theirs is an error all the same.
#[test]
fn internvl_files_hold_more() {
    let folder = crate::common::fixture("teachers/internvit");
    let file = open(
        &folder.join("model.safetensors"),
        &folder.join("config.json"),
    );
    let tensors = file.tensors().unwrap();
    let prefix = match tensors.contains_key("vision_model.embeddings.class_embedding") {
        true => "",
        false => "vision_model.",
    };
    let with = |names: &[&str]| {
        let mut tensors: StateDict = (tensors.iter())
            .map(|(name, tensor)| (format!("{prefix}{name}"), tensor.clone()))
            .collect();
        let one = tensors.values().next().unwrap().clone();
        for name in names {
            tensors.insert(name.to_string(), one.clone());
        }
        let source = WeightSource::File(tensors);
        let file = Checkpoint {
            source,
            ..file.clone()
        };
        build(&file, &BuildOptions::default())
    };
    assert!(with(&["language_model.lm_head.weight", "mlp1.0.weight"]).is_ok());
    let refused = with(&["vision_modle.x"]).err().unwrap().to_string();
    assert!(
        refused.contains("`vision_modle.x`: unexpected"),
        "{refused}"
    );
}
