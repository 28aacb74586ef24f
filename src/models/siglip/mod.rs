//! The image towers of SigLIP (Zhai et al., arXiv 2303.15343) and SigLIP2, fixed size and NaFlex
//! (Tschannen et al., arXiv 2502.14786).
//!
//! `radio-eval features --model siglip-so400m-384 --weights open_clip_model.safetensors ...`
//!
//! Summary = attention pool (the mean of the tokens where a vision-language model left the pool
//! out), spatial = patch tokens after the final norm; the adaptor `siglip`
//! (`siglip2`) is the same summary, as nothing is projected afterwards. Our names are timm's.

mod config;

use super::attention_pool::{AttentionPool, PoolConfig};
use super::clip::{TRANSFORMERS, is_beside_image_tower};
use super::dense::{LastBlock, TextAligned, TextFamily};
use super::layers::LayerNorm;
use super::normalise::{self, Constants, Normalise};
use super::positions::{Keep, Positions};
use super::vit::{self, Block, BlockConfig, PatchEmbed, TokenSplit};
use super::{
    AdaptorFeatures, Architecture, Backbone, BackboneInfo, BuildOptions, Features, Request,
};
use crate::weights::KeyPlace::Stacked;
use crate::weights::{
    Checkpoint, KeyLayout, KeyTable, LazyTensor, ParamStore, Registry, Trainable, WeightSource,
};
use crate::{Error, Result};
use config::Config;
use indexmap::IndexMap;
use serde_json::{Map, Value};
use tch::{Kind, Tensor};

/// Whose file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// open_clip's trunks are timm models.
    Timm,
    Transformers,
    /// transformers `Siglip2Model`: any grid, patches through a matrix.
    NaFlex,
}

const TIMM: KeyTable = &[(
    "attn_pool.in_proj",
    Stacked(&["attn_pool.q", "attn_pool.kv"]),
)];

const PATCH_WEIGHT: &str = "patch_embed.proj.weight";

fn find(checkpoint: &Checkpoint) -> Option<(KeyLayout, Origin)> {
    let has = |prefix: &str, name: &str| checkpoint.has(&format!("{prefix}{name}"));
    let timm = ["visual.trunk.", ""]
        .into_iter()
        .find(|prefix| has(prefix, "attn_pool.latent") && has(prefix, "pos_embed"));
    if let Some(prefix) = timm {
        return Some((KeyLayout::new(prefix, TIMM), Origin::Timm));
    }
    // Vision-language models leave the pool out; a class token is CLIP's.
    let prefix = ["vision_model.", ""].into_iter().find(|prefix| {
        has(prefix, "embeddings.position_embedding.weight")
            && has(prefix, "embeddings.patch_embedding.bias")
            && has(prefix, "post_layernorm.weight")
            && !has(prefix, "embeddings.class_embedding")
    })?;
    let patch = checkpoint.shape(&format!("{prefix}embeddings.patch_embedding.weight"))?;
    let origin = match patch.len() {
        2 => Origin::NaFlex,
        _ => Origin::Transformers,
    };
    Some((KeyLayout::new(prefix, TRANSFORMERS), origin))
}

/// For random weights, by the config alone.
fn origin(config: &Value) -> Option<Origin> {
    if config["model_cfg"]["_trunk"].is_object() {
        return Some(Origin::Timm);
    }
    match config["model_type"].as_str()? {
        "siglip" | "siglip_vision_model" => Some(Origin::Transformers),
        "siglip2" | "siglip2_vision_model" => Some(Origin::NaFlex),
        _ => None,
    }
}

/// NaFlex flattens a patch as (row, column, channel) and multiplies; the same numbers in the order
/// of a convolution's filter do the same.
fn as_convolution(checkpoint: &mut Checkpoint) {
    let WeightSource::File(tensors) = &mut checkpoint.source else {
        return;
    };
    let Some(matrix) = tensors.get(PATCH_WEIGHT).cloned() else {
        return;
    };
    let [width, flat] = matrix.shape[..] else {
        return;
    };
    let patch = super::positions::isqrt(flat / 3);
    if patch * patch * 3 != flat {
        return;
    }
    let filter = LazyTensor::computed(vec![width, 3, patch, patch], matrix.kind, move || {
        let matrix = matrix.read_stored()?.f_view([width, patch, patch, 3])?;
        Ok(matrix.f_permute([0, 3, 1, 2])?.f_contiguous()?)
    });
    tensors.insert(PATCH_WEIGHT.into(), filter);
}

pub struct SiglipArchitecture;

impl Architecture for SiglipArchitecture {
    fn name(&self) -> &'static str {
        "siglip"
    }

    fn recognises(&self, checkpoint: &Checkpoint) -> bool {
        match checkpoint.tensors() {
            Some(_) => find(checkpoint).is_some(),
            None => origin(&checkpoint.config).is_some(),
        }
    }

    fn describes(&self, config: &Value) -> bool {
        let siglip = |value: &Value| value.as_str().is_some_and(|name| name.contains("siglip"));
        origin(config).is_some()
            || siglip(&config["model_type"])
            || siglip(&config["vision_config"]["model_type"])
            || siglip(&config["architecture"])
            || config["model_cfg"]["vision_cfg"]["timm_model_name"].is_string()
    }

    fn landmarks(&self) -> &'static [&'static str] {
        &[
            "visual.trunk.attn_pool.latent",
            "visual.trunk.pos_embed",
            "vision_model.head.probe",
            "vision_model.embeddings.position_embedding.weight",
            "attn_pool.latent",
        ]
    }

    fn build(&self, checkpoint: &Checkpoint, options: &BuildOptions) -> Result<Box<dyn Backbone>> {
        let (layout, origin) = find(checkpoint).unwrap_or_else(|| {
            let origin = origin(&checkpoint.config).unwrap_or(Origin::Transformers);
            (KeyLayout::new("", &[]), origin)
        });
        let mut ours = layout.apply(checkpoint)?;
        if origin == Origin::NaFlex {
            as_convolution(&mut ours);
        }
        let config = Config::read(&ours, origin, &options.zoo_hints)?;
        let registry = options.registry();
        let model = Siglip::new(&ours, &config, options, registry.as_ref());
        let mut model = model.map_err(|e| layout.explain(e))?;
        model.trainable = registry.map(|r| r.finish(checkpoint));
        Ok(Box::new(model))
    }
}

struct Siglip {
    normalise: Normalise,
    patch_embed: PatchEmbed,
    pos_embed: Positions,
    blocks: Vec<Block>,
    norm: LayerNorm,
    /// `None` in vision-language models, which keep the tokens alone.
    attn_pool: Option<AttentionPool>,
    info: BackboneInfo,
    trainable: Option<Trainable>,
}

impl Siglip {
    fn new(
        checkpoint: &Checkpoint,
        config: &Config,
        options: &BuildOptions,
        registry: Option<&Registry>,
    ) -> Result<Self> {
        let store =
            ParamStore::new(checkpoint, options.device, options.run_kind()).trained(registry);
        let p = store.root();
        let width = config.block.width;
        let table = p.get_f32("pos_embed", &[1, config.side * config.side, width])?;
        let pools = checkpoint.tensors().is_none() || p.pp("attn_pool").has("latent");
        let pool = || {
            let BlockConfig {
                heads, hidden, eps, ..
            } = config.block;
            let activation = config.activation;
            let config = PoolConfig {
                width,
                heads,
                hidden,
                eps,
                activation,
            };
            AttentionPool::new(&p.pp("attn_pool"), &config)
        };
        let constants = Constants::from_checkpoint(checkpoint, options, normalise::HALF)?;
        let mut model = Siglip {
            normalise: Normalise::new(constants.mean_std, options.device, options.run_kind()),
            patch_embed: PatchEmbed::new(&p.pp("patch_embed.proj"), config.patch, width, true)?,
            pos_embed: Positions::new(&p, table, 0, config.rule, Keep::SameGrid)?,
            blocks: vit::blocks(&p.pp("blocks"), config.depth, &config.block)?,
            norm: LayerNorm::new(p.pp("norm"), width, config.block.eps)?,
            attn_pool: pools.then(pool).transpose()?,
            info: info(config, options, pools),
            trainable: None,
        };
        // timm's classifier stands behind the network.
        store.finish(|key| {
            is_beside_image_tower(key) || matches!(key, "head.weight" | "head.bias")
        })?;
        model.info.parameters = store.parameters();
        constants.note(&mut model.info.settings);
        Ok(model)
    }
}

fn info(config: &Config, options: &BuildOptions, pools: bool) -> BackboneInfo {
    let (width, patch) = (config.block.width, config.patch);
    // AM-RADIO's evaluator runs SO400M/14-384 at 378: the last 6 pixels fill no patch.
    let fitting = (config.image_size / patch * patch).max(patch);
    let family = match config.adaptor {
        "siglip2" => "SigLIP2",
        _ => "SigLIP",
    };
    let mut settings = Map::new();
    settings.insert("activation".into(), config.activation.name().into());
    config.block.note(&mut settings);
    settings.insert("positions".into(), config.rule.name().into());
    if !pools {
        let summary = "mean of the patch tokens: the file has no attention pool";
        settings.insert("summary".into(), summary.into());
    }
    BackboneInfo {
        preferred: (fitting, fitting),
        native: Some((config.image_size, config.image_size)),
        adaptors: match pools {
            true => vec![config.adaptor.into()],
            false => Vec::new(),
        },
        settings,
        ..BackboneInfo::plain_vit(
            format!("{family} ViT-{}/{patch}", vit::size_name(width)),
            patch,
            width,
            options,
        )
    }
}

impl Backbone for Siglip {
    fn info(&self) -> &BackboneInfo {
        &self.info
    }

    fn trainable(&self) -> Option<&Trainable> {
        self.trainable.as_ref()
    }

    fn text_aligned(&self) -> Option<&dyn TextAligned> {
        Some(self)
    }

    fn forward(&self, x: &Tensor, request: &Request) -> Result<Features> {
        let grid = self.patch_embed.grid(x);
        let patches = self.patch_embed.forward(&self.normalise.forward(x));
        let (tokens, intermediates) = vit::encode(
            request,
            TokenSplit { prefix: 0, grid },
            patches + self.pos_embed.at(grid),
            self.blocks.len(),
            |i, tokens| self.blocks[i].forward(tokens, None),
            |tokens| self.norm.forward(tokens),
        )?;
        let spatial = self.norm.forward(&tokens);
        let summary = match &self.attn_pool {
            Some(pool) => pool.forward(&spatial),
            None => spatial.mean_dim(1, false, None),
        };
        let adaptors = request.adaptors.iter().map(|name| {
            let features = AdaptorFeatures {
                summary: summary.to_kind(Kind::Float),
                spatial: None,
            };
            (name.clone(), features)
        });
        Ok(Features {
            adaptors: adaptors.collect::<IndexMap<_, _>>(),
            summary,
            spatial,
            grid,
            intermediates,
        })
    }
}

/// The pooling head on every patch alone: MaskCLIP's idea, which lets each token see itself only,
/// where the last attention is the pool's (spec/open_vocabulary.md §2.6).
impl TextAligned for Siglip {
    fn family(&self) -> TextFamily {
        TextFamily::Siglip
    }

    fn tokens(&self, x: &Tensor, last: &LastBlock) -> Result<(Tensor, (i64, i64))> {
        if !last.is_ordinary() {
            return Err(Error::usage(
                "the last attention of SigLIP is its pool's; use --method siglip-value",
            ));
        }
        let features = self.forward(x, &Request::default())?;
        Ok((features.spatial, features.grid))
    }

    fn align(&self, tokens: &Tensor, _adaptor: &str) -> Result<Tensor> {
        let pool = self.attn_pool.as_ref().ok_or_else(|| {
            Error::usage(
                "the file has no attention pool, so its patches cannot be compared with words",
            )
        })?;
        Ok(pool.each(tokens).to_kind(Kind::Float))
    }
}
