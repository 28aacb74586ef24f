//! The tensor names of the layouts RADIO comes in, brought to one.
//!
//! Ours are those of upstream's loaded model: `model.*` (for DINOv2 students without their
//! `inner.`), `input_conditioner.*`, `adaptors.NAME.{head_mlp,feat_mlp}.*`,
//! `feature_normalizer.*`, `inter_feature_normalizer.*`, `summary_idxs`.

use super::args::Args;
use crate::weights::layout::{KeyLayout, KeyPlace};
use crate::weights::{Checkpoint, StateDict};
use crate::{Error, Result};

/// The layouts, told by the name of the patch embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `base_model.*`, `_heads.*`: upstream's checkpoints (torch hub).
    Hub,
    /// `radio_model.*`: Hugging Face with remote code.
    HuggingFace,
    /// `model.*`: upstream's module after loading.
    Loaded,
    /// The network alone, without a prefix.
    Bare,
    /// `embeddings.*`, `encoder.layer.*`: transformers' own RADIO (>= 5.23).
    Native,
}

/// The layout of a file and whether the student is a DINOv2 ViT.
pub fn detect(checkpoint: &Checkpoint) -> Option<(Kind, bool)> {
    const LAST: &str = "patch_generator.embedder.weight";
    let prefixes = [
        (Kind::Hub, "base_model."),
        (Kind::HuggingFace, "radio_model.model."),
        (Kind::Loaded, "model."),
    ];
    for (kind, prefix) in prefixes {
        for wrapper in WRAPPERS {
            if checkpoint.has(&format!("{prefix}{wrapper}{LAST}")) {
                return Some((kind, false));
            }
        }
        if checkpoint.has(&format!("{prefix}inner.{LAST}")) {
            return Some((kind, true));
        }
    }
    checkpoint
        .has("embeddings.cls_register_token")
        .then_some((Kind::Native, false))
}

/// What data-parallel training and compilation put in front, which timm's `clean_state_dict`
/// takes off behind `base_model.`.
pub const WRAPPERS: [&str; 4] = ["", "module._orig_mod.", "module.", "_orig_mod."];

/// transformers' names (its own conversion table for `radio`, read in 5.23).
const NATIVE: &[(&str, KeyPlace)] = &[
    (
        "model.patch_generator.embedder",
        KeyPlace::Named("embeddings.patch_projection"),
    ),
    (
        "model.patch_generator.video_embedder",
        KeyPlace::Named("embeddings.video_patch_projection"),
    ),
    (
        "model.patch_generator.pos_embed",
        KeyPlace::Named("embeddings.position_embedding"),
    ),
    (
        "model.patch_generator.cls_token.token",
        KeyPlace::Named("embeddings.cls_register_token"),
    ),
    (
        "model.blocks.*.attn.qkv",
        KeyPlace::Stacked(&[
            "encoder.layer.*.attention.q_proj",
            "encoder.layer.*.attention.k_proj",
            "encoder.layer.*.attention.v_proj",
        ]),
    ),
    (
        "model.blocks.*.attn.proj",
        KeyPlace::Named("encoder.layer.*.attention.o_proj"),
    ),
    (
        "model.blocks.*.mlp.w12",
        KeyPlace::Stacked(&[
            "encoder.layer.*.mlp.gate_proj",
            "encoder.layer.*.mlp.up_proj",
        ]),
    ),
    (
        "model.blocks.*.mlp.w3",
        KeyPlace::Named("encoder.layer.*.mlp.down_proj"),
    ),
    (
        "model.blocks.*.ls1.gamma",
        KeyPlace::Named("encoder.layer.*.layer_scale1.lambda1"),
    ),
    (
        "model.blocks.*.ls2.gamma",
        KeyPlace::Named("encoder.layer.*.layer_scale2.lambda1"),
    ),
    ("model.blocks.*", KeyPlace::Named("encoder.layer.*")),
];

/// From the names of a file to ours, and back for errors.
pub enum Keys {
    /// (prefix in the file, our prefix), the first that fits
    Prefixes(Vec<(String, String)>),
    KeyTable(KeyLayout),
}

impl Keys {
    pub fn from_checkpoint(checkpoint: &Checkpoint, kind: Kind, dino: bool, args: Args) -> Self {
        let pair = |theirs: &str, ours: &str| (theirs.to_string(), ours.to_string());
        let model = |prefix: &str| {
            if dino {
                vec![pair(&format!("{prefix}inner."), "model.")]
            } else {
                let mut wrappers: Vec<_> = WRAPPERS[1..]
                    .iter()
                    .map(|wrapper| pair(&format!("{prefix}{wrapper}"), "model."))
                    .collect();
                wrappers.push(pair(prefix, "model."));
                wrappers
            }
        };
        match kind {
            Kind::Native => Keys::KeyTable(KeyLayout::new("", NATIVE)),
            Kind::Loaded => Keys::Prefixes(model("model.")),
            Kind::Bare => Keys::Prefixes(vec![pair("", "model.")]),
            Kind::HuggingFace => {
                let mut pairs = model("radio_model.model.");
                pairs.push(pair("radio_model.", ""));
                Keys::Prefixes(pairs)
            }
            Kind::Hub => {
                let mut pairs = model("base_model.");
                pairs.push(pair("_feature_normalizer.", "feature_normalizer."));
                pairs.push(pair(
                    "_intermediate_feature_normalizer.",
                    "inter_feature_normalizer.",
                ));
                for (folder, module) in
                    [("_heads", "head_mlp"), ("_feature_projections", "feat_mlp")]
                {
                    for (segment, name) in heads(checkpoint, folder, args) {
                        pairs.push((
                            format!("{folder}.{segment}."),
                            format!("adaptors.{name}.{module}."),
                        ));
                    }
                }
                Keys::Prefixes(pairs)
            }
        }
    }

    /// The checkpoint under our names.
    pub fn apply(&self, checkpoint: &Checkpoint) -> Result<Checkpoint> {
        match self {
            Keys::KeyTable(layout) => layout.apply(checkpoint),
            Keys::Prefixes(pairs) => Ok(checkpoint.renamed(|key| {
                let hit = pairs
                    .iter()
                    .find_map(|(theirs, ours)| Some((ours, key.strip_prefix(theirs.as_str())?)));
                Some(hit.map_or_else(|| key.to_string(), |(ours, rest)| format!("{ours}{rest}")))
            })),
        }
    }

    /// An error about one of our names, about the file's.
    pub fn explain(&self, error: Error, checkpoint: &Checkpoint) -> Error {
        match (self, error) {
            (Keys::KeyTable(layout), error) => layout.explain(error),
            (
                Keys::Prefixes(pairs),
                Error::Tensor {
                    path,
                    tensor,
                    reason,
                },
            ) => {
                let names: Vec<String> = pairs
                    .iter()
                    .filter_map(|(theirs, ours)| {
                        Some(format!("{theirs}{}", tensor.strip_prefix(ours.as_str())?))
                    })
                    .collect();
                // The name that is there, else (a missing tensor) the plainest.
                let stored = names
                    .iter()
                    .chain([&tensor])
                    .find(|name| checkpoint.has(name));
                Error::Tensor {
                    path,
                    tensor: stored.or(names.last()).unwrap_or(&tensor).clone(),
                    reason,
                }
            }
            (_, error) => error,
        }
    }
}

/// Under `folder`, (name or number in the file, teacher's name). Upstream writes either.
fn heads(checkpoint: &Checkpoint, folder: &str, args: Args) -> Vec<(String, String)> {
    let teachers = args.teachers();
    let mut found: Vec<(String, String)> = Vec::new();
    for key in checkpoint.tensors().into_iter().flat_map(StateDict::keys) {
        let Some(segment) = key
            .strip_prefix(folder)
            .and_then(|rest| rest.strip_prefix('.'))
            .and_then(|rest| rest.split('.').next())
        else {
            continue;
        };
        let name = match segment.parse::<usize>() {
            Ok(index) => match teachers.get(index) {
                // A teacher listed twice is known by its first entry.
                Some(t)
                    if teachers.iter().position(|other| other.name == t.name) == Some(index) =>
                {
                    t.name.clone()
                }
                _ => continue,
            },
            Err(_) => segment.to_string(),
        };
        if found.iter().all(|(known, _)| known != segment) {
            found.push((segment.to_string(), name));
        }
    }
    found
}

/// Heads that no adaptor has, by our names: those of a teacher that the args list twice (upstream's
/// loader takes the first), or do not list. No other module of the trainer is known.
pub fn is_unlisted_head(name: &str) -> bool {
    name.starts_with("_heads.") || name.starts_with("_feature_projections.")
}

/// Tensors that files hold and no forward pass reads (spec/radio.md §0.4, §2.7, §2.10), by our
/// names.
pub fn is_dead(name: &str, final_norm: bool) -> bool {
    let Some(rest) = name.strip_prefix("model.") else {
        return false;
    };
    let first = rest.split('.').next().unwrap_or(rest);
    match first {
        "fc_norm" | "norm_pre" | "head" | "attn_pool" | "reg_token" | "mask_token"
        | "input_conditioner" => true,
        "norm" => !final_norm,
        _ => rest.starts_with("patch_generator.video_embedder."),
    }
}
