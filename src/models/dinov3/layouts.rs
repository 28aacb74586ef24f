//! Where DINOv3's tensors lie in files of the hub and of transformers. Our names are the hub's,
//! with the two matrices in front of a SwiGLU as one.

use crate::Result;
use crate::weights::Place::{Named, Stacked};
use crate::weights::{Checkpoint, Layout, LazyTensor, Source, StateDict, Table};
use tch::{Device, Tensor};

const HUB: Table = &[(
    "blocks.*.mlp.w12",
    Stacked(&["blocks.*.mlp.w1", "blocks.*.mlp.w2"]),
)];

const TRANSFORMERS: Table = &[
    ("cls_token", Named("embeddings.cls_token")),
    ("mask_token", Named("embeddings.mask_token")),
    ("storage_tokens", Named("embeddings.register_tokens")),
    ("patch_embed.proj", Named("embeddings.patch_embeddings")),
    ("blocks.*.norm1", Named("layer.*.norm1")),
    ("blocks.*.norm2", Named("layer.*.norm2")),
    (
        "blocks.*.attn.qkv",
        Stacked(&[
            "layer.*.attention.q_proj",
            "layer.*.attention.k_proj",
            "layer.*.attention.v_proj",
        ]),
    ),
    ("blocks.*.attn.proj", Named("layer.*.attention.o_proj")),
    ("blocks.*.ls1.gamma", Named("layer.*.layer_scale1.lambda1")),
    ("blocks.*.ls2.gamma", Named("layer.*.layer_scale2.lambda1")),
    ("blocks.*.mlp.fc1", Named("layer.*.mlp.fc1")),
    ("blocks.*.mlp.fc2", Named("layer.*.mlp.fc2")),
    (
        "blocks.*.mlp.w12",
        Stacked(&["layer.*.mlp.gate_proj", "layer.*.mlp.up_proj"]),
    ),
    ("blocks.*.mlp.w3", Named("layer.*.mlp.down_proj")),
];

/// The file in our names, and the layout for errors; `None` where it is no DINOv3.
pub fn ours(checkpoint: &Checkpoint) -> Option<(Layout, Result<Checkpoint>)> {
    if checkpoint.has("storage_tokens") && checkpoint.has("blocks.0.attn.qkv.weight") {
        let layout = Layout::new("", HUB);
        let file = layout.apply(checkpoint).map(mask_key_bias);
        return Some((layout, file));
    }
    // transformers 5 says `model.layer` in memory.
    let file = checkpoint.renamed(|key| Some(key.strip_prefix("model.").unwrap_or(key).into()));
    if !file.has("embeddings.register_tokens") || !file.has("layer.0.attention.q_proj.weight") {
        return None;
    }
    let layout = Layout::new("", TRANSFORMERS);
    let file = layout.apply(&with_all_parts(file));
    Some((layout, file))
}

/// transformers has no key bias, and calls the MLP's matrices like those of the gated one.
fn with_all_parts(mut file: Checkpoint) -> Checkpoint {
    let gated = file.has("layer.0.mlp.gate_proj.weight");
    let Source::File(tensors) = &mut file.source else {
        return file;
    };
    let mut all = StateDict::new();
    for (key, tensor) in tensors.iter() {
        let mlp = |from: &str, to: &str| (!gated).then(|| key.replace(from, to));
        let name = match key.rsplit('.').nth(1) {
            Some("up_proj") => mlp(".up_proj.", ".fc1."),
            Some("down_proj") => mlp(".down_proj.", ".fc2."),
            _ => None,
        };
        all.insert(name.unwrap_or_else(|| key.clone()), tensor.clone());
        let beside = key
            .strip_suffix("q_proj.bias")
            .map(|p| format!("{p}k_proj.bias"));
        if let Some(k) = beside.filter(|k| !tensors.contains_key(k)) {
            all.insert(k, zeros(tensor));
        }
    }
    *tensors = all;
    file
}

fn zeros(like: &LazyTensor) -> LazyTensor {
    let (shape, kind) = (like.shape.clone(), like.kind);
    LazyTensor::computed(like.shape.clone(), kind, move || {
        Ok(Tensor::f_zeros(&shape, (kind, Device::Cpu))?)
    })
}

/// The hub keeps a key bias in its files and multiplies it by zero with a mask beside it, which
/// may be absent or not filled in (NaN): then it is 1, 0, 1 over q, k, v.
fn mask_key_bias(mut file: Checkpoint) -> Checkpoint {
    let Source::File(tensors) = &mut file.source else {
        return file;
    };
    let biases: Vec<String> = tensors
        .keys()
        .filter(|key| key.ends_with(".attn.qkv.bias"))
        .cloned()
        .collect();
    for key in biases {
        let mask = tensors.shift_remove(&format!("{key}_mask"));
        let Some(bias) = tensors.get(&key).cloned() else {
            continue;
        };
        let shape = bias.shape.clone();
        let masked = LazyTensor::computed(shape, bias.kind, move || {
            let bias = bias.read_stored()?;
            let default = default_mask(&bias)?;
            let mask = match &mask {
                None => default,
                Some(mask) => {
                    let mask = mask.read(Device::Cpu, bias.kind())?;
                    let unset = mask.f_isnan()?;
                    default.f_where_self(&unset, &mask)?
                }
            };
            Ok(bias.f_mul(&mask)?)
        });
        tensors.insert(key, masked);
    }
    file
}

/// 1, 0, 1 over the thirds of a fused bias.
fn default_mask(bias: &Tensor) -> Result<Tensor> {
    let third = bias.numel() as i64 / 3;
    let part = Tensor::f_ones([third], (bias.kind(), Device::Cpu))?;
    Ok(Tensor::f_cat(&[&part, &part.f_zeros_like()?, &part], 0)?)
}
