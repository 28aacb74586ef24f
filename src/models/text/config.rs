//! Sizes and settings of a text tower: from its tensors where they tell, else from the config.

use super::settings::{CLIP_VOCABULARY, Pool, Settings, TokenizerKind};
use crate::models::clip::activation_of_tag;
use crate::models::facts::{check_heads, required_size};
use crate::models::layers::Activation;
use crate::weights::Checkpoint;
use crate::{Error, Result};
use serde_json::Value;

/// Which family's rules hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Causal mask, pooled where the text ends, projection without bias.
    Clip,
    /// No mask, pooled at the last position, projection with bias.
    Siglip,
}

pub struct TextConfig {
    pub family: Family,
    pub vocabulary: i64,
    pub context: i64,
    /// T
    pub width: i64,
    pub heads: i64,
    pub layers: i64,
    pub hidden: i64,
    /// E
    pub embed_dim: i64,
    pub activation: Activation,
    pub eps: f64,
    /// Whether a token sees only those in front of it.
    pub causal: bool,
    pub pool: Pool,
    pub tokenizer: TokenizerKind,
    /// Why the tokenizer is another than CLIP's, for errors.
    pub tokenizer_reason: String,
}

impl TextConfig {
    /// `text`: the text side under our names; `hints`: the zoo's (`pretrained`: open_clip's tag).
    pub fn from_checkpoint(text: &Checkpoint, hints: &Value) -> Result<Self> {
        let size = |name: &str, axis: usize| {
            text.shape(name)
                .and_then(|shape| shape.get(axis).copied())
                .ok_or_else(|| {
                    let reason = "missing, or without the axis that gives the tower's size";
                    Error::tensor(&text.path, name, reason)
                })
        };
        let width = size("token_embedding.weight", 1)?;
        let vocabulary = size("token_embedding.weight", 0)?;
        let hidden = size("transformer.resblocks.0.mlp.c_fc.weight", 0)?;
        let (family, embed_dim) = if text.has("text_projection.bias") {
            (Family::Siglip, size("text_projection.weight", 0)?)
        } else {
            (Family::Clip, size("text_projection", 1)?)
        };
        // open_clip_config.json and transformers' config.json.
        let ours = &text.config["model_cfg"]["text_cfg"];
        let theirs = &text.config["text_config"];
        let default_heads = match (family, width) {
            // SO400M: heads of 72.
            (Family::Siglip, 1152) => 16,
            _ => width / 64,
        };
        let heads = ours["heads"]
            .as_i64()
            .or_else(|| theirs["num_attention_heads"].as_i64())
            // What transformers leaves out is its default.
            .or_else(|| {
                theirs.is_object().then_some(match family {
                    Family::Clip => 8,
                    Family::Siglip => 12,
                })
            })
            .unwrap_or(default_heads);
        let heads = required_size(text, "number of heads", Some(heads))?;
        check_heads(text, width, heads)?;
        let eps = match family {
            Family::Clip => 1e-5,
            Family::Siglip => 1e-6,
        };
        let context = size("positional_embedding", 0)?;
        let settings = Settings::from_checkpoint(text, family, vocabulary)?;
        let tokenizer_reason = match ours["hf_tokenizer_name"].as_str() {
            Some(name) => format!("the config's `text_cfg.hf_tokenizer_name` is `{name}`"),
            None => format!(
                "the text tower has a vocabulary of {vocabulary} tokens, CLIP's own has {CLIP_VOCABULARY}"
            ),
        };
        Ok(TextConfig {
            family,
            vocabulary,
            context,
            causal: settings.causal,
            pool: settings.pool,
            tokenizer: settings.tokenizer,
            tokenizer_reason,
            width,
            heads,
            layers: text.count("transformer.resblocks.", ".ln_1.weight") as i64,
            hidden,
            embed_dim,
            activation: activation(family, vocabulary, &text.config, hints),
            eps: ours["norm_kwargs"]["eps"]
                .as_f64()
                .or_else(|| theirs["layer_norm_eps"].as_f64())
                .unwrap_or(eps),
        })
    }
}

/// The rules of spec/teachers.md §0.1 and §0.5.
fn activation(family: Family, vocabulary: i64, config: &Value, hints: &Value) -> Activation {
    let (ours, theirs) = (&config["model_cfg"], &config["text_config"]);
    match family {
        // open_clip's `act_kwargs` are of GELU's, which `quick_gelu` is not.
        Family::Clip if ours["text_cfg"]["act_kwargs"]["approximate"] == "tanh" => {
            Activation::GeluTanh
        }
        Family::Clip => activation_of_tag(config, hints).unwrap_or_else(|| {
            let quick = match ours["quick_gelu"].as_bool() {
                Some(quick) => quick,
                None if ours.is_object() => false,
                // The default of transformers, and what OpenAI's own files need.
                None => theirs["hidden_act"].as_str().unwrap_or("quick_gelu") == "quick_gelu",
            };
            match quick {
                true => Activation::QuickGelu,
                false => Activation::Gelu,
            }
        }),
        Family::Siglip => {
            let tanh = if ours.is_object() {
                ours["text_cfg"]["act_kwargs"]["approximate"] == "tanh"
            } else if theirs.is_object() {
                theirs["hidden_act"].as_str().unwrap_or("gelu_pytorch_tanh") != "gelu"
            } else {
                // SigLIP2's vocabulary is Gemma's.
                vocabulary == 256_000
            };
            match tanh {
                true => Activation::GeluTanh,
                false => Activation::Gelu,
            }
        }
    }
}
