//! Where DINOv3's tensors lie in files of the hub, transformers and timm. Our names are the hub's,
//! with the two matrices in front of a SwiGLU as one.

use crate::Result;
use crate::weights::KeyPlace::{Named, Stacked};
use crate::weights::layout::stacked;
use crate::weights::{Checkpoint, KeyLayout, KeyTable, LazyTensor, StateDict, WeightSource};
use serde_json::Value;
use tch::{Device, Tensor};

const HUB: KeyTable = &[(
    "blocks.*.mlp.w12",
    Stacked(&["blocks.*.mlp.w1", "blocks.*.mlp.w2"]),
)];

const TRANSFORMERS: KeyTable = &[
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

/// timm's `Eva`, which its DINOv3 are.
const TIMM: KeyTable = &[
    ("storage_tokens", Named("reg_token")),
    ("blocks.*.ls1.gamma", Named("blocks.*.gamma_1")),
    ("blocks.*.ls2.gamma", Named("blocks.*.gamma_2")),
    (
        "blocks.*.attn.qkv",
        Stacked(&[
            "blocks.*.attn.q_proj",
            "blocks.*.attn.k_proj",
            "blocks.*.attn.v_proj",
        ]),
    ),
];
/// The same with a SwiGLU, whose last matrix timm calls like an MLP's.
const TIMM_GATED: KeyTable = &[
    ("storage_tokens", Named("reg_token")),
    ("blocks.*.ls1.gamma", Named("blocks.*.gamma_1")),
    ("blocks.*.ls2.gamma", Named("blocks.*.gamma_2")),
    (
        "blocks.*.mlp.w12",
        Stacked(&["blocks.*.mlp.fc1_g", "blocks.*.mlp.fc1_x"]),
    ),
    ("blocks.*.mlp.w3", Named("blocks.*.mlp.fc2")),
];

/// Whose file it is: decides names, and whether positions are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Hub,
    Transformers,
    Timm,
}

/// Whose layout a file is in; `None` where it is no DINOv3. None of them stores positions of
/// patches, which DINOv2 does.
pub fn find(checkpoint: &Checkpoint) -> Option<Origin> {
    let has = |name: &str| checkpoint.has(name);
    let attends = has("blocks.0.attn.qkv.weight") || has("blocks.0.attn.q_proj.weight");
    if has("cls_token") && attends && !has("pos_embed") {
        if has("blocks.0.ls1.gamma") {
            return Some(Origin::Hub);
        }
        return has("blocks.0.gamma_1").then_some(Origin::Timm);
    }
    let transformers = has("embeddings.cls_token")
        && !has("embeddings.position_embeddings")
        && (has("layer.0.attention.q_proj.weight") || has("model.layer.0.attention.q_proj.weight"));
    transformers.then_some(Origin::Transformers)
}

/// Whether a config speaks of such a network.
pub fn describes(config: &Value) -> bool {
    let named = |key: &str| {
        let name = config[key].as_str();
        name.is_some_and(|name| name.contains("dinov3"))
    };
    named("model_type")
        || named("architecture")
        || named("arch")
        || config["pos_embed_rope_base"].is_number()
        || config["n_storage_tokens"].is_i64()
}

/// The file in our names, and the layout for errors.
pub fn ours(checkpoint: &Checkpoint, origin: Origin) -> (KeyLayout, Result<Checkpoint>) {
    match origin {
        Origin::Hub => {
            let layout = KeyLayout::new("", HUB);
            let file = layout.apply(checkpoint).map(mask_key_bias);
            (layout, file)
        }
        Origin::Timm => {
            let gated = checkpoint.has("blocks.0.mlp.fc1_g.weight");
            let layout = KeyLayout::new("", if gated { TIMM_GATED } else { TIMM });
            let file = layout.apply(&with_key_bias(checkpoint.clone()));
            (layout, file)
        }
        Origin::Transformers => {
            // transformers 5 says `model.layer` in memory.
            let file = checkpoint
                .renamed(|key| Some(key.strip_prefix("model.").unwrap_or(key).to_string()));
            let layout = KeyLayout::new("", TRANSFORMERS);
            let file = layout.apply(&with_all_parts(file));
            (layout, file)
        }
    }
}

/// timm keeps the biases of queries and values apart from the matrix; the keys' is zero and not in
/// its files.
fn with_key_bias(mut file: Checkpoint) -> Checkpoint {
    let WeightSource::File(tensors) = &mut file.source else {
        return file;
    };
    let attentions: Vec<String> = tensors
        .keys()
        .filter_map(|key| Some(key.strip_suffix("q_bias")?.to_string()))
        .collect();
    for attention in attentions {
        let Some(v) = tensors.get(&format!("{attention}v_bias")).cloned() else {
            continue;
        };
        let k = tensors.shift_remove(&format!("{attention}k_bias"));
        let Some(q) = tensors.shift_remove(&format!("{attention}q_bias")) else {
            continue;
        };
        tensors.shift_remove(&format!("{attention}v_bias"));
        let k = k.unwrap_or_else(|| zeros(&q));
        if let Some(bias) = stacked(vec![q, k, v]) {
            tensors.insert(format!("{attention}qkv.bias"), bias);
        }
    }
    let unfused: Vec<(String, LazyTensor)> = tensors
        .iter()
        .filter_map(|(key, q)| {
            let attention = key.strip_suffix("attn.q_proj.bias")?;
            let k = format!("{attention}attn.k_proj.bias");
            (!tensors.contains_key(&k)).then(|| (k, zeros(q)))
        })
        .collect();
    tensors.extend(unfused);
    file
}

/// transformers has no key bias, and calls the MLP's matrices like those of the gated one.
fn with_all_parts(mut file: Checkpoint) -> Checkpoint {
    let gated = file.has("layer.0.mlp.gate_proj.weight");
    let WeightSource::File(tensors) = &mut file.source else {
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
    let WeightSource::File(tensors) = &mut file.source else {
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
