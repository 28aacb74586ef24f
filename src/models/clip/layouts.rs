//! Where CLIP's image tower lies in the files of open_clip (and OpenAI), transformers and timm.
//! Our names are timm's.

use crate::weights::KeyPlace::{Named, Stacked, Transposed};
use crate::weights::{Checkpoint, KeyLayout, KeyTable, OUTSIDE};

/// Whose file it is: decides names, the position rule and the default activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    OpenClip,
    Transformers,
    Timm,
}

const OPEN_CLIP: KeyTable = &[
    ("cls_token", Named("class_embedding")),
    ("patch_embed.proj", Named("conv1")),
    ("pos_embed", Named("positional_embedding")),
    ("norm_pre", Named("ln_pre")),
    ("blocks.*.norm1", Named("transformer.resblocks.*.ln_1")),
    (
        "blocks.*.attn.qkv.weight",
        Named("transformer.resblocks.*.attn.in_proj_weight"),
    ),
    (
        "blocks.*.attn.qkv.bias",
        Named("transformer.resblocks.*.attn.in_proj_bias"),
    ),
    (
        "blocks.*.attn.proj",
        Named("transformer.resblocks.*.attn.out_proj"),
    ),
    ("blocks.*.norm2", Named("transformer.resblocks.*.ln_2")),
    (
        "blocks.*.mlp.fc1",
        Named("transformer.resblocks.*.mlp.c_fc"),
    ),
    (
        "blocks.*.mlp.fc2",
        Named("transformer.resblocks.*.mlp.c_proj"),
    ),
    ("norm", Named("ln_post")),
    ("head.weight", Transposed("proj")),
];

/// transformers names the image towers of CLIP and SigLIP alike.
pub const TRANSFORMERS: KeyTable = &[
    ("cls_token", Named("embeddings.class_embedding")),
    ("patch_embed.proj", Named("embeddings.patch_embedding")),
    ("pos_embed", Named("embeddings.position_embedding.weight")),
    // Upstream's own misspelling.
    ("norm_pre", Named("pre_layrnorm")),
    ("blocks.*.norm1", Named("encoder.layers.*.layer_norm1")),
    (
        "blocks.*.attn.qkv",
        Stacked(&[
            "encoder.layers.*.self_attn.q_proj",
            "encoder.layers.*.self_attn.k_proj",
            "encoder.layers.*.self_attn.v_proj",
        ]),
    ),
    (
        "blocks.*.attn.proj",
        Named("encoder.layers.*.self_attn.out_proj"),
    ),
    ("blocks.*.norm2", Named("encoder.layers.*.layer_norm2")),
    ("blocks.*.mlp.fc1", Named("encoder.layers.*.mlp.fc1")),
    ("blocks.*.mlp.fc2", Named("encoder.layers.*.mlp.fc2")),
    ("norm", Named("post_layernorm")),
    // SigLIP's attention pool.
    ("attn_pool.latent", Named("head.probe")),
    (
        "attn_pool.in_proj.weight",
        Named("head.attention.in_proj_weight"),
    ),
    (
        "attn_pool.in_proj.bias",
        Named("head.attention.in_proj_bias"),
    ),
    ("attn_pool.proj", Named("head.attention.out_proj")),
    ("attn_pool.norm", Named("head.layernorm")),
    ("attn_pool.mlp", Named("head.mlp")),
];

const PROJECTION: KeyTable = &[("head", Named("visual_projection"))];

/// Finds the image tower of a file.
pub fn find(checkpoint: &Checkpoint) -> Option<(KeyLayout, Origin)> {
    let has = |name: &str| checkpoint.has(name);
    // The whole model, or its image tower saved alone.
    for prefix in ["visual.", ""] {
        let has = |name: &str| checkpoint.has(&format!("{prefix}{name}"));
        if has("class_embedding") && has("conv1.weight") && has("positional_embedding") {
            return Some((KeyLayout::new(prefix, OPEN_CLIP), Origin::OpenClip));
        }
    }
    for prefix in ["vision_model.", ""] {
        // SigLIP's files are named alike, but have no class token.
        if has(&format!("{prefix}embeddings.class_embedding"))
            && has(&format!("{prefix}embeddings.position_embedding.weight"))
        {
            let layout = KeyLayout::new(prefix, TRANSFORMERS).with_outside(PROJECTION);
            return Some((layout, Origin::Transformers));
        }
    }
    (has("cls_token") && has("norm_pre.weight") && has("pos_embed"))
        .then(|| (KeyLayout::new("", &[]), Origin::Timm))
}

/// Tensors of an image-text file that are not the image tower's: the text tower of open_clip
/// (plain and custom-text), OpenAI and transformers, and the constants beside the towers.
pub fn is_beside_image_tower(key: &str) -> bool {
    const CONSTANTS: [&str; 7] = [
        "logit_scale",
        "logit_bias",
        // Scalars of OpenAI's archives.
        "input_resolution",
        "context_length",
        "vocab_size",
        // Old transformers files carry the buffer.
        "embeddings.position_ids",
        "attn_mask",
    ];
    /// Modules of the text towers, whose own tensors their loader is strict about.
    const MODULES: [&str; 6] = [
        "text",
        "text_model",
        "transformer",
        "token_embedding",
        "ln_final",
        "text_projection",
    ];
    const TENSORS: [&str; 2] = ["positional_embedding", "text_projection"];
    match key.strip_prefix(OUTSIDE) {
        Some(key) => {
            let first = key.split_once('.').map(|(first, _)| first);
            CONSTANTS.contains(&key)
                || TENSORS.contains(&key)
                || first.is_some_and(|first| MODULES.contains(&first))
        }
        None => CONSTANTS.contains(&key),
    }
}
