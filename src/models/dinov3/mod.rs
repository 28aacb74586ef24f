//! DINOv3 ViT-S/B/L/H+/7B, plain and gated (Siméoni et al., arXiv 2508.10104).
//!
//! `radio-eval features --model dinov3-l --weights dinov3-vitl16-pretrain-lvd1689m ...`
//!
//! Summary = class token, spatial = patch tokens, both after the final norm. Positions are rotary
//! and on patch tokens only; the key bias is zero.

mod config;
mod layouts;
mod rope;

pub use rope::Rope;

use super::derived::Derived;
use super::layers::LayerNorm;
use super::normalise::{self, Constants, Normalise};
use super::vit::{self, Block, BlockConfig, PatchEmbed, TokenSplit};
use super::{Architecture, Backbone, BackboneInfo, BuildOptions, Features, Request};
use crate::Result;
use crate::weights::{Checkpoint, KeyLayout, ParamStore, Params, Registry, Trainable};
use config::{Config, Periods};
use indexmap::IndexMap;
use serde_json::{Map, Value};
use tch::Tensor;

pub struct DinoV3Architecture;

impl Architecture for DinoV3Architecture {
    fn name(&self) -> &'static str {
        "dinov3"
    }

    fn recognises(&self, checkpoint: &Checkpoint) -> bool {
        match checkpoint.tensors() {
            Some(_) => layouts::find(checkpoint).is_some(),
            None => checkpoint.config["model_type"] == "dinov3_vit",
        }
    }

    fn describes(&self, config: &Value) -> bool {
        layouts::describes(config)
    }

    fn landmarks(&self) -> &'static [&'static str] {
        &[
            "storage_tokens",
            "rope_embed.periods",
            "blocks.0.attn.qkv.weight",
            "blocks.0.gamma_1",
            "reg_token",
            "embeddings.register_tokens",
            "layer.0.attention.q_proj.weight",
        ]
    }

    fn build(&self, checkpoint: &Checkpoint, options: &BuildOptions) -> Result<Box<dyn Backbone>> {
        let origin = layouts::find(checkpoint);
        let (layout, ours) = match origin {
            Some(origin) => layouts::ours(checkpoint, origin),
            None => (KeyLayout::new("", &[]), Ok(checkpoint.clone())),
        };
        let ours = ours?;
        let config = Config::read(&ours, origin)?;
        let registry = options.registry();
        let model = DinoV3::new(&ours, &config, options, registry.as_ref());
        let mut model = model.map_err(|e| layout.explain(e))?;
        model.trainable = registry.map(|r| r.finish(checkpoint));
        Ok(Box::new(model))
    }
}

struct DinoV3 {
    normalise: Normalise,
    patch_embed: PatchEmbed,
    /// [1, 1 + R, C]: class token, then registers
    prefix: Derived,
    rope: Rope,
    blocks: Vec<Block>,
    norm: LayerNorm,
    info: BackboneInfo,
    trainable: Option<Trainable>,
}

impl DinoV3 {
    fn new(
        checkpoint: &Checkpoint,
        config: &Config,
        options: &BuildOptions,
        registry: Option<&Registry>,
    ) -> Result<Self> {
        let store =
            ParamStore::new(checkpoint, options.device, options.run_kind()).trained(registry);
        let p = store.root();
        let BlockConfig { width, eps, .. } = config.block;
        if config.mask_token {
            // Only training uses it; read so that the parameters add up to upstream's count.
            drop(p.get("mask_token", &[1, width])?);
        }
        let cls_token = p.get("cls_token", &[1, 1, width])?;
        let storage_tokens = match config.registers {
            0 => None,
            n => Some(p.get("storage_tokens", &[1, n, width])?),
        };
        let prefix = Derived::new(&p, move || match &storage_tokens {
            Some(storage_tokens) => Tensor::cat(&[&cls_token, storage_tokens], 1),
            None => cls_token.shallow_clone(),
        });
        let rope = rope(&p, config)?;
        let constants = Constants::from_checkpoint(checkpoint, options, normalise::IMAGENET)?;
        let mut model = DinoV3 {
            normalise: Normalise::new(constants.mean_std, options.device, options.run_kind()),
            patch_embed: PatchEmbed::new(&p.pp("patch_embed.proj"), config.patch, width, true)?,
            prefix,
            rope,
            blocks: vit::blocks(&p.pp("blocks"), config.depth, &config.block)?,
            norm: LayerNorm::new(p.pp("norm"), width, eps)?,
            info: info(config, options),
            trainable: None,
        };
        // `local_cls_norm` serves training only; timm's classifier stands behind the network.
        store.finish(|key| {
            key.starts_with("local_cls_norm.") || matches!(key, "head.weight" | "head.bias")
        })?;
        model.info.parameters = store.parameters();
        constants.note(&mut model.info.settings);
        Ok(model)
    }
}

/// The stored periods, which replace the computed ones upstream too: released files hold them
/// rounded to bf16 (spec/teachers.md §4.4). Files of transformers and timm have none.
fn rope(p: &Params, config: &Config) -> Result<Rope> {
    let head = config.block.width / config.block.heads;
    let rope = p.pp("rope_embed");
    let periods = match (rope.has("periods"), config.rope) {
        (true, _) => rope.buffer("periods", &[head / 4])?,
        (false, Periods::Base(base)) => rope::periods_of_base(head, base, p.device()),
        (false, Periods::Between(min, max)) => rope::periods_between(head, (min, max), p.device()),
    };
    Ok(Rope::new(
        &periods,
        config.rope_coordinates,
        config.rope_kind,
    ))
}

fn info(config: &Config, options: &BuildOptions) -> BackboneInfo {
    let width = config.block.width;
    let fitting = (config.image_size / config.patch * config.patch).max(config.patch);
    let mut settings = Map::new();
    config.block.note(&mut settings);
    settings.insert("positions".into(), Value::from("rotary"));
    BackboneInfo {
        preferred: (fitting, fitting),
        prefix_tokens: 1 + config.registers,
        settings,
        ..BackboneInfo::plain_vit(
            format!("DINOv3 ViT-{}/{}", vit::size_name(width), config.patch),
            config.patch,
            width,
            options,
        )
    }
}

impl Backbone for DinoV3 {
    fn info(&self) -> &BackboneInfo {
        &self.info
    }

    fn trainable(&self) -> Option<&Trainable> {
        self.trainable.as_ref()
    }

    fn forward(&self, x: &Tensor, request: &Request) -> Result<Features> {
        let grid = self.patch_embed.grid(x);
        let angles = self.rope.at(grid);
        let turn = |t: Tensor| rope::rotate(&t, &angles);
        let patches = self.patch_embed.forward(&self.normalise.forward(x));
        let prefix = self
            .prefix
            .value()
            .expand([patches.size()[0], -1, -1], false);
        let split = TokenSplit {
            prefix: self.info.prefix_tokens,
            grid,
        };
        let (x, intermediates) = vit::encode(
            request,
            split,
            Tensor::cat(&[prefix, patches], 1),
            self.blocks.len(),
            |i, tokens| self.blocks[i].forward(tokens, Some(&turn)),
            |tokens| self.norm.forward(tokens),
        )?;
        let x = self.norm.forward(&x);
        Ok(Features {
            summary: x.select(1, 0),
            spatial: split.patches(&x),
            grid,
            adaptors: IndexMap::new(),
            intermediates,
        })
    }
}
