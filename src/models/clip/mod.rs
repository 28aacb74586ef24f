//! CLIP's image tower: OpenAI CLIP, OpenCLIP, MetaCLIP, DFN (Radford et al., arXiv 2103.00020).
//!
//! `radio-eval features --model openclip-h14 --weights open_clip_model.safetensors ...`
//!
//! Summary = class token after the final norm, before the projection (what AM-RADIO's kNN and
//! metrics use); spatial = patch tokens after that norm, or before it with
//! `--tokens-before-norm` (open_clip up to 2.20, OpenAI's code, transformers); the adaptor `clip`
//! = the projected summary, for zero-shot.

mod config;
mod layouts;

pub use config::activation_of_tag;
pub use layouts::{TRANSFORMERS, is_beside_image_tower};

use super::layers::{LayerNorm, Linear};
use super::normalise::{self, Constants, Normalise};
use super::options::by_flag;
use super::positions::Positions;
use super::vit::{self, Block, PatchEmbed, TokenSplit};
use super::{
    AdaptorFeatures, Architecture, Backbone, BackboneInfo, BuildOptions, Features, Flag, Request,
};
use crate::Result;
use crate::weights::{Checkpoint, KeyLayout, ParamStore, Registry, Trainable};
use config::Config;
use indexmap::IndexMap;
use layouts::Origin;
use serde_json::{Map, Value};
use tch::{Kind, Tensor};

/// The adaptor's name.
const CLIP: &str = "clip";

pub struct ClipArchitecture;

fn is_open_clip(config: &Value) -> bool {
    let vision = &config["model_cfg"]["vision_cfg"];
    vision["layers"].is_i64() && vision["timm_model_name"].is_null()
}

fn is_transformers(config: &Value) -> bool {
    matches!(
        config["model_type"].as_str(),
        Some("clip" | "clip_vision_model")
    )
}

/// The vision tower's own part of a larger config, timm's files, and CLIPs of other makers that
/// share transformers' class (MetaCLIP 2, Chinese CLIP).
fn is_other(config: &Value) -> bool {
    let clip = |value: &Value| {
        let name = value.as_str().unwrap_or_default();
        name.contains("clip") && !name.contains("siglip") && !name.contains("blip")
    };
    clip(&config["model_type"])
        || clip(&config["vision_config"]["model_type"])
        || clip(&config["architecture"])
}

impl Architecture for ClipArchitecture {
    fn name(&self) -> &'static str {
        "clip"
    }

    fn recognises(&self, checkpoint: &Checkpoint) -> bool {
        let config = &checkpoint.config;
        match checkpoint.tensors() {
            Some(_) => layouts::find(checkpoint).is_some(),
            None => is_open_clip(config) || is_transformers(config),
        }
    }

    fn describes(&self, config: &Value) -> bool {
        is_open_clip(config) || is_transformers(config) || is_other(config)
    }

    fn landmarks(&self) -> &'static [&'static str] {
        &[
            "visual.class_embedding",
            "visual.conv1.weight",
            "visual.transformer.resblocks.0.attn.in_proj_weight",
            "vision_model.embeddings.class_embedding",
            "vision_model.pre_layrnorm.weight",
            "norm_pre.weight",
        ]
    }

    fn flags(&self) -> &'static [Flag] {
        &[Flag::TokensBeforeNorm]
    }

    fn build(&self, checkpoint: &Checkpoint, options: &BuildOptions) -> Result<Box<dyn Backbone>> {
        let (layout, origin) = layouts::find(checkpoint).unwrap_or_else(|| {
            let origin = match is_open_clip(&checkpoint.config) {
                true => Origin::OpenClip,
                false => Origin::Transformers,
            };
            (KeyLayout::new("", &[]), origin)
        });
        let ours = layout.apply(checkpoint)?;
        let config = Config::read(&ours, origin, &options.zoo_hints)?;
        let registry = options.registry();
        let model = Clip::new(&ours, &config, options, registry.as_ref());
        let mut model = model.map_err(|e| layout.explain(e))?;
        model.trainable = registry.map(|r| r.finish(checkpoint));
        Ok(Box::new(model))
    }
}

/// What may be chosen for CLIP alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Patch tokens from before `ln_post` instead of after it (spec teachers.md §0.3).
    pub tokens_before_norm: bool,
}

struct Clip {
    normalise: Normalise,
    patch_embed: PatchEmbed,
    cls_token: Tensor,
    pos_embed: Positions,
    norm_pre: LayerNorm,
    blocks: Vec<Block>,
    norm: LayerNorm,
    /// The projection into the joint space.
    head: Option<Linear>,
    tokens_before_norm: bool,
    info: BackboneInfo,
    trainable: Option<Trainable>,
}

impl Clip {
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
        let table = p.get_f32("pos_embed", &[1, 1 + config.side * config.side, width])?;
        let constants = Constants::from_checkpoint(checkpoint, options, normalise::CLIP)?;
        let mut model = Clip {
            normalise: Normalise::new(constants.mean_std, options.device, options.run_kind()),
            patch_embed: PatchEmbed::new(&p.pp("patch_embed.proj"), config.patch, width, false)?,
            cls_token: p.get("cls_token", &[1, 1, width])?,
            pos_embed: Positions::new(&p, table, 1, config.rule, config.keep)?,
            norm_pre: LayerNorm::new(p.pp("norm_pre"), width, eps)?,
            blocks: vit::blocks(&p.pp("blocks"), config.depth, &config.block)?,
            norm: LayerNorm::new(p.pp("norm"), width, eps)?,
            head: match config.embed_dim {
                // timm's image-only files have a bias (of zeros) there.
                Some(e) => Some(Linear::new(p.pp("head"), width, e, p.has("head.bias"))?),
                None => None,
            },
            tokens_before_norm: options.clip.tokens_before_norm,
            info: info(config, options),
            trainable: None,
        };
        let classifier = config.embed_dim.is_none();
        store.finish(|key| {
            is_beside_image_tower(key) || (classifier && matches!(key, "head.weight" | "head.bias"))
        })?;
        model.info.parameters = store.parameters();
        constants.note(&mut model.info.settings);
        Ok(model)
    }
}

/// The projection counts as a parameter of the tower, as upstream counts it.
fn info(config: &Config, options: &BuildOptions) -> BackboneInfo {
    let (width, patch) = (config.block.width, config.patch);
    let tokens = match options.clip.tokens_before_norm {
        true => by_flag("before the final norm"),
        false => "after the final norm".into(),
    };
    let fitting = (config.image_size / patch * patch).max(patch);
    let mut settings = Map::new();
    settings.insert("activation".into(), config.activation.name().into());
    settings.insert("activation_from".into(), config.activation_from.into());
    config.block.note(&mut settings);
    settings.insert("positions".into(), config.rule.name().into());
    settings.insert("patch_tokens".into(), tokens);
    BackboneInfo {
        preferred: (fitting, fitting),
        native: Some((config.image_size, config.image_size)),
        prefix_tokens: 1,
        adaptors: config.embed_dim.iter().map(|_| CLIP.into()).collect(),
        settings,
        ..BackboneInfo::plain_vit(
            format!("CLIP ViT-{}/{patch}", vit::size_name(width)),
            patch,
            width,
            options,
        )
    }
}

impl Backbone for Clip {
    fn info(&self) -> &BackboneInfo {
        &self.info
    }

    fn trainable(&self) -> Option<&Trainable> {
        self.trainable.as_ref()
    }

    fn forward(&self, x: &Tensor, request: &Request) -> Result<Features> {
        let grid = self.patch_embed.grid(x);
        let patches = self.patch_embed.forward(&self.normalise.forward(x));
        let cls = self.cls_token.expand([patches.size()[0], -1, -1], false);
        let tokens = Tensor::cat(&[cls, patches], 1) + self.pos_embed.at(grid);
        let split = TokenSplit { prefix: 1, grid };
        let (tokens, intermediates) = vit::encode(
            request,
            split,
            self.norm_pre.forward(&tokens),
            self.blocks.len(),
            |i, tokens| self.blocks[i].forward(tokens, None),
            |tokens| self.norm.forward(tokens),
        )?;
        let normed = self.norm.forward(&tokens);
        let summary = normed.select(1, 0);
        let spatial = split.patches(match self.tokens_before_norm {
            true => &tokens,
            false => &normed,
        });
        let projected = self
            .head
            .iter()
            .filter(|_| request.wants(CLIP))
            .map(|head| {
                let summary = head.forward(&summary).to_kind(Kind::Float);
                let spatial = None;
                (CLIP.to_string(), AdaptorFeatures { summary, spatial })
            });
        Ok(Features {
            adaptors: projected.collect::<IndexMap<_, _>>(),
            summary,
            spatial,
            grid,
            intermediates,
        })
    }
}
