use super::{Golden, bf16_agrees, model, open, run};
use radio_eval::models::BuildOptions;
use radio_eval::models::normalise::IMAGENET;
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
