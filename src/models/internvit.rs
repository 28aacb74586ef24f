//! InternViT-6B, 224 px and 448 px (Chen et al., arXiv 2312.14238), and its smaller relatives.
//!
//! `radio-eval features --model internvit-6b-224 --weights InternViT-6B-224px ...`
//!
//! Summary = token 0 of the last block, spatial = the others; there is no final norm. Against the
//! other teachers: RMS norms, queries and keys normalised over all heads together, no bias on
//! qkv. The 448 px model lacks the last three blocks, so blocks are counted in the file.

use super::facts::{check_heads, float, int, required_size};
use super::layers::{Activation, LayerNorm, Linear, Mlp, attention};
use super::normalise::{self, Constants, Normalise};
use super::positions::{Keep, Positions, Resample, isqrt};
use super::vit::{self, PatchEmbed, TokenSplit};
use super::{Architecture, Backbone, BackboneInfo, BuildOptions, Features, Request};
use crate::Result;
use crate::weights::{Checkpoint, KeyLayout, OUTSIDE, ParamStore, Params, Registry, Trainable};
use indexmap::IndexMap;
use serde_json::{Map, Value};
use tch::{Kind, Tensor};

/// The language model and the projector, in InternVL's own files (`modeling_internvl_chat.py`).
fn is_of_internvl(key: &str) -> bool {
    key.starts_with("language_model.") || key.starts_with("mlp1.")
}

pub struct InternVitArchitecture;

fn find(checkpoint: &Checkpoint) -> Option<KeyLayout> {
    let prefix = ["", "vision_model."].into_iter().find(|prefix| {
        checkpoint.has(&format!("{prefix}embeddings.class_embedding"))
            && checkpoint.has(&format!("{prefix}encoder.layers.0.attn.qkv.weight"))
    })?;
    Some(KeyLayout::new(prefix, &[]))
}

impl Architecture for InternVitArchitecture {
    fn name(&self) -> &'static str {
        "internvit"
    }

    fn recognises(&self, checkpoint: &Checkpoint) -> bool {
        match checkpoint.tensors() {
            Some(_) => find(checkpoint).is_some(),
            None => checkpoint.config["model_type"]
                .as_str()
                .is_some_and(|name| name.starts_with("intern_vit")),
        }
    }

    fn describes(&self, config: &Value) -> bool {
        let intern = |value: &Value| {
            value
                .as_str()
                .is_some_and(|name| name.starts_with("intern"))
        };
        intern(&config["model_type"]) || intern(&config["vision_config"]["model_type"])
    }

    fn landmarks(&self) -> &'static [&'static str] {
        &[
            "embeddings.class_embedding",
            "encoder.layers.0.attn.qkv.weight",
            "encoder.layers.0.ls1",
        ]
    }

    fn build(&self, checkpoint: &Checkpoint, options: &BuildOptions) -> Result<Box<dyn Backbone>> {
        let layout = find(checkpoint).unwrap_or_else(|| KeyLayout::new("", &[]));
        let ours = layout.apply(checkpoint)?;
        let config = Config::read(&ours)?;
        let registry = options.registry();
        let model = InternVit::new(&ours, &config, options, registry.as_ref());
        let mut model = model.map_err(|e| layout.explain(e))?;
        model.trainable = registry.map(|r| r.finish(checkpoint));
        Ok(Box::new(model))
    }
}

struct Config {
    width: i64,
    depth: i64,
    heads: i64,
    hidden: i64,
    patch: i64,
    /// M
    side: i64,
    eps: f64,
    rms_norm: bool,
    qkv_bias: bool,
    qk_normalization: bool,
}

impl Config {
    fn read(checkpoint: &Checkpoint) -> Result<Self> {
        // InternVL's own files hold the image tower's config one level down.
        let whole = &checkpoint.config;
        let vision = &whole["vision_config"];
        let v = if vision.is_object() { vision } else { whole };
        let dim = |name: &str, axis: usize| checkpoint.shape(name)?.get(axis).copied();
        let first = |name: &str| format!("encoder.layers.0.{name}");
        let patch_weight = "embeddings.patch_embedding.weight";

        let width = int(v, &["hidden_size"]).or_else(|| dim(patch_weight, 0));
        let width = required_size(checkpoint, "width", width)?;
        // 128 channels per head in the 6B, 64 in the 300M.
        let by_width = width / if width >= 3200 { 128 } else { 64 };
        let heads = int(v, &["num_attention_heads"]).or(Some(by_width));
        let heads = required_size(checkpoint, "number of heads", heads)?;
        check_heads(checkpoint, width, heads)?;
        let patch = int(v, &["patch_size"]).or_else(|| dim(patch_weight, 3));
        let patch = required_size(checkpoint, "patch size", patch)?;
        let in_file = checkpoint.tensors().is_some();
        let depth = if in_file {
            Some(checkpoint.count("encoder.layers.", ".norm1.weight") as i64)
        } else {
            int(v, &["num_hidden_layers"])
        };
        let depth = required_size(checkpoint, "number of blocks", depth)?;
        let hidden = int(v, &["intermediate_size"]).or_else(|| dim(&first("mlp.fc1.weight"), 0));
        let hidden = required_size(checkpoint, "MLP width", hidden)?;
        let rows = dim("embeddings.position_embedding", 1).map(|rows| rows - 1);
        let image = int(v, &["image_size"]).unwrap_or(224);
        let flag = |name: &str, tensor: &str| {
            let said = v[name].as_bool();
            said.unwrap_or_else(|| in_file && checkpoint.has(&first(tensor)))
        };
        Ok(Config {
            width,
            depth,
            heads,
            hidden,
            patch,
            side: rows.map_or(image / patch, isqrt).max(1),
            eps: float(v, &["layer_norm_eps"]).unwrap_or(1e-6),
            rms_norm: match v["norm_type"].as_str() {
                Some(name) => name == "rms_norm",
                None => !checkpoint.has(&first("norm1.bias")),
            },
            qkv_bias: flag("qkv_bias", "attn.qkv.bias"),
            qk_normalization: flag("qk_normalization", "attn.q_norm.weight"),
        })
    }
}

/// y = w · (x · rsqrt(mean(x²) + eps)), statistics in fp32, cast back before the weight.
struct RmsNorm {
    weight: Tensor,
    eps: f64,
}

impl RmsNorm {
    fn new(p: Params, dim: i64, eps: f64) -> Result<Self> {
        let weight = p.get("weight", &[dim])?;
        Ok(RmsNorm { weight, eps })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let kind = x.kind();
        let x = x.to_kind(Kind::Float);
        let mean = x.square().mean_dim(-1, true, None);
        &self.weight * (x * (mean + self.eps).rsqrt()).to_kind(kind)
    }
}

enum Norm {
    Rms(RmsNorm),
    Layer(LayerNorm),
}

impl Norm {
    fn new(p: Params, config: &Config) -> Result<Self> {
        Ok(if config.rms_norm {
            Norm::Rms(RmsNorm::new(p, config.width, config.eps)?)
        } else {
            Norm::Layer(LayerNorm::new(p, config.width, config.eps)?)
        })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        match self {
            Norm::Rms(norm) => norm.forward(x),
            Norm::Layer(norm) => norm.forward(x),
        }
    }
}

struct Attention {
    qkv: Linear,
    /// Over all heads together.
    qk_norm: Option<(RmsNorm, RmsNorm)>,
    proj: Linear,
    heads: i64,
}

impl Attention {
    fn new(p: &Params, config: &Config) -> Result<Self> {
        let (width, eps) = (config.width, config.eps);
        let qk_norm = || -> Result<(RmsNorm, RmsNorm)> {
            Ok((
                RmsNorm::new(p.pp("q_norm"), width, eps)?,
                RmsNorm::new(p.pp("k_norm"), width, eps)?,
            ))
        };
        Ok(Attention {
            qkv: Linear::new(p.pp("qkv"), width, 3 * width, config.qkv_bias)?,
            qk_norm: config.qk_normalization.then(qk_norm).transpose()?,
            proj: Linear::new(p.pp("proj"), width, width, true)?,
            heads: config.heads,
        })
    }

    /// x: [B, N, C]
    fn forward(&self, x: &Tensor) -> Tensor {
        let size = x.size();
        let (b, n, c) = (size[0], size[1], size[2]);
        let qkv = self.qkv.forward(x).chunk(3, -1);
        let split = |x: &Tensor| {
            x.reshape([b, n, self.heads, c / self.heads])
                .transpose(1, 2)
        };
        let (q, k) = match &self.qk_norm {
            Some((q_norm, k_norm)) => (q_norm.forward(&qkv[0]), k_norm.forward(&qkv[1])),
            None => (qkv[0].shallow_clone(), qkv[1].shallow_clone()),
        };
        let y = attention(&split(&q), &split(&k), &split(&qkv[2]), None);
        self.proj.forward(&y.transpose(1, 2).reshape([b, n, c]))
    }
}

struct Block {
    norm1: Norm,
    attn: Attention,
    ls1: Tensor,
    norm2: Norm,
    mlp: Mlp,
    ls2: Tensor,
}

impl Block {
    fn new(p: &Params, config: &Config) -> Result<Self> {
        let width = config.width;
        Ok(Block {
            norm1: Norm::new(p.pp("norm1"), config)?,
            attn: Attention::new(&p.pp("attn"), config)?,
            ls1: p.get("ls1", &[width])?,
            norm2: Norm::new(p.pp("norm2"), config)?,
            mlp: Mlp::new(&p.pp("mlp"), width, config.hidden, Activation::Gelu)?,
            ls2: p.get("ls2", &[width])?,
        })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let x = x + self.attn.forward(&self.norm1.forward(x)) * &self.ls1;
        let y = self.mlp.forward(&self.norm2.forward(&x)) * &self.ls2;
        x + y
    }
}

struct InternVit {
    normalise: Normalise,
    patch_embed: PatchEmbed,
    class_embedding: Tensor,
    position_embedding: Positions,
    layers: Vec<Block>,
    info: BackboneInfo,
    trainable: Option<Trainable>,
}

impl InternVit {
    fn new(
        checkpoint: &Checkpoint,
        config: &Config,
        options: &BuildOptions,
        registry: Option<&Registry>,
    ) -> Result<Self> {
        let store =
            ParamStore::new(checkpoint, options.device, options.run_kind()).trained(registry);
        let (width, patch) = (config.width, config.patch);
        let p = store.root().pp("embeddings");
        let layers = store.root().pp("encoder.layers");
        let rows = 1 + config.side * config.side;
        let table = p.get_f32("position_embedding", &[1, rows, width])?;
        let (rule, keep) = (Resample::Plain, Keep::SameGrid);
        let constants = Constants::from_checkpoint(checkpoint, options, normalise::IMAGENET)?;
        let mut model = InternVit {
            normalise: Normalise::new(constants.mean_std, options.device, options.run_kind()),
            patch_embed: PatchEmbed::new(&p.pp("patch_embedding"), patch, width, true)?,
            class_embedding: p.get("class_embedding", &[1, 1, width])?,
            position_embedding: Positions::new(&p, table, 1, rule, keep)?,
            layers: (0..config.depth)
                .map(|i| Block::new(&layers.pp(i), config))
                .collect::<Result<_>>()?,
            info: info(config, options),
            trainable: None,
        };
        store.finish(|key| key.strip_prefix(OUTSIDE).is_some_and(is_of_internvl))?;
        model.info.parameters = store.parameters();
        constants.note(&mut model.info.settings);
        Ok(model)
    }
}

fn info(config: &Config, options: &BuildOptions) -> BackboneInfo {
    let size = config.side * config.patch;
    let mut settings = Map::new();
    settings.insert("heads".into(), config.heads.into());
    settings.insert("eps".into(), config.eps.into());
    settings.insert("positions".into(), Resample::Plain.name().into());
    settings.insert("blocks".into(), Value::from(config.depth));
    BackboneInfo {
        preferred: (size, size),
        prefix_tokens: 1,
        settings,
        ..BackboneInfo::plain_vit(
            format!(
                "InternViT-{}/{}",
                vit::size_name(config.width),
                config.patch
            ),
            config.patch,
            config.width,
            options,
        )
    }
}

impl Backbone for InternVit {
    fn info(&self) -> &BackboneInfo {
        &self.info
    }

    fn trainable(&self) -> Option<&Trainable> {
        self.trainable.as_ref()
    }

    fn forward(&self, x: &Tensor, request: &Request) -> Result<Features> {
        let grid = self.patch_embed.grid(x);
        let patches = self.patch_embed.forward(&self.normalise.forward(x));
        let class = self
            .class_embedding
            .expand([patches.size()[0], -1, -1], false);
        let split = TokenSplit { prefix: 1, grid };
        let (x, intermediates) = vit::encode(
            request,
            split,
            Tensor::cat(&[class, patches], 1) + self.position_embedding.at(grid),
            self.layers.len(),
            |i, tokens| self.layers[i].forward(tokens),
            Tensor::shallow_clone, // there is no final norm
        )?;
        Ok(Features {
            summary: x.select(1, 0),
            spatial: split.patches(&x),
            grid,
            adaptors: IndexMap::new(),
            intermediates,
        })
    }
}
