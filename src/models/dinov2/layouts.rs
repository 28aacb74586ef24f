//! Where DINOv2's tensors lie in files of the hub, transformers and timm. Our names are the hub's.

use crate::Result;
use crate::weights::KeyPlace::{Named, Stacked};
use crate::weights::{Checkpoint, KeyLayout, KeyTable};
use serde_json::Value;

/// Whose file it is: decides names and the position rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Hub,
    Transformers,
    Timm,
}

/// What stands in front of the backbone in transformers' classifiers.
const PREFIXES: &[&str] = &["", "dinov2.", "dinov2_with_registers."];

const HUB: KeyTable = &[];

/// timm calls the halves of a SwiGLU fc1/fc2 like those of an MLP; [`Origin::Timm`] files with a
/// SwiGLU use the second table.
const TIMM: KeyTable = &[("register_tokens", Named("reg_token"))];
const TIMM_SWIGLU: KeyTable = &[
    ("register_tokens", Named("reg_token")),
    ("blocks.*.mlp.w12", Named("blocks.*.mlp.fc1")),
    ("blocks.*.mlp.w3", Named("blocks.*.mlp.fc2")),
];

/// transformers `Dinov2Model`, `Dinov2WithRegistersModel`: names on disk, then those that
/// transformers 5 uses in memory.
const TRANSFORMERS: KeyTable = &[
    ("cls_token", Named("embeddings.cls_token")),
    ("mask_token", Named("embeddings.mask_token")),
    ("register_tokens", Named("embeddings.register_tokens")),
    ("pos_embed", Named("embeddings.position_embeddings")),
    (
        "patch_embed.proj",
        Named("embeddings.patch_embeddings.projection"),
    ),
    ("blocks.*.norm1", Named("encoder.layer.*.norm1")),
    ("blocks.*.norm2", Named("encoder.layer.*.norm2")),
    (
        "blocks.*.attn.qkv",
        Stacked(&[
            "encoder.layer.*.attention.attention.query",
            "encoder.layer.*.attention.attention.key",
            "encoder.layer.*.attention.attention.value",
        ]),
    ),
    (
        "blocks.*.attn.proj",
        Named("encoder.layer.*.attention.output.dense"),
    ),
    (
        "blocks.*.ls1.gamma",
        Named("encoder.layer.*.layer_scale1.lambda1"),
    ),
    (
        "blocks.*.ls2.gamma",
        Named("encoder.layer.*.layer_scale2.lambda1"),
    ),
    ("blocks.*.mlp.fc1", Named("encoder.layer.*.mlp.fc1")),
    ("blocks.*.mlp.fc2", Named("encoder.layer.*.mlp.fc2")),
    ("blocks.*.mlp.w12", Named("encoder.layer.*.mlp.weights_in")),
    ("blocks.*.mlp.w3", Named("encoder.layer.*.mlp.weights_out")),
    ("norm", Named("layernorm")),
    (
        "blocks.*.attn.qkv",
        Stacked(&[
            "encoder.layer.*.attention.q_proj",
            "encoder.layer.*.attention.k_proj",
            "encoder.layer.*.attention.v_proj",
        ]),
    ),
    (
        "blocks.*.attn.proj",
        Named("encoder.layer.*.attention.o_proj"),
    ),
    (
        "blocks.*.mlp.w12",
        Stacked(&[
            "encoder.layer.*.mlp.gate_proj",
            "encoder.layer.*.mlp.up_proj",
        ]),
    ),
    ("blocks.*.mlp.w3", Named("encoder.layer.*.mlp.down_proj")),
];

/// Finds the backbone in a file.
pub fn find(checkpoint: &Checkpoint) -> Option<(&'static str, Origin)> {
    PREFIXES.iter().find_map(|prefix| {
        let has = |name: &str| checkpoint.has(&format!("{prefix}{name}"));
        let scaled = has("blocks.0.ls1.gamma") || has("blocks.0.0.ls1.gamma");
        if has("cls_token") && has("pos_embed") && scaled && !has("norm_pre.weight") {
            let timm = has("reg_token") || is_timm(&checkpoint.config) || !has("mask_token");
            return Some((*prefix, if timm { Origin::Timm } else { Origin::Hub }));
        }
        (has("embeddings.cls_token") && has("embeddings.position_embeddings"))
            .then_some((*prefix, Origin::Transformers))
    })
}

fn is_timm(config: &Value) -> bool {
    config["architecture"]
        .as_str()
        .is_some_and(|a| a.starts_with("vit_") && a.contains("dinov2"))
}

/// `dinov2_vitl14` and friends, or the arguments of the hub's `DinoVisionTransformer`.
fn is_hub(config: &Value) -> bool {
    config["arch"]
        .as_str()
        .is_some_and(|a| a.starts_with("dinov2"))
        || (config["ffn_layer"].is_string() && config["interpolate_offset"].is_number())
}

fn is_transformers(config: &Value) -> bool {
    matches!(
        config["model_type"].as_str(),
        Some("dinov2" | "dinov2_with_registers")
    )
}

/// Whether a config speaks of such a network: by its name, or as the arguments of a plain vision
/// transformer.
pub fn describes(config: &Value) -> bool {
    let has = |names: &[&str]| names.iter().any(|name| config[*name].is_i64());
    let nameless = config["model_type"].is_null() && config["architecture"].is_null();
    let rotary = config["pos_embed_rope_base"].is_number();
    by_config(config).is_some()
        || (nameless
            && !rotary
            && has(&["embed_dim", "hidden_size"])
            && has(&["num_heads", "num_attention_heads"]))
}

/// For random weights, by the config alone.
pub fn by_config(config: &Value) -> Option<Origin> {
    if is_transformers(config) {
        Some(Origin::Transformers)
    } else if is_timm(config) {
        Some(Origin::Timm)
    } else {
        is_hub(config).then_some(Origin::Hub)
    }
}

/// The checkpoint in our names, and the layout for errors.
pub fn ours(
    checkpoint: &Checkpoint,
    prefix: &str,
    origin: Origin,
) -> Result<(KeyLayout, Checkpoint)> {
    let checkpoint = checkpoint.renamed(|key| Some(without_chunk(prefix, key)));
    let matrix = |name: &str| checkpoint.shape(&format!("{prefix}blocks.0.mlp.{name}.weight"));
    let swiglu_as_mlp = match (matrix("fc1"), matrix("fc2")) {
        (Some([hidden, _]), Some([_, half])) => *hidden == 2 * half,
        _ => false,
    };
    let table = match origin {
        Origin::Transformers => TRANSFORMERS,
        Origin::Timm if swiglu_as_mlp => TIMM_SWIGLU,
        Origin::Timm => TIMM,
        Origin::Hub => HUB,
    };
    let layout = KeyLayout::new(prefix, table);
    let ours = layout.apply(&checkpoint)?;
    Ok((layout, ours))
}

/// Training files cut the blocks into chunks, `blocks.<chunk>.<i>.…` with i counted over all.
fn without_chunk(prefix: &str, key: &str) -> String {
    let number = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let chunked = key
        .strip_prefix(prefix)
        .and_then(|k| k.strip_prefix("blocks."));
    match chunked.map(|k| k.splitn(3, '.').collect::<Vec<_>>()) {
        Some(parts) if parts.len() == 3 && number(parts[0]) && number(parts[1]) => {
            format!("{prefix}blocks.{}.{}", parts[1], parts[2])
        }
        _ => key.to_string(),
    }
}
