use super::{Golden, bf16_agrees, cases, dimmed, edited, model, open, run};
use radio_eval::models::BuildOptions;
use radio_eval::models::architecture::build;
use radio_eval::models::normalise::HALF;
use radio_eval::weights::Checkpoint;
use std::path::Path;

fn open_clip(folder: &Path) -> Checkpoint {
    open(
        &folder.join("openclip.safetensors"),
        &folder.join("openclip_config.json"),
    )
}

fn embedding(name: &str) -> bool {
    let names = ["visual.trunk.patch_embed", "visual.trunk.pos_embed"];
    names.iter().any(|n| name.starts_with(n)) || name.starts_with("vision_model.embeddings.")
}

#[test]
fn both_layouts_equal_the_official_code() {
    for folder in cases(
        &["siglip_so400m_like"],
        &["siglip_so400m_like", "siglip2_gopt_like"],
    ) {
        let golden = Golden::open(&folder.join("io.safetensors"));
        let image = golden.pixels("image", HALF);
        let resized = golden.pixels("resized.image", HALF);
        let file = open_clip(&folder);
        let network = model(&file, &BuildOptions::default());
        let adaptor = network.info().adaptors[0].clone();
        let siglip2 = folder.ends_with("siglip2_gopt_like");
        assert_eq!(adaptor, if siglip2 { "siglip2" } else { "siglip" });
        let out = run(network.as_ref(), &image, &[&adaptor]);
        golden.close("image_tokens", &out.spatial);
        golden.close("image_features", &out.summary);
        golden.close("image_features", &out.adaptors[&adaptor].summary);
        let out = run(network.as_ref(), &resized, &[]);
        golden.close("resized.timm.tokens", &out.spatial);
        golden.close("resized.timm.pooled", &out.summary);
        let probe = model(&dimmed(&file, embedding), &BuildOptions::default());
        let out = run(probe.as_ref(), &image, &[]);
        golden.close("eps_probe.image_features", &out.summary);
        bf16_agrees(&file, &image);

        let hf = folder.join("hf");
        if !hf.exists() {
            continue;
        }
        let file = open(&hf.join("model.safetensors"), &hf.join("config.json"));
        let network = model(&file, &BuildOptions::default());
        let out = run(network.as_ref(), &image, &[]);
        // transformers runs the tanh approximation with the same weights.
        let (tokens, pooled) = match golden.has("hf_tanh.pooler_output") {
            true => ("hf_tanh.last_hidden_state", "hf_tanh.pooler_output"),
            false => ("image_tokens", "image_features"),
        };
        golden.close(tokens, &out.spatial);
        golden.close(pooled, &out.summary);
        let out = run(network.as_ref(), &resized, &[]);
        golden.close("resized.hf.last_hidden_state", &out.spatial);
        golden.close("resized.hf.pooler_output", &out.summary);
    }
}

/// Any grid from one table, patches through a matrix (transformers `Siglip2Model`).
#[test]
fn naflex_equals_the_official_code() {
    for folder in cases(&["siglip2_naflex"], &["siglip2_naflex_like"]) {
        let golden = Golden::open(&folder.join("io.safetensors"));
        let hf = folder.join("hf");
        let file = open(&hf.join("model.safetensors"), &hf.join("config.json"));
        let network = model(&file, &BuildOptions::default());
        assert_eq!(network.info().adaptors, ["siglip2"]);
        let grids = ["4x4", "3x6", "2x3"];
        for grid in grids.iter().filter(|g| golden.has(&format!("{g}.image"))) {
            let image = golden.pixels(&format!("{grid}.image"), HALF);
            let out = run(network.as_ref(), &image, &[]);
            golden.close(&format!("{grid}.last_hidden_state"), &out.spatial);
            golden.close(&format!("{grid}.pooler_output"), &out.summary);
        }
        bf16_agrees(&file, &golden.pixels("3x6.image", HALF));
    }
}

/// 60 pixels do not divide by 14: the native size is taken all the same, others are not.
#[test]
fn the_native_size_need_not_divide() {
    let network = model(
        &open_clip(&crate::common::fixture("teachers/siglip_so400m_like")),
        &BuildOptions::default(),
    );
    let info = network.info();
    assert_eq!(info.preferred, (56, 56));
    assert!(info.check_resolution(60, 60).is_ok());
    assert!(info.check_resolution(56, 70).is_ok());
    let error = info.check_resolution(60, 56).unwrap_err().to_string();
    assert!(error.contains("56x56"), "{error}");
}

#[test]
fn a_missing_part_of_the_pool_is_named() {
    let file = open_clip(&crate::common::fixture("teachers/siglip_so400m_like"));
    let name = "visual.trunk.attn_pool.kv.bias";
    let missing = edited(&file, |k, t| (k != name).then(|| t.clone()));
    let error = build(&missing, &BuildOptions::default()).err().unwrap();
    assert!(
        error.to_string().contains(&format!("`{name}`: missing")),
        "{error}"
    );
}
