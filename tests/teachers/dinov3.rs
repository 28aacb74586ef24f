use super::{Golden, bf16_agrees, cases, dimmed, model, open, run};
use radio_eval::models::BuildOptions;
use radio_eval::models::normalise::IMAGENET;
use tch::Tensor;

#[test]
fn both_layouts_equal_the_official_code() {
    for folder in cases(&[], &["dinov3_mlp", "dinov3_gated"]) {
        let golden = Golden::open(&folder.join("io.safetensors"));
        let hub = open(
            &folder.join("hub.safetensors"),
            &folder.join("hub_config.json"),
        );
        let hf = folder.join("hf");
        let hf = open(&hf.join("model.safetensors"), &hf.join("config.json"));
        for size in ["64x96", "80x80"] {
            let name = |n: &str| format!("{size}.{n}");
            let image = golden.pixels(&name("image"), IMAGENET);
            let out = run(model(&hub, &BuildOptions::default()).as_ref(), &image, &[]);
            golden.close(&name("x_norm_clstoken"), &out.summary);
            golden.close(&name("x_norm_patchtokens"), &out.spatial);
            let out = run(model(&hf, &BuildOptions::default()).as_ref(), &image, &[]);
            let want = name("hf.last_hidden_state");
            let registers = golden.get(&want).narrow(1, 1, 4);
            let all = Tensor::cat(&[out.summary.unsqueeze(1), registers, out.spatial], 1);
            golden.close(&want, &all);
        }
        let embedding = |name: &str| {
            ["patch_embed.", "cls_token", "storage_tokens", "embeddings."]
                .iter()
                .any(|p| name.starts_with(p))
        };
        let image = golden.pixels("64x96.image", IMAGENET);
        for file in [&hub, &hf] {
            let probe = model(&dimmed(file, embedding), &BuildOptions::default());
            let out = run(probe.as_ref(), &image, &[]);
            golden.close("eps_probe.64x96.x_norm_patchtokens", &out.spatial);
            bf16_agrees(file, &image);
        }
        // Without the mask in the file the key bias is zero all the same.
        let bare = hub.renamed(|k| (!k.ends_with("bias_mask")).then(|| k.to_string()));
        let out = run(model(&bare, &BuildOptions::default()).as_ref(), &image, &[]);
        golden.close("64x96.x_norm_patchtokens", &out.spatial);
    }
}
