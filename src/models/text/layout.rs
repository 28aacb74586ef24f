//! Where a text tower lies in a file: open_clip's own names, with or without `text.`, or
//! transformers'. Ours are open_clip's.

use crate::weights::{Checkpoint, KeyLayout, KeyPlace, KeyTable};
use crate::{Error, Result};

use KeyPlace::{Named, Stacked, Transposed};

/// The layouts of spec/teachers.md §2.4 and §3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// open_clip `CLIP`: text at the root, images under `visual.`
    OpenClip,
    /// open_clip `CustomTextCLIP`: `text.`
    CustomText,
    /// transformers `CLIPModel`, `SiglipModel`, `Siglip2Model`
    Transformers,
}

pub fn find(checkpoint: &Checkpoint) -> Option<Kind> {
    const SIGNS: [(&str, Kind); 3] = [
        ("token_embedding.weight", Kind::OpenClip),
        ("text.token_embedding.weight", Kind::CustomText),
        (
            "text_model.embeddings.token_embedding.weight",
            Kind::Transformers,
        ),
    ];
    let sign = SIGNS.iter().find(|(name, _)| checkpoint.has(name));
    sign.map(|(_, kind)| *kind)
}

/// The first components of open_clip's names.
const CUSTOM_TEXT: KeyTable = &[
    ("token_embedding", Named("token_embedding")),
    ("positional_embedding", Named("positional_embedding")),
    ("transformer", Named("transformer")),
    ("ln_final", Named("ln_final")),
    ("text_projection", Named("text_projection")),
];

/// The text side alone under our names, and the table that led there, for errors.
pub fn text_side(checkpoint: &Checkpoint) -> Result<(Checkpoint, Option<KeyLayout>)> {
    let kind = find(checkpoint).ok_or_else(|| {
        Error::file(
            &checkpoint.path,
            "holds no text tower (no `token_embedding`); zero-shot needs the weights of the whole image-text model, which --text-weights can name",
        )
    })?;
    let root = |key: &str| {
        let first = key.split('.').next().unwrap_or(key);
        let is_text = CUSTOM_TEXT.iter().any(|(name, _)| *name == first);
        is_text.then(|| key.to_string())
    };
    Ok(match kind {
        Kind::OpenClip => (checkpoint.renamed(root), None),
        Kind::CustomText => {
            let text = checkpoint.renamed(|key| key.starts_with("text.").then(|| key.to_string()));
            let layout = KeyLayout::new("text.", CUSTOM_TEXT);
            (layout.apply(&text)?, Some(layout))
        }
        Kind::Transformers => {
            let text = checkpoint.renamed(|key| {
                let is_text = key.starts_with("text_model.") || key == "text_projection.weight";
                is_text.then(|| key.to_string())
            });
            let layout = KeyLayout::new("", TRANSFORMERS);
            (layout.apply(&text)?, Some(layout))
        }
    })
}

/// Buffers that old files carry: the causal mask, and 0, 1, 2, ...
pub fn is_dead(name: &str) -> bool {
    matches!(name, "attn_mask" | "position_ids") || name.ends_with(".embeddings.position_ids")
}

const TRANSFORMERS: KeyTable = &[
    (
        "token_embedding",
        Named("text_model.embeddings.token_embedding"),
    ),
    (
        "positional_embedding",
        Named("text_model.embeddings.position_embedding.weight"),
    ),
    (
        "transformer.resblocks.*.ln_1",
        Named("text_model.encoder.layers.*.layer_norm1"),
    ),
    (
        "transformer.resblocks.*.ln_2",
        Named("text_model.encoder.layers.*.layer_norm2"),
    ),
    (
        "transformer.resblocks.*.attn.in_proj_weight",
        Stacked(&[
            "text_model.encoder.layers.*.self_attn.q_proj.weight",
            "text_model.encoder.layers.*.self_attn.k_proj.weight",
            "text_model.encoder.layers.*.self_attn.v_proj.weight",
        ]),
    ),
    (
        "transformer.resblocks.*.attn.in_proj_bias",
        Stacked(&[
            "text_model.encoder.layers.*.self_attn.q_proj.bias",
            "text_model.encoder.layers.*.self_attn.k_proj.bias",
            "text_model.encoder.layers.*.self_attn.v_proj.bias",
        ]),
    ),
    (
        "transformer.resblocks.*.attn.out_proj",
        Named("text_model.encoder.layers.*.self_attn.out_proj"),
    ),
    (
        "transformer.resblocks.*.mlp.c_fc",
        Named("text_model.encoder.layers.*.mlp.fc1"),
    ),
    (
        "transformer.resblocks.*.mlp.c_proj",
        Named("text_model.encoder.layers.*.mlp.fc2"),
    ),
    ("ln_final", Named("text_model.final_layer_norm")),
    ("text_projection", Transposed("text_projection.weight")),
    ("text_projection", Named("text_model.head")),
];
