//! DINOv2 ViT-S/B/L/g with and without registers (Oquab et al., arXiv 2304.07193; registers:
//! Darcet et al., arXiv 2309.16588).
//!
//! `radio-eval features --model dinov2-l-reg --weights dinov2_vitl14_reg4_pretrain.pth ...`
//!
//! Summary = class token, spatial = patch tokens, both after the final norm (hub
//! `x_norm_clstoken`, `x_norm_patchtokens`). The network is written in the hub's names;
//! transformers and timm files are read through a table.

mod config;
mod layouts;

use super::layers::LayerNorm;
use super::normalise::{self, Constants, Normalise};
use super::positions::{Keep, Positions};
use super::vit::{self, Block, PatchEmbed, TokenSplit};
use super::{Architecture, Backbone, BackboneInfo, BuildOptions, Features, Request};
use crate::Result;
use crate::weights::{Checkpoint, OUTSIDE, ParamStore, Params, Registry, Trainable};
use config::Config;
use indexmap::IndexMap;
use layouts::Origin;
use serde_json::{Map, Value};
use tch::Tensor;

pub struct DinoV2Architecture;

impl Architecture for DinoV2Architecture {
    fn name(&self) -> &'static str {
        "dinov2"
    }

    fn recognises(&self, checkpoint: &Checkpoint) -> bool {
        match checkpoint.tensors() {
            Some(_) => layouts::find(checkpoint).is_some(),
            None => layouts::by_config(&checkpoint.config).is_some(),
        }
    }

    fn describes(&self, config: &Value) -> bool {
        layouts::describes(config)
    }

    fn landmarks(&self) -> &'static [&'static str] {
        &[
            "cls_token",
            "pos_embed",
            "blocks.0.ls1.gamma",
            "blocks.0.attn.qkv.weight",
            "embeddings.cls_token",
            "encoder.layer.0.layer_scale1.lambda1",
        ]
    }

    fn build(&self, checkpoint: &Checkpoint, options: &BuildOptions) -> Result<Box<dyn Backbone>> {
        let (prefix, origin) = layouts::find(checkpoint).unwrap_or_else(|| {
            let origin = layouts::by_config(&checkpoint.config).unwrap_or(Origin::Hub);
            ("", origin)
        });
        let (layout, ours) = layouts::ours(checkpoint, prefix, origin)?;
        let config = Config::read(&ours, origin)?;
        let registry = options.registry();
        let model = DinoV2::new(&ours, &config, options, registry.as_ref());
        let mut model = model.map_err(|e| layout.explain(e))?;
        model.trainable = registry.map(|r| r.finish(checkpoint));
        Ok(Box::new(model))
    }
}

pub struct DinoV2 {
    normalise: Normalise,
    patch_embed: PatchEmbed,
    cls_token: Tensor,
    /// [1, R, C]
    register_tokens: Option<Tensor>,
    pos_embed: Positions,
    blocks: Vec<Block>,
    norm: LayerNorm,
    info: BackboneInfo,
    trainable: Option<Trainable>,
}

impl DinoV2 {
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
        if config.mask_token {
            // Only training uses it; read so that the parameters add up to upstream's count.
            drop(p.get("mask_token", &[1, width])?);
        }
        let constants = Constants::from_checkpoint(checkpoint, options, normalise::IMAGENET)?;
        let mut model = DinoV2 {
            normalise: Normalise::new(constants.mean_std, options.device, options.run_kind()),
            patch_embed: PatchEmbed::new(&p.pp("patch_embed.proj"), config.patch, width, true)?,
            cls_token: p.get("cls_token", &[1, 1, width])?,
            register_tokens: (config.registers > 0)
                .then(|| p.get("register_tokens", &[1, config.registers, width]))
                .transpose()?,
            pos_embed: positions(&p, config)?,
            blocks: vit::blocks(&p.pp("blocks"), config.depth, &config.block)?,
            norm: LayerNorm::new(p.pp("norm"), width, config.block.eps)?,
            info: info(config, options),
            trainable: None,
        };
        // Beside the prefix lies transformers' classifier; timm's stands behind the network.
        store.finish(|key| {
            key.strip_prefix(OUTSIDE)
                .is_some_and(|key| key.starts_with("classifier."))
                || matches!(key, "head.weight" | "head.bias")
                // Franca's correction of patch tokens, which its loader leaves out unless asked.
                || key.starts_with("rasa_head.")
        })?;
        model.info.parameters = store.parameters();
        constants.note(&mut model.info.settings);
        Ok(model)
    }
}

/// The table with a row for the class token in front: zero where timm added it to the token.
fn positions(p: &Params, config: &Config) -> Result<Positions> {
    let (side, width) = (config.side, config.block.width);
    let rows = side * side + i64::from(config.class_row);
    let table = p.get_f32("pos_embed", &[1, rows, width])?;
    if config.class_row {
        return Positions::new(p, table, 1, config.rule, Keep::SameGrid);
    }
    let with_class_row = move || {
        let zeros = Tensor::zeros_like(&table.narrow(1, 0, 1));
        Tensor::cat(&[&zeros, &table], 1)
    };
    Positions::of_rows(p, rows + 1, 1, config.rule, Keep::SameGrid, with_class_row)
}

fn info(config: &Config, options: &BuildOptions) -> BackboneInfo {
    let width = config.block.width;
    let registers = if config.registers > 0 {
        " with registers"
    } else {
        ""
    };
    let native = config.image_size / config.patch * config.patch;
    // Every published evaluation of the released models is at 224 (518 for segmentation); a
    // smaller model of one's own is meant for the size it was trained at.
    let preferred = native.clamp(config.patch, 224.max(config.patch));
    let mut settings = Map::new();
    config.block.note(&mut settings);
    settings.insert("positions".into(), config.rule.name().into());
    BackboneInfo {
        preferred: (preferred, preferred),
        prefix_tokens: 1 + config.registers,
        settings,
        ..BackboneInfo::plain_vit(
            format!(
                "DINOv2 ViT-{}/{}{registers}",
                vit::size_name(width),
                config.patch
            ),
            config.patch,
            width,
            options,
        )
    }
}

impl Backbone for DinoV2 {
    fn info(&self) -> &BackboneInfo {
        &self.info
    }

    fn trainable(&self) -> Option<&Trainable> {
        self.trainable.as_ref()
    }

    fn forward(&self, x: &Tensor, request: &Request) -> Result<Features> {
        let grid = self.patch_embed.grid(x);
        let patches = self.patch_embed.forward(&self.normalise.forward(x));
        let batch = patches.size()[0];
        let cls = self.cls_token.expand([batch, -1, -1], false);
        let mut x = Tensor::cat(&[cls, patches], 1) + self.pos_embed.at(grid);
        if let Some(registers) = &self.register_tokens {
            // After the class token, without a position.
            let registers = registers.expand([batch, -1, -1], false);
            let patches = x.narrow(1, 1, grid.0 * grid.1);
            x = Tensor::cat(&[x.narrow(1, 0, 1), registers, patches], 1);
        }
        let split = TokenSplit {
            prefix: self.info.prefix_tokens,
            grid,
        };
        let (x, intermediates) = vit::encode(
            request,
            split,
            x,
            self.blocks.len(),
            |i, tokens| self.blocks[i].forward(tokens, None),
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
