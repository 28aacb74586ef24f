//! Where PE's image tower lies in upstream's files. Our names are timm's, as CLIP's.

use crate::weights::KeyPlace::{Named, Transposed};
use crate::weights::{Checkpoint, KeyLayout, KeyTable};

const TABLE: KeyTable = &[
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
    ("blocks.*.ls1", Named("transformer.resblocks.*.ls_1")),
    ("blocks.*.norm2", Named("transformer.resblocks.*.ln_2")),
    (
        "blocks.*.mlp.fc1",
        Named("transformer.resblocks.*.mlp.c_fc"),
    ),
    (
        "blocks.*.mlp.fc2",
        Named("transformer.resblocks.*.mlp.c_proj"),
    ),
    ("blocks.*.ls2", Named("transformer.resblocks.*.ls_2")),
    ("norm", Named("ln_post")),
    ("attn_pool.latent", Named("attn_pool.probe")),
    (
        "attn_pool.in_proj.weight",
        Named("attn_pool.attn.in_proj_weight"),
    ),
    (
        "attn_pool.in_proj.bias",
        Named("attn_pool.attn.in_proj_bias"),
    ),
    ("attn_pool.proj", Named("attn_pool.attn.out_proj")),
    ("attn_pool.norm", Named("attn_pool.layernorm")),
    ("attn_pool.mlp.fc1", Named("attn_pool.mlp.c_fc")),
    ("attn_pool.mlp.fc2", Named("attn_pool.mlp.c_proj")),
    ("head.weight", Transposed("proj")),
];

/// Finds the image tower. It differs from CLIP's by its pool, or by having neither final norm nor
/// projection (PE-Spatial, PE-Lang).
pub fn find(checkpoint: &Checkpoint) -> Option<KeyLayout> {
    let prefix = ["visual.", ""].into_iter().find(|prefix| {
        let has = |name: &str| checkpoint.has(&format!("{prefix}{name}"));
        let bare = || !has("ln_post.weight") && !has("proj");
        has("conv1.weight")
            && has("positional_embedding")
            && has("ln_pre.weight")
            && has("transformer.resblocks.0.attn.in_proj_weight")
            && (has("attn_pool.probe") || bare())
    })?;
    Some(KeyLayout::new(prefix, TABLE))
}

/// Whether the file holds a whole PE-Core, text tower and all.
pub fn is_core(checkpoint: &Checkpoint) -> bool {
    checkpoint.has("visual.attn_pool.probe")
}
