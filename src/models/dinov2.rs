//! DINOv2 ViT-S/B/L/g with and without registers (Oquab et al., arXiv 2304.07193; registers:
//! Darcet et al., arXiv 2309.16588).
//!
//! `radio-eval features --model dinov2-l-reg --weights dinov2_vitl14_reg4_pretrain.pth ...`
//!
//! Summary = class token, spatial = patch tokens, both after the final norm (hub
//! `x_norm_clstoken`, `x_norm_patchtokens`). The network is written in the hub's names;
//! transformers and timm files are read through a table.

use super::facts::{check_heads, float, int, known};
use super::layers::{Activation, LayerNorm};
use super::normalise::{self, Normalise};
use super::positions::{Keep, Positions, Resample};
use super::vit::{self, Block, BlockConfig, FfnKind, PatchEmbed};
use super::{Architecture, Backbone, BackboneInfo, BuildOptions, Features};
use crate::Result;
use crate::weights::Place::{Named, Stacked};
use crate::weights::{Checkpoint, Layout, OUTSIDE, ParamStore, Params, Table};
use indexmap::IndexMap;
use serde_json::{Map, Value};
use tch::Tensor;

pub struct DinoV2Architecture;

/// Whose file it is: decides names and the position rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Hub,
    Transformers,
    Timm,
}

/// What may stand in front of the backbone's tensors: classification heads of transformers,
/// training files.
const PREFIXES: &[&str] = &[
    "",
    "dinov2.",
    "dinov2_with_registers.",
    "teacher.backbone.",
    "backbone.",
    "teacher.",
    "model.",
    "module.",
];

const HUB: Table = &[];

/// timm calls the halves of a SwiGLU fc1/fc2 like those of an MLP; [`Origin::Timm`] files with a
/// SwiGLU use the second table.
const TIMM: Table = &[("register_tokens", Named("reg_token"))];
const TIMM_SWIGLU: Table = &[
    ("register_tokens", Named("reg_token")),
    ("blocks.*.mlp.w12", Named("blocks.*.mlp.fc1")),
    ("blocks.*.mlp.w3", Named("blocks.*.mlp.fc2")),
];

/// transformers `Dinov2Model`, `Dinov2WithRegistersModel`: names on disk, then those that
/// transformers 5 uses in memory.
const TRANSFORMERS: Table = &[
    ("cls_token", Named("embeddings.cls_token")),
    ("mask_token", Named("embeddings.mask_token")),
    ("register_tokens", Named("embeddings.register_tokens")),
    ("pos_embed", Named("embeddings.position_embeddings")),
    (
        "patch_embed.proj",
        Named("embeddings.patch_embeddings.projection"),
    ),
    ("blocks.*.norm1", Named("encoder.layer.*.norm1")),
    ("blocks.*.norm2", Named("encoder.layer.*.norm2")),
    (
        "blocks.*.attn.qkv",
        Stacked(&[
            "encoder.layer.*.attention.attention.query",
            "encoder.layer.*.attention.attention.key",
            "encoder.layer.*.attention.attention.value",
        ]),
    ),
    (
        "blocks.*.attn.proj",
        Named("encoder.layer.*.attention.output.dense"),
    ),
    (
        "blocks.*.ls1.gamma",
        Named("encoder.layer.*.layer_scale1.lambda1"),
    ),
    (
        "blocks.*.ls2.gamma",
        Named("encoder.layer.*.layer_scale2.lambda1"),
    ),
    ("blocks.*.mlp.fc1", Named("encoder.layer.*.mlp.fc1")),
    ("blocks.*.mlp.fc2", Named("encoder.layer.*.mlp.fc2")),
    ("blocks.*.mlp.w12", Named("encoder.layer.*.mlp.weights_in")),
    ("blocks.*.mlp.w3", Named("encoder.layer.*.mlp.weights_out")),
    ("norm", Named("layernorm")),
    (
        "blocks.*.attn.qkv",
        Stacked(&[
            "encoder.layer.*.attention.q_proj",
            "encoder.layer.*.attention.k_proj",
            "encoder.layer.*.attention.v_proj",
        ]),
    ),
    (
        "blocks.*.attn.proj",
        Named("encoder.layer.*.attention.o_proj"),
    ),
    (
        "blocks.*.mlp.w12",
        Stacked(&[
            "encoder.layer.*.mlp.gate_proj",
            "encoder.layer.*.mlp.up_proj",
        ]),
    ),
    ("blocks.*.mlp.w3", Named("encoder.layer.*.mlp.down_proj")),
];

/// Finds the backbone in a file.
fn find(checkpoint: &Checkpoint) -> Option<(&'static str, Origin)> {
    PREFIXES.iter().find_map(|prefix| {
        let has = |name: &str| checkpoint.has(&format!("{prefix}{name}"));
        let scaled = has("blocks.0.ls1.gamma") || has("blocks.0.0.ls1.gamma");
        if has("cls_token") && has("pos_embed") && scaled && !has("norm_pre.weight") {
            let timm = has("reg_token") || is_timm(&checkpoint.config) || !has("mask_token");
            return Some((*prefix, if timm { Origin::Timm } else { Origin::Hub }));
        }
        (has("embeddings.cls_token") && has("embeddings.position_embeddings"))
            .then_some((*prefix, Origin::Transformers))
    })
}

fn is_timm(config: &Value) -> bool {
    config["architecture"]
        .as_str()
        .is_some_and(|a| a.starts_with("vit_") && a.contains("dinov2"))
}

/// `dinov2_vitl14` and friends, or the arguments of the hub's `DinoVisionTransformer`.
fn is_hub(config: &Value) -> bool {
    config["arch"]
        .as_str()
        .is_some_and(|a| a.starts_with("dinov2"))
        || (config["ffn_layer"].is_string() && config["interpolate_offset"].is_number())
}

fn is_transformers(config: &Value) -> bool {
    matches!(
        config["model_type"].as_str(),
        Some("dinov2" | "dinov2_with_registers")
    )
}

impl Architecture for DinoV2Architecture {
    fn name(&self) -> &'static str {
        "dinov2"
    }

    fn recognises(&self, checkpoint: &Checkpoint) -> bool {
        let config = &checkpoint.config;
        match checkpoint.tensors() {
            Some(_) => find(checkpoint).is_some(),
            None => is_hub(config) || is_transformers(config) || is_timm(config),
        }
    }

    fn build(&self, checkpoint: &Checkpoint, options: &BuildOptions) -> Result<Box<dyn Backbone>> {
        let (prefix, origin) = find(checkpoint).unwrap_or_else(|| {
            let transformers = is_transformers(&checkpoint.config);
            let origin = if transformers {
                Origin::Transformers
            } else {
                Origin::Hub
            };
            ("", origin)
        });
        let checkpoint = checkpoint.renamed(|key| Some(without_chunk(prefix, key)));
        let fused = |name: &str| checkpoint.shape(&format!("{prefix}blocks.0.mlp.{name}.weight"));
        let swiglu_as_mlp = match (fused("fc1"), fused("fc2")) {
            (Some([hidden, _]), Some([_, half])) => *hidden == 2 * half,
            _ => false,
        };
        let table = match origin {
            Origin::Transformers => TRANSFORMERS,
            Origin::Timm if swiglu_as_mlp => TIMM_SWIGLU,
            Origin::Timm => TIMM,
            Origin::Hub => HUB,
        };
        let layout = Layout::new(prefix, table);
        let checkpoint = layout.apply(&checkpoint)?;
        let config = Config::read(&checkpoint, origin)?;
        DinoV2::new(&checkpoint, &config, options)
            .map(|model| Box::new(model) as Box<dyn Backbone>)
            .map_err(|e| layout.explain(e))
    }
}

/// Training files cut the blocks into chunks, `blocks.<chunk>.<i>.…` with i counted over all.
fn without_chunk(prefix: &str, key: &str) -> String {
    let number = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let chunked = key
        .strip_prefix(prefix)
        .and_then(|k| k.strip_prefix("blocks."));
    match chunked.map(|k| k.splitn(3, '.').collect::<Vec<_>>()) {
        Some(parts) if parts.len() == 3 && number(parts[0]) && number(parts[1]) => {
            format!("{prefix}blocks.{}.{}", parts[1], parts[2])
        }
        _ => key.to_string(),
    }
}

/// Sizes and rules of one network.
struct Config {
    depth: i64,
    block: BlockConfig,
    patch: i64,
    registers: i64,
    /// M
    side: i64,
    /// Whether the position table has a row for the class token (timm adds it to the token where
    /// there are registers).
    class_row: bool,
    mask_token: bool,
    rule: Resample,
    image_size: i64,
}

impl Config {
    /// `checkpoint` is in the hub's names; what its config leaves out follows from the tensors.
    fn read(checkpoint: &Checkpoint, origin: Origin) -> Result<Self> {
        let config = &checkpoint.config;
        let random = checkpoint.tensors().is_none();
        let dim = |name: &str, axis: usize| checkpoint.shape(name)?.get(axis).copied();
        let width = int(config, &["hidden_size", "embed_dim"]).or_else(|| dim("cls_token", 2));
        let width = known(checkpoint, "width", width)?;
        // 64 channels per head in every released size.
        let heads = int(config, &["num_attention_heads", "num_heads"]).or(Some(width / 64));
        let heads = known(checkpoint, "number of heads", heads)?;
        check_heads(checkpoint, width, heads)?;
        let patch = int(config, &["patch_size"]).or_else(|| dim("patch_embed.proj.weight", 3));
        let patch = known(checkpoint, "patch size", patch)?;
        let counted = (!random).then(|| checkpoint.count("blocks.", ".norm1.weight") as i64);
        let depth = int(config, &["num_hidden_layers", "depth"]).or(counted);
        let depth = known(checkpoint, "number of blocks", depth)?;

        let swiglu = match config["use_swiglu_ffn"].as_bool() {
            Some(swiglu) => swiglu,
            None => config["ffn_layer"].as_str().map_or_else(
                || checkpoint.has("blocks.0.mlp.w12.weight"),
                |ffn| ffn.starts_with("swiglu"),
            ),
        };
        let ratio = float(config, &["mlp_ratio"]).unwrap_or(4.0);
        let mlp = (width as f64 * ratio) as i64;
        let hidden = if swiglu {
            // The hub's SwiGLUFFNFused: two thirds, rounded up to a multiple of 8.
            dim("blocks.0.mlp.w3.weight", 1).unwrap_or((mlp * 2 / 3 + 7) / 8 * 8)
        } else {
            dim("blocks.0.mlp.fc1.weight", 0).unwrap_or(mlp)
        };

        let registers = int(config, &["num_register_tokens"])
            .or_else(|| dim("register_tokens", 1))
            .unwrap_or(0);
        let rows = dim("pos_embed", 1);
        // 518 px is what every released model was trained at in the end.
        let image_size = int(config, &["image_size", "img_size"]).unwrap_or(518);
        let (side, class_row) = match rows {
            Some(rows) => {
                let side = super::positions::isqrt(rows);
                (side, side * side != rows)
            }
            None => (image_size / patch, true),
        };
        let antialias = config["interpolate_antialias"].as_bool();
        let offset = float(config, &["interpolate_offset"]);
        let rule = match (origin, antialias, offset) {
            (Origin::Timm, ..) => Resample::Antialias,
            _ if registers > 0 => Resample::Antialias,
            (Origin::Transformers, ..) => Resample::Plain,
            (Origin::Hub, Some(true), _) => Resample::Antialias,
            (Origin::Hub, _, Some(0.0)) => Resample::Plain,
            (Origin::Hub, ..) => Resample::PlainOffset,
        };
        Ok(Config {
            depth,
            block: BlockConfig {
                width,
                heads,
                hidden,
                ffn: if swiglu {
                    FfnKind::SwiGlu
                } else {
                    FfnKind::Mlp(Activation::Gelu)
                },
                eps: float(config, &["layer_norm_eps"]).unwrap_or(1e-6),
                qkv_bias: true,
                layer_scale: true,
            },
            patch,
            registers,
            side: side.max(1),
            class_row,
            mask_token: if random {
                origin != Origin::Timm
            } else {
                checkpoint.has("mask_token")
            },
            rule,
            image_size,
        })
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
}

impl DinoV2 {
    fn new(checkpoint: &Checkpoint, config: &Config, options: &BuildOptions) -> Result<Self> {
        let store = ParamStore::new(checkpoint, options.device, options.kind);
        let p = store.root();
        let width = config.block.width;
        if config.mask_token {
            // Only training uses it; read so that the parameters add up to upstream's count.
            drop(p.get("mask_token", &[1, width])?);
        }
        let mut model = DinoV2 {
            normalise: Normalise::new(
                normalise::mean_std(checkpoint, normalise::IMAGENET),
                options.device,
                options.kind,
            ),
            patch_embed: PatchEmbed::new(&p.pp("patch_embed.proj"), config.patch, width, true)?,
            cls_token: p.get("cls_token", &[1, 1, width])?,
            register_tokens: (config.registers > 0)
                .then(|| p.get("register_tokens", &[1, config.registers, width]))
                .transpose()?,
            pos_embed: positions(&p, config)?,
            blocks: vit::blocks(&p.pp("blocks"), config.depth, &config.block)?,
            norm: LayerNorm::new(p.pp("norm"), width, config.block.eps)?,
            info: info(config),
        };
        // Beside the prefix lie classifiers and the heads of training.
        store.finish(|key| key.starts_with(OUTSIDE))?;
        model.info.parameters = store.parameters();
        Ok(model)
    }
}

/// The table with a row for the class token in front: zero where timm added it to the token.
fn positions(p: &Params, config: &Config) -> Result<Positions> {
    let (side, width) = (config.side, config.block.width);
    let rows = side * side + i64::from(config.class_row);
    let mut table = p.get_f32("pos_embed", &[1, rows, width])?;
    if !config.class_row {
        table = Tensor::cat(&[Tensor::zeros_like(&table.narrow(1, 0, 1)), table], 1);
    }
    Positions::new(&table, 1, config.rule, Keep::SameGrid, p.kind())
}

fn info(config: &Config) -> BackboneInfo {
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
    settings.insert("positions".into(), config.rule.name().into());
    BackboneInfo {
        architecture: format!(
            "DINOv2 ViT-{}/{}{registers}",
            vit::size_name(width),
            config.patch
        ),
        patch: config.patch,
        step: config.patch,
        preferred: (preferred, preferred),
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

impl Backbone for DinoV2 {
    fn info(&self) -> &BackboneInfo {
        &self.info
    }

    fn forward(&self, x: &Tensor, _adaptors: &[String]) -> Result<Features> {
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
        for block in &self.blocks {
            x = block.forward(&x, None);
        }
        let x = self.norm.forward(&x);
        Ok(Features {
            summary: x.select(1, 0),
            spatial: x.narrow(1, self.info.prefix_tokens, grid.0 * grid.1),
            grid,
            adaptors: IndexMap::new(),
        })
    }
}
