//! Text towers of CLIP, SigLIP and SigLIP2, with their tokenizers: prompts become embeddings that
//! lie beside those of images (spec/teachers.md §2.3-2.4, §3, §6.3; spec/radio.md §4.3-4.4).
//!
//! A tower is read from the same file as its vision tower, in open_clip's or transformers' layout,
//! and always runs in fp32.

mod bpe;
mod clean;
mod config;
mod ftfy;
mod html;
mod huggingface;
mod layout;
mod sentencepiece;
mod settings;
mod tower;

pub use bpe::ClipTokenizer;
pub use huggingface::HuggingFaceTokenizer;
pub use sentencepiece::SiglipTokenizer;
pub use settings::Clean;

use super::layers::Activation;
use super::{BuildOptions, pe, recognise};
use crate::Result;
use crate::weights::{Checkpoint, ParamStore, sets};
use config::TextConfig;
use serde_json::{Map, Value};
use std::path::Path;
use tch::{Kind, Tensor};

/// Text to joint embeddings.
pub trait TextTower: Send {
    /// Tokens in a row.
    fn context(&self) -> usize;

    /// E
    fn embed_dim(&self) -> i64;

    /// What beside the weights decides the embeddings (tokenizer, activation), for records and
    /// cache keys.
    fn settings(&self) -> Result<Map<String, Value>>;

    /// int64 [n, context], on the CPU.
    fn tokenize(&self, texts: &[String]) -> Result<Tensor>;

    /// tokens: int64 [n, context] -> [n, E] fp32 on the tower's device, not normalised.
    fn encode(&self, tokens: &Tensor) -> Result<Tensor>;
}

/// The image-text model in a file, free of what trainers wrap around it, with its own description;
/// the checkpoint as it is where there is none, for [`load`] to say so.
pub fn open(path: &Path) -> Result<Checkpoint> {
    let checkpoint = Checkpoint::open(path)?;
    if let Ok(found) = recognise::find(&checkpoint)
        && present(&found.checkpoint)
    {
        return Ok(found.checkpoint);
    }
    // A text tower saved without its images is of no architecture.
    let sets = sets::search(&checkpoint, &mut |set: &mut Checkpoint| {
        present(set).then_some(())
    });
    let first = sets.into_iter().next();
    Ok(first.map_or(checkpoint, |set| set.checkpoint))
}

/// Whether the checkpoint holds a text tower.
pub fn present(checkpoint: &Checkpoint) -> bool {
    layout::find(checkpoint).is_some()
}

/// Loads the text tower of a checkpoint, strictly; its image side is not looked at. The tokenizer
/// is read when the first text comes.
pub fn load(checkpoint: &Checkpoint, options: &BuildOptions) -> Result<Box<dyn TextTower>> {
    let (text, layout) = layout::text_side(checkpoint)?;
    let mut config = TextConfig::from_checkpoint(&text, &options.zoo_hints)?;
    if pe::is_core(checkpoint) {
        // Upstream's default, which no PE changes (`act_layer` of its TextTransformer).
        config.activation = Activation::Gelu;
    }
    let store = ParamStore::new(&text, options.device, Kind::Float);
    let tower = crate::runtime::guard(|| {
        let _no_grad = tch::no_grad_guard();
        let tower = tower::Tower::new(&store.root(), &config, checkpoint)?;
        store.finish(layout::is_dead)?;
        Ok(tower)
    });
    match (tower, layout) {
        (Ok(tower), _) => Ok(Box::new(tower)),
        (Err(error), Some(layout)) => Err(layout.explain(error)),
        (Err(error), None) => Err(error),
    }
}
