//! Tokenizers and text towers against open_clip's and transformers' values.

mod sentencepiece;
mod tokens;
mod towers;
