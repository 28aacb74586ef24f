//! DINOv3 ViT-S/B/L/H+/7B, plain and gated (Siméoni et al., arXiv 2508.10104).
//!
//! `radio-eval features --model dinov3-l --weights dinov3-vitl16-pretrain-lvd1689m ...`
//!
//! Summary = class token, spatial = patch tokens, both after the final norm. Positions are rotary
//! and on patch tokens only; the key bias is zero.

mod layouts;
mod rope;

pub use rope::Rope;

use super::derived::Derived;
use super::facts::{check_heads, float, int, known};
use super::layers::{Activation, LayerNorm};
use super::normalise::{self, Normalise};
use super::vit::{self, Block, BlockConfig, FfnKind, PatchEmbed, TokenSplit};
use super::{Architecture, Backbone, BackboneInfo, BuildOptions, Features, Request};
use crate::Result;
use crate::weights::{Checkpoint, Layout, ParamStore, Registry, Trainable};
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
            Some(_) => layouts::ours(checkpoint).is_some(),
            None => checkpoint.config["model_type"] == "dinov3_vit",
        }
    }

    fn build(&self, checkpoint: &Checkpoint, options: &BuildOptions) -> Result<Box<dyn Backbone>> {
        let (layout, ours) = layouts::ours(checkpoint)
            .unwrap_or_else(|| (Layout::new("", &[]), Ok(checkpoint.clone())));
        let ours = ours?;
        let config = Config::read(&ours)?;
        let registry = options.registry();
        let model = DinoV3::new(&ours, &config, options, registry.as_ref());
        let mut model = model.map_err(|e| layout.explain(e))?;
        model.trainable = registry.map(|r| r.finish(checkpoint));
        Ok(Box::new(model))
    }
}

struct Config {
    depth: i64,
    block: BlockConfig,
    patch: i64,
    registers: i64,
    image_size: i64,
    rope_base: f64,
    mask_token: bool,
}

impl Config {
    /// `checkpoint` is in our names.
    fn read(checkpoint: &Checkpoint) -> Result<Self> {
        let config = &checkpoint.config;
        let dim = |name: &str, axis: usize| checkpoint.shape(name)?.get(axis).copied();
        let in_file = checkpoint.tensors().is_some();
        let width = int(config, &["hidden_size", "embed_dim"]).or_else(|| dim("norm.weight", 0));
        let width = known(checkpoint, "width", width)?;
        // 64 channels per head, 128 in the 7B.
        let by_width = width / if width == 4096 { 128 } else { 64 };
        let heads = int(config, &["num_attention_heads", "num_heads"]).or(Some(by_width));
        let heads = known(checkpoint, "number of heads", heads)?;
        check_heads(checkpoint, width, heads)?;
        let patch = int(config, &["patch_size"]).or_else(|| dim("patch_embed.proj.weight", 3));
        let patch = known(checkpoint, "patch size", patch)?;
        let counted = in_file.then(|| checkpoint.count("blocks.", ".norm1.weight") as i64);
        let depth = int(config, &["num_hidden_layers", "depth"]).or(counted);
        let depth = known(checkpoint, "number of blocks", depth)?;
        let gated = match config["use_gated_mlp"].as_bool() {
            Some(gated) => gated,
            None => checkpoint.has("blocks.0.mlp.w12.weight"),
        };
        let hidden = int(config, &["intermediate_size"]).or_else(|| {
            dim("blocks.0.mlp.w3.weight", 1).or_else(|| dim("blocks.0.mlp.fc1.weight", 0))
        });
        let hidden = known(checkpoint, "MLP width", hidden)?;
        let registers = int(config, &["num_register_tokens", "n_storage_tokens"])
            .or_else(|| dim("storage_tokens", 1))
            .unwrap_or(4);
        Ok(Config {
            depth,
            block: BlockConfig {
                width,
                heads,
                hidden,
                ffn: if gated {
                    FfnKind::SwiGlu
                } else {
                    FfnKind::Mlp(Activation::Gelu)
                },
                eps: float(config, &["layer_norm_eps"]).unwrap_or(1e-5),
                // The 7B has none.
                qkv_bias: if in_file {
                    checkpoint.has("blocks.0.attn.qkv.bias")
                } else {
                    config["query_bias"].as_bool().unwrap_or(true)
                },
                layer_scale: true,
            },
            patch,
            registers,
            image_size: int(config, &["image_size", "img_size"]).unwrap_or(224),
            rope_base: float(config, &["rope_theta", "pos_embed_rope_base"]).unwrap_or(100.0),
            mask_token: !in_file || checkpoint.has("mask_token"),
        })
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
        let store = ParamStore::new(checkpoint, options.device, options.kind).trained(registry);
        let p = store.root();
        let BlockConfig {
            width, heads, eps, ..
        } = config.block;
        if config.mask_token {
            // Only training uses it; read so that the parameters add up to upstream's count.
            drop(p.get("mask_token", &[1, width])?);
        }
        let cls_token = p.get("cls_token", &[1, 1, width])?;
        let storage_tokens = p.get("storage_tokens", &[1, config.registers, width])?;
        let mut model = DinoV3 {
            normalise: Normalise::new(
                normalise::mean_std(checkpoint, normalise::IMAGENET),
                options.device,
                options.kind,
            ),
            patch_embed: PatchEmbed::new(&p.pp("patch_embed.proj"), config.patch, width, true)?,
            prefix: Derived::new(&p, move || Tensor::cat(&[&cls_token, &storage_tokens], 1)),
            rope: Rope::new(width / heads, config.rope_base, options.device),
            blocks: vit::blocks(&p.pp("blocks"), config.depth, &config.block)?,
            norm: LayerNorm::new(p.pp("norm"), width, eps)?,
            info: info(config),
            trainable: None,
        };
        // The periods are computed; `local_cls_norm` serves training only.
        store.finish(|key| key == "rope_embed.periods" || key.starts_with("local_cls_norm."))?;
        model.info.parameters = store.parameters();
        Ok(model)
    }
}

fn info(config: &Config) -> BackboneInfo {
    let width = config.block.width;
    let fitting = (config.image_size / config.patch * config.patch).max(config.patch);
    let mut settings = Map::new();
    settings.insert("positions".into(), Value::from("rotary"));
    BackboneInfo {
        architecture: format!("DINOv3 ViT-{}/{}", vit::size_name(width), config.patch),
        patch: config.patch,
        step: config.patch,
        preferred: (fitting, fitting),
        fixed: None,
        native: None,
        summary_dim: width,
        spatial_dim: width,
        prefix_tokens: 1 + config.registers,
        adaptors: Vec::new(),
        parameters: 0,
        settings,
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
