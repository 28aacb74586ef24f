//! The changed layers alone: both correlations with their cut, LayerScale, SigLIP's pool.

use super::goldens::{Golden, student};
use crate::common::fixture;
use radio_eval::models::architecture::build;
use radio_eval::models::dense::{LastAttention, LastBlock, TextAligned, tokens};
use radio_eval::models::layers::{Attention, Linear};
use radio_eval::models::vit::TokenSplit;
use radio_eval::models::{BuildOptions, Request, backbone, radio::RadioVit};
use radio_eval::tasks::segment_text::segmenter::aggregate;
use radio_eval::weights::Checkpoint;
use tch::{Kind, Tensor};

/// Most similarities are negative here: a forgotten cut shows.
#[test]
fn correlations_cut_negative_entries() {
    let golden = Golden::open(&fixture("open_vocabulary/ops.safetensors"));
    let linear = |name: &str| {
        let get = |what: &str| golden.get(&format!("scra.{name}_{what}")).shallow_clone();
        Linear::from_tensors(get("weight"), Some(get("bias"))).unwrap()
    };
    let heads = golden.meta["heads"].as_i64().unwrap();
    let attention = Attention::from_parts(linear("qkv"), linear("proj"), heads);
    let scale = golden.meta["scra_scale"].as_f64().unwrap();
    let split = TokenSplit {
        prefix: 0,
        grid: (1, 23),
    };
    let input = golden.get("scra.input");
    let recursive = LastAttention::Recursive { scale };
    golden.close(
        "scra.output",
        &recursive.forward(&attention, input, split, None),
    );

    let map = golden
        .get("scga.input")
        .squeeze_dim(0)
        .permute([1, 2, 0])
        .contiguous();
    let scale = golden.meta["scga_scale"].as_f64().unwrap();
    let output = aggregate(&map, scale).unwrap();
    golden.close("scga.output", &output.permute([2, 0, 1]).unsqueeze(0));
}

fn unit(x: &Tensor) -> Tensor {
    x / x.norm_scalaropt_dim(2.0, [-1], true).clamp_min(1e-12)
}

/// A v3 network written out, with SCRA in its last block where `scale` says so; patch features.
fn restated(model: &RadioVit, file: &Checkpoint, x: &Tensor, scale: Option<f64>) -> Tensor {
    let tensor = |name: &str| {
        let name = format!("base_model.blocks.{name}");
        file.tensors().unwrap()[&name].read_stored().unwrap()
    };
    let linear = |x: &Tensor, name: &str| {
        let bias = tensor(&format!("{name}.bias"));
        x.linear(&tensor(&format!("{name}.weight")), Some(&bias))
    };
    let norm = |x: &Tensor, name: &str| {
        let (weight, bias) = (
            tensor(&format!("{name}.weight")),
            tensor(&format!("{name}.bias")),
        );
        x.layer_norm(weight.size(), Some(&weight), Some(&bias), 1e-6, true)
    };
    let (heads, depth) = (model.config().heads, model.config().depth);
    let mut x = model.embed(x);
    let (b, n, c) = x.size3().unwrap();
    let split = |x: &Tensor| x.view([b, n, heads, c / heads]).transpose(1, 2);
    let merge = |x: &Tensor| x.transpose(1, 2).reshape([b, n, c]);
    for i in 0..depth {
        let qkv = linear(&norm(&x, &format!("{i}.norm1")), &format!("{i}.attn.qkv"));
        let parts: Vec<Tensor> = qkv.chunk(3, -1).iter().map(&split).collect();
        let d = (c / heads) as f64;
        let weights = (parts[0].matmul(&parts[1].transpose(-1, -2)) / d.sqrt()).softmax(-1, None);
        let proj = format!("{i}.attn.proj");
        let mut y = linear(&merge(&weights.matmul(&parts[2])), &proj);
        if let (true, Some(scale)) = (i + 1 == depth, scale) {
            let first = unit(&split(&y));
            let s = first.matmul(&first.transpose(-1, -2)) * scale;
            let s = s
                .masked_fill(&s.lt(0.0), f64::NEG_INFINITY)
                .softmax(-1, None);
            y = linear(&merge(&s.matmul(&parts[2])), &proj);
        }
        x += y * tensor(&format!("{i}.ls1.grandma"));
        let hidden = linear(&norm(&x, &format!("{i}.norm2")), &format!("{i}.mlp.fc1"));
        let y = linear(&hidden.gelu("none"), &format!("{i}.mlp.fc2"));
        x += y * tensor(&format!("{i}.ls2.grandma"));
    }
    let prefix = model.config().prefix_tokens;
    x.narrow(1, prefix, n - prefix)
}

/// The first projection of SCRA goes without the LayerScale that is folded into the weights.
#[test]
fn recursion_knows_layer_scale() {
    let folder = fixture("radio/v3_like");
    let loaded = student(&folder);
    let file = &loaded.checkpoint;
    let model = RadioVit::load(file, &BuildOptions::default()).unwrap();
    let image = Tensor::rand([1, 3, 64, 96], (Kind::Float, tch::Device::Cpu));
    let close = |ours: &Tensor, wanted: &Tensor| {
        let worst = (ours - wanted).abs().max().double_value(&[]);
        let largest = wanted.abs().max().double_value(&[]).max(1.0);
        assert!(worst <= 2e-5 * largest, "{worst:e} of {largest}");
    };
    let ordinary = backbone::run(&model, &image, &Request::default()).unwrap();
    close(&ordinary.spatial, &restated(&model, file, &image, None));
    let last = LastBlock {
        attention: LastAttention::Recursive { scale: 10.0 },
        ..LastBlock::ORDINARY
    };
    let (found, grid) = tokens(&model, &image, &last).unwrap();
    assert_eq!(grid, (4, 6));
    let wanted = restated(&model, file, &image, Some(10.0));
    close(&found, &wanted);
    assert!((&ordinary.spatial - &wanted).abs().max().double_value(&[]) > 1e-3);
}

/// One token as the only key: its value, projected, and the pool's MLP.
#[test]
fn siglip_pools_each_patch_alone() {
    let folder = fixture("teachers/siglip_so400m_like");
    let config = std::fs::read(folder.join("openclip_config.json")).unwrap();
    let file = Checkpoint {
        config: serde_json::from_slice(&config).unwrap(),
        ..Checkpoint::open(&folder.join("openclip.safetensors")).unwrap()
    };
    let model = build(&file, &BuildOptions::default()).unwrap();
    let aligned: &dyn TextAligned = model.text_aligned().unwrap();
    let (height, width) = model.info().preferred;
    let image = Tensor::rand([1, 3, height, width], (Kind::Float, tch::Device::Cpu));
    let (tokens, _) = tokens(model.as_ref(), &image, &LastBlock::ORDINARY).unwrap();
    let adaptor = model.info().adaptors[0].clone();
    let each = aligned.align(&tokens, &adaptor).unwrap();
    let tensor = |name: &str| {
        let name = format!("visual.trunk.attn_pool.{name}");
        file.tensors().unwrap()[&name].read_stored().unwrap()
    };
    let linear = |x: &Tensor, name: &str| {
        let bias = tensor(&format!("{name}.bias"));
        x.linear(&tensor(&format!("{name}.weight")), Some(&bias))
    };
    let value = linear(&tokens, "kv").chunk(2, -1).remove(1);
    let r = linear(&value, "proj");
    let (weight, bias) = (tensor("norm.weight"), tensor("norm.bias"));
    let normed = r.layer_norm(weight.size(), Some(&weight), Some(&bias), 1e-6, true);
    let exact = linear(&linear(&normed, "mlp.fc1").gelu("none"), "mlp.fc2");
    let tanh = linear(&linear(&normed, "mlp.fc1").gelu("tanh"), "mlp.fc2");
    let off = |mlp: &Tensor| (&each - (&r + mlp)).abs().max().double_value(&[]);
    assert!(
        off(&exact).min(off(&tanh)) < 1e-5,
        "{} {}",
        off(&exact),
        off(&tanh)
    );
    // And the pool over one token gives the same as the summary of that token alone.
    assert_eq!(each.size()[..2], tokens.size()[..2]);
}
