//! What open_clip's `text_cfg` decides beside sizes: mask, pooling, tokenizer. A setting that is
//! not built here is refused by its name: ignored, it would give plausible wrong numbers.

use super::config::Family;
use crate::models::facts::refuse_others;
use crate::weights::Checkpoint;
use crate::{Error, Result};
use serde_json::Value;

/// Which token's output stands for a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    /// The first of the largest ids: CLIP's end of text.
    Argmax,
    First,
    Last,
    /// The first of that id.
    Id(i64),
}

impl Pool {
    /// For records.
    pub fn name(self) -> String {
        match self {
            Pool::Argmax => "largest id".into(),
            Pool::First => "first token".into(),
            Pool::Last => "last token".into(),
            Pool::Id(id) => format!("first token {id}"),
        }
    }
}

/// How text becomes ids.
#[derive(Debug, Clone, PartialEq)]
pub enum TokenizerKind {
    /// The byte pairs that ship with the tool.
    Clip,
    /// SigLIP's rules on the `tokenizer.json` beside the weights.
    Siglip,
    /// open_clip's `HFTokenizer` on the `tokenizer.json` beside the weights.
    HuggingFace {
        clean: Clean,
        /// Whether the separator becomes 0 (CLIPA).
        strip_sep: bool,
    },
}

/// open_clip's `clean`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clean {
    Whitespace,
    Lower,
    Canonicalize,
}

/// Ids of the vocabulary that ships.
pub const CLIP_VOCABULARY: i64 = 49_408;

/// Keys of `text_cfg` that are obeyed, that the tensors decide, or that matter in training only.
const BUILT: &[&str] = &[
    "context_length",
    "vocab_size",
    "width",
    "heads",
    "layers",
    "mlp_ratio",
    "hf_tokenizer_name",
    "tokenizer_kwargs",
    "no_causal_mask",
    "pool_type",
    "eos_id",
    "pad_id",
    "proj_bias",
    "proj_type",
    "output_tokens",
    "act_kwargs",
    "norm_kwargs",
    "hf_proj_type",
    "hf_pooler_type",
    "hf_model_pretrained",
];

/// What is beside sizes.
pub struct Settings {
    pub causal: bool,
    pub pool: Pool,
    pub tokenizer: TokenizerKind,
}

impl Settings {
    /// Of a tower of `family` with `vocabulary` tokens; `text` is the text side under our names.
    ///
    /// # Errors
    /// A setting that is not built here.
    pub fn from_checkpoint(text: &Checkpoint, family: Family, vocabulary: i64) -> Result<Self> {
        let config = &text.config["model_cfg"]["text_cfg"];
        refuse_others(text, "text_cfg", config, BUILT)?;
        if let Some(kind) = config["proj_type"]
            .as_str()
            .filter(|kind| *kind != "linear")
        {
            return Err(refused(text, "proj_type", kind, "linear"));
        }
        let causal = match config["no_causal_mask"].as_bool() {
            Some(without) => !without,
            None => family == Family::Clip,
        };
        let pool = match config["pool_type"].as_str() {
            None if family == Family::Clip => Pool::Argmax,
            None | Some("last") => Pool::Last,
            Some("argmax") => Pool::Argmax,
            Some("first") => Pool::First,
            Some("eos") => Pool::Id(config["eos_id"].as_i64().unwrap_or(2)),
            Some(other) => {
                return Err(refused(
                    text,
                    "pool_type",
                    other,
                    "argmax, first, last or eos",
                ));
            }
        };
        let tokenizer = tokenizer(text, family, vocabulary, config)?;
        Ok(Settings {
            causal,
            pool,
            tokenizer,
        })
    }
}

fn refused(text: &Checkpoint, key: &str, value: &str, built: &str) -> Error {
    let reason = format!("`text_cfg.{key}` is `{value}`, which is not built here ({built})");
    Error::file(&text.path, reason)
}

/// open_clip's `get_tokenizer`.
fn tokenizer(
    text: &Checkpoint,
    family: Family,
    vocabulary: i64,
    config: &Value,
) -> Result<TokenizerKind> {
    let arguments = &config["tokenizer_kwargs"];
    refuse_others(
        text,
        "text_cfg.tokenizer_kwargs",
        arguments,
        &["clean", "strip_sep_token"],
    )?;
    let clean = match arguments["clean"].as_str() {
        None => None,
        Some("whitespace") => Some(Clean::Whitespace),
        Some("lower") => Some(Clean::Lower),
        Some("canonicalize") => Some(Clean::Canonicalize),
        Some(other) => {
            let built = "whitespace, lower or canonicalize";
            return Err(refused(text, "tokenizer_kwargs.clean", other, built));
        }
    };
    if family == Family::Siglip {
        return Ok(TokenizerKind::Siglip);
    }
    let named = config["hf_tokenizer_name"]
        .as_str()
        .filter(|n| !n.is_empty());
    match (named, vocabulary, clean) {
        (None, CLIP_VOCABULARY, None | Some(Clean::Lower)) => Ok(TokenizerKind::Clip),
        // open_clip's own byte pairs; only its default cleaning is built.
        (None, CLIP_VOCABULARY, Some(_)) => {
            let value = arguments["clean"].as_str().unwrap_or_default();
            Err(refused(
                text,
                "tokenizer_kwargs.clean",
                value,
                "lower, for CLIP's own byte pairs",
            ))
        }
        _ => Ok(TokenizerKind::HuggingFace {
            clean: clean.unwrap_or(Clean::Whitespace),
            strip_sep: arguments["strip_sep_token"].as_bool().unwrap_or(false),
        }),
    }
}
