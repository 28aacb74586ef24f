//! open_clip's `HFTokenizer`: whatever tokenizer the `tokenizer.json` beside the weights says.

use super::clean;
use super::settings::Clean;
use crate::files::text;
use crate::hash::hex;
use crate::{Error, Result};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::Path;
use tokenizers::{PaddingParams, PaddingStrategy, Tokenizer, TruncationParams};

/// Text to rows of token ids, with the file's own special tokens.
pub struct HuggingFaceTokenizer {
    tokenizer: Tokenizer,
    clean: Clean,
    /// The separator, where it becomes 0.
    strip: Option<i64>,
    sha256: String,
}

impl HuggingFaceTokenizer {
    /// `file`: `tokenizer.json`, with `tokenizer_config.json` beside it where the pad token needs
    /// naming; `context`: tokens in a row; `needed_for`: why CLIP's own does not do, for the error.
    pub fn open(
        file: &Path,
        context: usize,
        clean: Clean,
        strip_sep: bool,
        needed_for: &str,
    ) -> Result<Self> {
        let bytes = std::fs::read(file).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::file(
                file,
                format!(
                    "is missing; {needed_for}, so put the `tokenizer.json` (and `tokenizer_config.json`) of that tokenizer beside the weights"
                ),
            ),
            _ => Error::file(file, e),
        })?;
        let sha256 = hex(&Sha256::digest(&bytes));
        let mut tokenizer =
            Tokenizer::from_bytes(text::decode(bytes, file)?).map_err(|e| Error::file(file, e))?;
        let config = beside(file);
        let named = |key: &str| match &config[key] {
            Value::String(token) => Some(token.clone()),
            token => token["content"].as_str().map(str::to_string),
        };
        let pad = match (named("pad_token"), tokenizer.get_padding()) {
            (Some(token), _) => token,
            (None, Some(own)) => own.pad_token.clone(),
            (None, None) => ["<pad>", "[PAD]", "<|endoftext|>", "</s>"]
                .into_iter()
                .find(|token| tokenizer.token_to_id(token).is_some())
                .unwrap_or_default()
                .to_string(),
        };
        let id = |token: &str| tokenizer.token_to_id(token);
        let pad_id = id(&pad).ok_or_else(|| {
            Error::file(
                file,
                "names no token to fill rows with; put its `tokenizer_config.json` (`pad_token`) beside it",
            )
        })?;
        let sep = named("sep_token").unwrap_or_else(|| "[SEP]".into());
        let strip = match (strip_sep, id(&sep)) {
            (false, _) => None,
            (true, Some(id)) => Some(i64::from(id)),
            (true, None) => {
                return Err(Error::file(
                    file,
                    "has no separator, which `strip_sep_token` needs",
                ));
            }
        };
        tokenizer.with_padding(Some(PaddingParams {
            strategy: PaddingStrategy::Fixed(context),
            pad_id,
            pad_token: pad,
            ..PaddingParams::default()
        }));
        let cut = TruncationParams {
            max_length: context,
            ..TruncationParams::default()
        };
        tokenizer
            .with_truncation(Some(cut))
            .map_err(|e| Error::file(file, e))?;
        Ok(HuggingFaceTokenizer {
            tokenizer,
            clean,
            strip,
            sha256,
        })
    }

    /// One row of ids, cut and filled to the context.
    pub fn row(&self, text: &str) -> Result<Vec<i64>> {
        let text = match self.clean {
            Clean::Whitespace => clean::whitespace(text),
            Clean::Lower => clean::lower(text),
            Clean::Canonicalize => clean::basic_canonicalize(text),
        };
        let encoding = self.tokenizer.encode(text, true).map_err(Error::model)?;
        let ids = encoding.get_ids().iter().map(|&id| i64::from(id));
        Ok(ids
            .map(|id| if self.strip == Some(id) { 0 } else { id })
            .collect())
    }

    /// For cache keys.
    pub fn identity(&self) -> String {
        let clean = match self.clean {
            Clean::Whitespace => "whitespace",
            Clean::Lower => "lower",
            Clean::Canonicalize => "canonicalize",
        };
        format!("tokenizer.json {}, cleaned: {clean}", self.sha256)
    }
}

/// `tokenizer_config.json`; nothing where it is not there.
fn beside(file: &Path) -> Value {
    text::read_json(&file.with_file_name("tokenizer_config.json")).unwrap_or_default()
}
