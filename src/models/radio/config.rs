//! Everything that shapes a RADIO ViT: from the tensors of a file, or from args alone.

use super::patch::PatchShape;
use super::sizes::{FfnKind, NormKind, Sizes};
use crate::models::student::adaptor::{AdaptorConfig, adaptors};
use crate::models::student::args::Args;
use crate::models::student::heads::HeadShape;
use crate::weights::Checkpoint;
use crate::{Error, Result};
use serde_json::Value;
use tch::Kind;

/// How the summary is read off the last block's tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Summary {
    /// These cls tokens, one behind the other.
    Tokens(Vec<i64>),
    /// The only cls token, which every adaptor reads too (DINOv2 students).
    First,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub patch: i64,
    /// C
    pub width: i64,
    pub depth: i64,
    pub heads: i64,
    pub hidden: i64,
    pub ffn: FfnKind,
    pub norm: NormKind,
    /// Of the norms in the blocks and the final norm.
    pub eps: f64,
    pub layer_scale: bool,
    /// Output of norm1 and norm2 of block i divided by sqrt(i + 1).
    pub scaled_ln: bool,
    pub final_norm: bool,
    pub embed_bias: bool,
    /// Side of the learned position map.
    pub map_side: i64,
    /// Whether positions follow the CPE rule (true for every release).
    pub cpe: bool,
    /// K
    pub cls_tokens: i64,
    /// K + R
    pub prefix_tokens: i64,
    pub summary: Summary,
    pub adaptors: Vec<AdaptorConfig>,
    pub feature_normalizer: bool,
    /// (number of blocks, a rotation per block) of the normaliser of intermediate features
    pub inter_normalizer: Option<(i64, bool)>,
    /// The precision the args ask for.
    pub dtype: Kind,
}

impl Config {
    /// From args (and `adaptor_configs`) alone: random weights.
    pub fn of_args(config: &Value) -> Result<Self> {
        let args = Args::from_config(config);
        let sizes = Sizes::from_args(args)?;
        let max_size = args.cpe_max_size().ok_or_else(|| {
            Error::model("the args have no cpe_max_size, so the position map's size is unknown")
        })?;
        // Upstream rounds to the nearest multiple of the patch.
        let map_side = (max_size as f64 / sizes.patch as f64).round_ties_even() as i64;
        let cls_tokens = if sizes.dino { 1 } else { args.cls_tokens() };
        let mut shaped = Config {
            patch: sizes.patch,
            width: sizes.width,
            depth: sizes.depth,
            heads: sizes.heads,
            hidden: sizes.hidden,
            ffn: sizes.ffn,
            norm: sizes.norm,
            eps: 1e-6,
            layer_scale: sizes.layer_scale,
            scaled_ln: args.kwarg("scaled_ln").as_bool().unwrap_or(false),
            final_norm: sizes.dino || args.model_norm(),
            embed_bias: sizes.dino,
            map_side,
            cpe: map_side * sizes.patch != sizes.nominal,
            cls_tokens,
            prefix_tokens: if sizes.dino {
                5
            } else {
                cls_tokens + args.registers()
            },
            summary: if sizes.dino {
                Summary::First
            } else {
                Summary::Tokens(args.summary_tokens())
            },
            adaptors: Vec::new(),
            feature_normalizer: false,
            inter_normalizer: None,
            dtype: args.dtype(),
        };
        if let Some(adaptors) = config["adaptor_configs"].as_object() {
            for (name, adaptor) in adaptors {
                shaped.adaptors.push(AdaptorConfig {
                    name: name.clone(),
                    token: adaptor["head_idx"].as_i64().unwrap_or(0),
                    summary: HeadShape::of_config(&adaptor["summary"], shaped.width)?,
                    feature: Some(HeadShape::of_config(&adaptor["feature"], shaped.width)?),
                });
            }
        }
        shaped.checked()
    }

    /// From the tensors of `checkpoint` (under our names, weights plain) and its args.
    pub fn of_file(checkpoint: &Checkpoint, dino: bool) -> Result<Self> {
        let config = &checkpoint.config;
        let args = Args::from_config(config);
        let shape = |name: &str, rank: usize| {
            let shape = checkpoint.shape(name).ok_or_else(|| {
                Error::tensor(&checkpoint.path, name, "missing; every RADIO ViT has it")
            })?;
            if shape.len() != rank {
                return Err(Error::tensor(
                    &checkpoint.path,
                    name,
                    format!("has shape {shape:?}, the architecture needs {rank} axes"),
                ));
            }
            Ok(shape)
        };
        let embedder = "model.patch_generator.embedder.weight";
        let (width, pixels) = (shape(embedder, 2)?[0], shape(embedder, 2)?[1]);
        let patch = exact_root(pixels / 3).filter(|_| pixels % 3 == 0);
        let patch = patch.ok_or_else(|| {
            Error::tensor(
                &checkpoint.path,
                embedder,
                format!("takes {pixels} values, which are no square patch of 3 channels"),
            )
        })?;
        let table = "model.patch_generator.pos_embed";
        let map_side = exact_root(shape(table, 3)?[1]).ok_or_else(|| {
            Error::tensor(&checkpoint.path, table, "is no square map of positions")
        })?;
        let prefix_tokens = shape("model.patch_generator.cls_token.token", 2)?[0];
        let block = |name: &str| format!("model.blocks.0.{name}");
        let norm = if checkpoint.has(&block("norm1.alpha")) {
            NormKind::DyT
        } else {
            NormKind::Layer
        };
        let (ffn, hidden) = if checkpoint.has(&block("mlp.w12.weight")) {
            (FfnKind::SwiGlu, shape(&block("mlp.w3.weight"), 2)?[1])
        } else {
            let hidden = shape(&block("mlp.fc1.weight"), 2)?[0];
            if checkpoint.has(&block("mlp.norm.weight")) {
                (FfnKind::NormedMlp, hidden)
            } else {
                (FfnKind::Mlp, hidden)
            }
        };
        // transformers' native config tells by its own names what the args tell elsewhere.
        let native = config["model_type"] == "radio" && config["hidden_size"].is_i64();
        let (heads, cls_tokens, nominal) = if native {
            (
                config["num_attention_heads"].as_i64().unwrap_or(16),
                config["num_cls_tokens"].as_i64().unwrap_or(3),
                0,
            )
        } else {
            let sizes = Sizes::from_args(args)?;
            let cls = if dino { 1 } else { args.cls_tokens() };
            (sizes.heads, cls, sizes.nominal)
        };
        let summary = match checkpoint.tensors().and_then(|t| t.get("summary_idxs")) {
            _ if dino => Summary::First,
            Some(stored) => Summary::Tokens(Vec::try_from(stored.read_stored()?)?),
            None => Summary::Tokens(args.summary_tokens()),
        };
        let inter_normalizer = checkpoint
            .shape("inter_feature_normalizer.means")
            .and_then(|means| means.first().copied())
            .map(|count| {
                let rotation = checkpoint.shape("inter_feature_normalizer.rotation");
                (count, rotation.is_some_and(|r| r.len() == 3))
            });
        Config {
            patch,
            width,
            depth: checkpoint.count("model.blocks.", ".attn.qkv.weight") as i64,
            heads,
            hidden,
            ffn,
            norm,
            eps: config["layer_norm_eps"].as_f64().unwrap_or(1e-6),
            layer_scale: ["ls1.grandma", "ls1.gamma"]
                .iter()
                .any(|name| checkpoint.has(&block(name))),
            scaled_ln: args.kwarg("scaled_ln").as_bool().unwrap_or(false),
            final_norm: dino || args.model_norm(),
            embed_bias: checkpoint.has("model.patch_generator.embedder.bias"),
            map_side,
            cpe: map_side * patch != nominal,
            cls_tokens,
            prefix_tokens,
            summary,
            adaptors: adaptors(checkpoint, args)?,
            feature_normalizer: checkpoint.has("feature_normalizer.mean"),
            inter_normalizer,
            dtype: args.dtype(),
        }
        .checked()
    }

    /// Refuses what would fail later, where no one could tell why.
    fn checked(self) -> Result<Self> {
        let fail = |reason: String| Err(Error::model(reason));
        if self.depth == 0 {
            return fail("the file has no blocks (`blocks.0.attn.qkv.weight` is missing)".into());
        }
        if self.heads <= 0 || self.width % self.heads != 0 {
            return fail(format!(
                "the width {} cannot be split into {} attention heads; the args and the tensors are of different models",
                self.width, self.heads
            ));
        }
        if self.prefix_tokens < self.cls_tokens {
            return fail(format!(
                "the args ask for {} cls tokens (one per teacher), the file holds {} prefix tokens in all",
                self.cls_tokens, self.prefix_tokens
            ));
        }
        let tokens = match &self.summary {
            Summary::Tokens(tokens) => tokens.as_slice(),
            Summary::First => &[],
        };
        if self.summary == Summary::Tokens(Vec::new()) {
            return fail("no teacher has use_summary, so there is no summary".into());
        }
        let adaptor_tokens = self.adaptors.iter().map(|a| &a.token);
        if let Some(token) = tokens
            .iter()
            .chain(adaptor_tokens)
            .find(|&&t| t < 0 || t >= self.cls_tokens)
        {
            return fail(format!(
                "cls token {token} is asked for (summary_idxs or a teacher's token_slot), there are {}",
                self.cls_tokens
            ));
        }
        Ok(self)
    }

    /// What the patch generator needs to know.
    pub fn patch_shape(&self) -> PatchShape {
        PatchShape {
            patch: self.patch,
            width: self.width,
            prefix_tokens: self.prefix_tokens,
            map_side: self.map_side,
            embed_bias: self.embed_bias,
            cpe: self.cpe,
        }
    }

    /// D of the summary.
    pub fn summary_dim(&self) -> i64 {
        match &self.summary {
            Summary::Tokens(tokens) => tokens.len() as i64 * self.width,
            Summary::First => self.width,
        }
    }
}

fn exact_root(n: i64) -> Option<i64> {
    let root = crate::models::positions::isqrt(n);
    (root > 0 && root * root == n).then_some(root)
}
