//! SigLIP's and SigLIP2's tokenizers, read from the `tokenizer.json` beside the weights.

use super::clean;
use crate::hash::sha256;
use crate::runtime::guard;
use crate::{Error, Result};
use std::path::Path;
use tokenizers::Tokenizer;

/// What ends a text and fills its row.
struct Specials {
    end: &'static str,
    pad: &'static str,
    clean: fn(&str) -> String,
}

/// SigLIP2 (Gemma's vocabulary). It comes first because Gemma knows `</s>` too, as HTML.
const SIGLIP2: Specials = Specials {
    end: "<eos>",
    pad: "<pad>",
    clean: clean::canonicalize,
};
const SIGLIP: Specials = Specials {
    end: "</s>",
    pad: "</s>",
    clean: clean::basic_canonicalize,
};

/// Text to rows of token ids.
pub struct SiglipTokenizer {
    tokenizer: Tokenizer,
    clean: fn(&str) -> String,
    end: i64,
    pad: i64,
    context: usize,
    sha256: String,
}

impl SiglipTokenizer {
    /// `context`: tokens in a row (64).
    pub fn open(path: &Path, context: usize) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::file(
                path,
                "is missing; SigLIP's vocabulary does not ship with this tool, put the `tokenizer.json` of the model's repository beside the weights",
            ),
            _ => Error::file(path, e),
        })?;
        let mut tokenizer = guard::catch(|| Tokenizer::from_bytes(&bytes))
            .map_err(|panic| Error::file(path, format!("its reader gave up ({panic})")))?
            .map_err(|e| Error::file(path, e))?;
        // Cutting, ending and padding follow the towers' rules, whatever the file says.
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(None)
            .map_err(|e| Error::file(path, e))?;
        for rules in [SIGLIP2, SIGLIP] {
            let id = |token| tokenizer.token_to_id(token).map(i64::from);
            if let (Some(end), Some(pad)) = (id(rules.end), id(rules.pad)) {
                return Ok(SiglipTokenizer {
                    clean: rules.clean,
                    end,
                    pad,
                    tokenizer,
                    context,
                    sha256: sha256(&bytes),
                });
            }
        }
        Err(Error::file(
            path,
            "has neither `</s>` (SigLIP) nor `<eos>` and `<pad>` (SigLIP2); is it of another model?",
        ))
    }

    /// One row of `context` ids: the text (cut to leave room), its end, padding on the right.
    pub fn row(&self, text: &str) -> Result<Vec<i64>> {
        let text = (self.clean)(text);
        let encoding = guard::catch(|| self.tokenizer.encode_fast(text, false))
            .map_err(|panic| Error::model(format!("the tokenizer gave up ({panic})")))?
            .map_err(Error::model)?;
        let ids = encoding.get_ids().iter().map(|id| i64::from(*id));
        let mut row: Vec<i64> = ids.take(self.context.saturating_sub(1)).collect();
        row.push(self.end);
        row.resize(self.context, self.pad);
        Ok(row)
    }

    /// For cache keys.
    pub fn identity(&self) -> String {
        format!("tokenizer.json {}", self.sha256)
    }
}
