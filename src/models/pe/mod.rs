//! Perception Encoder: PE-Core, PE-Spatial and PE-Lang (Bolya et al., arXiv 2504.13181; upstream
//! facebookresearch/perception_models `core/vision_encoder/pe.py`).
//!
//! `radio-eval features --model pe-core-l14-336 --weights PE-Core-L14-336.pt ...`
//!
//! A CLIP tower with rotary positions beside learned ones. PE-Core: summary = attention pool,
//! spatial = patch tokens behind the final norm, and the adaptor `clip` = the projected summary, for
//! zero-shot. PE-Spatial and PE-Lang end in their last block: spatial = its patch tokens, summary =
//! its class token, or the mean of the patch tokens where there is none (the G).

mod config;
mod layouts;
mod rope;

pub use layouts::is_core;

use super::attention_pool::{AttentionPool, PoolConfig};
use super::clip::is_beside_image_tower;
use super::layers::{Activation, LayerNorm, Linear};
use super::normalise::{self, Constants, Normalise};
use super::positions::{Keep, Positions, Resample};
use super::vit::{self, Block, PatchEmbed, TokenSplit};
use super::{
    AdaptorFeatures, Architecture, Backbone, BackboneInfo, BuildOptions, Features, Request,
};
use crate::weights::{Checkpoint, KeyLayout, ParamStore, Registry, Trainable};
use crate::{Error, Result};
use config::Config;
use indexmap::IndexMap;
use rope::{Rope, rotate};
use serde_json::{Map, Value};
use tch::{Kind, Tensor};

/// The adaptor's name.
const CLIP: &str = "clip";

pub struct PeArchitecture;

impl Architecture for PeArchitecture {
    fn name(&self) -> &'static str {
        "pe"
    }

    fn recognises(&self, checkpoint: &Checkpoint) -> bool {
        match checkpoint.tensors() {
            Some(_) => layouts::find(checkpoint).is_some(),
            None => config::describes(&checkpoint.config),
        }
    }

    fn describes(&self, config: &Value) -> bool {
        config::describes(config)
    }

    fn landmarks(&self) -> &'static [&'static str] {
        &["visual.attn_pool.probe", "attn_pool.probe"]
    }

    fn build(&self, checkpoint: &Checkpoint, options: &BuildOptions) -> Result<Box<dyn Backbone>> {
        let layout = layouts::find(checkpoint).unwrap_or_else(|| KeyLayout::new("", &[]));
        let ours = layout.apply(checkpoint)?;
        let config = Config::read(&ours)?;
        let registry = options.registry();
        let model = Pe::new(&ours, &config, options, registry.as_ref());
        let mut model = model.map_err(|e| layout.explain(e))?;
        model.trainable = registry.map(|r| r.finish(checkpoint));
        Ok(Box::new(model))
    }
}

/// How PE-Core ends.
struct Core {
    norm: LayerNorm,
    pool: AttentionPool,
    /// The projection into the joint space.
    head: Option<Linear>,
}

struct Pe {
    normalise: Normalise,
    patch_embed: PatchEmbed,
    cls_token: Option<Tensor>,
    pos_embed: Positions,
    rope: Rope,
    norm_pre: LayerNorm,
    blocks: Vec<Block>,
    core: Option<Core>,
    info: BackboneInfo,
    trainable: Option<Trainable>,
}

impl Pe {
    fn new(
        checkpoint: &Checkpoint,
        config: &Config,
        options: &BuildOptions,
        registry: Option<&Registry>,
    ) -> Result<Self> {
        let store =
            ParamStore::new(checkpoint, options.device, options.run_kind()).trained(registry);
        let p = store.root();
        let (width, eps) = (config.block.width, config.block.eps);
        let head = width / config.block.heads;
        if head % 4 != 0 {
            return Err(Error::file(
                &checkpoint.path,
                format!("heads of {head} channels cannot turn in two directions (a multiple of 4)"),
            ));
        }
        let prefix = i64::from(config.class_token);
        let table = p.get_f32("pos_embed", &[prefix + config.side * config.side, width])?;
        let constants = Constants::from_checkpoint(checkpoint, options, normalise::HALF)?;
        let core = |heads: i64| {
            Ok::<_, Error>(Core {
                norm: LayerNorm::new(p.pp("norm"), width, eps)?,
                pool: AttentionPool::new(
                    &p.pp("attn_pool"),
                    &PoolConfig {
                        width,
                        heads,
                        hidden: 4 * width,
                        eps,
                        activation: Activation::Gelu,
                    },
                )?,
                head: (config.embed_dim)
                    .map(|dim| Linear::new(p.pp("head"), width, dim, false))
                    .transpose()?,
            })
        };
        let mut model = Pe {
            normalise: Normalise::new(constants.mean_std, options.device, options.run_kind()),
            patch_embed: PatchEmbed::new(&p.pp("patch_embed.proj"), config.patch, width, false)?,
            cls_token: (config.class_token)
                .then(|| p.get("cls_token", &[1, 1, width]))
                .transpose()?,
            pos_embed: Positions::new(&p, table, prefix, Resample::Bilinear, Keep::SameGrid)?,
            rope: Rope::new(head, config.class_token, options.device),
            norm_pre: LayerNorm::new(p.pp("norm_pre"), width, eps)?,
            blocks: vit::blocks(&p.pp("blocks"), config.depth, &config.block)?,
            core: config.pool_heads.map(core).transpose()?,
            info: info(config, options),
            trainable: None,
        };
        store.finish(is_beside_image_tower)?;
        model.info.parameters = store.parameters();
        constants.note(&mut model.info.settings);
        Ok(model)
    }

    /// The final norm, where there is one.
    fn norm(&self, tokens: &Tensor) -> Tensor {
        match &self.core {
            Some(core) => core.norm.forward(tokens),
            None => tokens.shallow_clone(),
        }
    }
}

fn info(config: &Config, options: &BuildOptions) -> BackboneInfo {
    let (width, patch) = (config.block.width, config.patch);
    let mut settings = Map::new();
    config.block.note(&mut settings);
    settings.insert("positions".into(), Resample::Bilinear.name().into());
    if config.pool_heads.is_none() {
        let summary = match config.class_token {
            true => "class token of the last block",
            false => "mean of the patch tokens: the network has no class token",
        };
        settings.insert("summary".into(), summary.into());
    }
    let joint = config.pool_heads.and(config.embed_dim);
    BackboneInfo {
        architecture: format!("PE ViT-{}/{patch}", vit::size_name(width)),
        patch,
        step: patch,
        preferred: (config.side * patch, config.side * patch),
        fixed: None,
        native: None,
        summary_dim: width,
        spatial_dim: width,
        prefix_tokens: i64::from(config.class_token),
        adaptors: joint.map(|_| CLIP.to_string()).into_iter().collect(),
        parameters: 0,
        precision: options.run_precision(),
        settings,
    }
}

impl Backbone for Pe {
    fn info(&self) -> &BackboneInfo {
        &self.info
    }

    fn trainable(&self) -> Option<&Trainable> {
        self.trainable.as_ref()
    }

    fn forward(&self, x: &Tensor, request: &Request) -> Result<Features> {
        let grid = self.patch_embed.grid(x);
        let patches = self.patch_embed.forward(&self.normalise.forward(x));
        let tokens = match &self.cls_token {
            None => patches,
            Some(token) => {
                let token = token.expand([patches.size()[0], -1, -1], false);
                Tensor::cat(&[token, patches], 1)
            }
        };
        let tokens = self.norm_pre.forward(&(tokens + self.pos_embed.at(grid)));
        let angles = self.rope.at(grid);
        let turn = |t: Tensor| rotate(&t, &angles);
        let prefix = self.info.prefix_tokens;
        let split = TokenSplit { prefix, grid };
        let (tokens, intermediates) = vit::encode(
            request,
            split,
            tokens,
            self.blocks.len(),
            |i, tokens| self.blocks[i].forward(tokens, Some(&turn)),
            |tokens| self.norm(tokens),
        )?;
        let tokens = self.norm(&tokens);
        let spatial = split.patches(&tokens);
        let summary = match &self.core {
            // The pool sees the class token too.
            Some(core) => core.pool.forward(&tokens),
            None => {
                let class = split.class(&tokens);
                class.unwrap_or_else(|| spatial.mean_dim(1, false, None::<Kind>))
            }
        };
        let head = self.core.as_ref().and_then(|core| core.head.as_ref());
        let projected = head.filter(|_| request.wants(CLIP)).map(|head| {
            let summary = head.forward(&summary).to_kind(Kind::Float);
            let spatial = None;
            (CLIP.to_string(), AdaptorFeatures { summary, spatial })
        });
        Ok(Features {
            adaptors: projected.into_iter().collect::<IndexMap<_, _>>(),
            summary,
            spatial,
            grid,
            intermediates,
        })
    }
}
