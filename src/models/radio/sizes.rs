//! What timm's name of a student stands for (spec/radio.md §2.6).
//!
//! Tensors show every size but the number of attention heads; the rest is needed only where
//! there is no file (random weights).

use crate::models::student::args::Args;
use crate::{Error, Result};

/// How a block normalises its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    Layer,
    /// gamma * tanh(alpha * x) + beta
    DyT,
}

/// The feed-forward half of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FfnKind {
    /// fc1, GELU, fc2
    Mlp,
    /// fc1, GELU, norm, fc2 (`*_mlpnorm`)
    NormedMlp,
    /// w3(silu(a) * b) with (a, b) the halves of w12(x) (DINOv2's g)
    SwiGlu,
}

/// A student by name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sizes {
    pub patch: i64,
    /// C
    pub width: i64,
    pub depth: i64,
    pub heads: i64,
    /// Width inside the feed-forward half (of one half of a SwiGLU).
    pub hidden: i64,
    pub ffn: FfnKind,
    pub norm: NormKind,
    pub layer_scale: bool,
    /// DINOv2 students keep their final norm and have one cls token that every adaptor reads.
    pub dino: bool,
    /// timm's nominal image size: a position map of just that size is not a CPE map (spec §2.3).
    pub nominal: i64,
}

impl Sizes {
    /// The sizes by `args.model` and `args.model_kwargs`.
    pub fn from_args(args: Args) -> Result<Self> {
        let name = args.model().unwrap_or_default();
        let base = by_name(name).ok_or_else(|| {
            Error::model(format!(
                "the args name the student `{name}`, which is no RADIO ViT known here; for a ViT of \
                 another name put its `num_heads` into args.model_kwargs"
            ))
        });
        let number = |key: &str| args.kwarg(key).as_i64().filter(|&n| n > 0);
        let mut sizes = match (base, number("num_heads")) {
            (Ok(base), _) => base,
            (Err(_), Some(_)) => vit(16, 768, 12, 12),
            (Err(unknown), None) => return Err(unknown),
        };
        if let Some(width) = number("embed_dim") {
            sizes.hidden = width * sizes.hidden / sizes.width;
            sizes.width = width;
        }
        if let Some(ratio) = args.kwarg("mlp_ratio").as_f64() {
            sizes.hidden = (sizes.width as f64 * ratio) as i64;
        }
        sizes.depth = number("depth").unwrap_or(sizes.depth);
        sizes.heads = number("num_heads").unwrap_or(sizes.heads);
        sizes.patch = number("patch_size").unwrap_or(sizes.patch);
        sizes.nominal = number("img_size").unwrap_or(sizes.nominal);
        Ok(sizes)
    }
}

/// A plain timm VisionTransformer with MLP ratio 4.
const fn vit(patch: i64, width: i64, depth: i64, heads: i64) -> Sizes {
    Sizes {
        patch,
        width,
        depth,
        heads,
        hidden: 4 * width,
        ffn: FfnKind::Mlp,
        norm: NormKind::Layer,
        layer_scale: false,
        dino: false,
        nominal: 224,
    }
}

/// A DINOv2 ViT/14 with registers behind upstream's wrapper.
const fn dino(width: i64, depth: i64, heads: i64, ffn: FfnKind, hidden: i64) -> Sizes {
    Sizes {
        hidden,
        ffn,
        layer_scale: true,
        dino: true,
        // Upstream compares with the patch grid here, which no map in pixels equals.
        nominal: 0,
        ..vit(14, width, depth, heads)
    }
}

fn by_name(name: &str) -> Option<Sizes> {
    let scaled = |sizes: Sizes| Sizes {
        layer_scale: true,
        // timm: 518 * 16 // 14
        nominal: 592,
        ..sizes
    };
    Some(match name {
        "vit_tiny_patch14_224" => vit(14, 192, 12, 3),
        "vit_tiny_patch16_224" => vit(16, 192, 12, 3),
        "vit_small_patch14_224" => vit(14, 384, 12, 6),
        "vit_small_patch16_224" => vit(16, 384, 12, 6),
        "vit_base_patch14_224" => vit(14, 768, 12, 12),
        "vit_base_patch16_224" => vit(16, 768, 12, 12),
        "vit_large_patch14_224" => vit(14, 1024, 24, 16),
        "vit_large_patch16_224" => vit(16, 1024, 24, 16),
        "vit_huge_patch14_224" => vit(14, 1280, 32, 16),
        "vit_huge_patch16_224" => vit(16, 1280, 32, 16),
        "vit_base_patch16_v2_224" => scaled(vit(16, 768, 12, 12)),
        "vit_large_patch16_v2_224" => scaled(vit(16, 1024, 24, 16)),
        "vit_huge_patch16_224_mlpnorm" => Sizes {
            ffn: FfnKind::NormedMlp,
            ..vit(16, 1280, 32, 16)
        },
        "vit_so400m_patch16_224" => Sizes {
            hidden: 4304,
            ..vit(16, 1152, 27, 16)
        },
        "vit_so400m_v2_patch16_224" => Sizes {
            hidden: 4320,
            ..vit(16, 1152, 27, 16)
        },
        "vit_giant_patch16_224" => vit(16, 1536, 40, 24),
        "vit_bigG_patch14_224" => Sizes {
            layer_scale: true,
            ..vit(14, 1664, 48, 16)
        },
        "vit_large_dyt_patch16_224" => Sizes {
            norm: NormKind::DyT,
            ..vit(16, 1024, 24, 16)
        },
        "dino_v2_l_student" => dino(1024, 24, 16, FfnKind::Mlp, 4096),
        "dino_v2_g_student" => dino(1536, 40, 24, FfnKind::SwiGlu, 4096),
        // The miniatures of the parity goldens.
        "vit_tiny_mlpnorm" => Sizes {
            ffn: FfnKind::NormedMlp,
            ..vit(16, 64, 6, 4)
        },
        "dino_v2_tiny_student" => dino(64, 4, 4, FfnKind::SwiGlu, 176),
        _ => return None,
    })
}
