//! The transformer of a text tower. Fields are open_clip's keys.

use super::config::{Family, TextConfig};
use super::huggingface::HuggingFaceTokenizer;
use super::settings::{Pool, TokenizerKind};
use super::{ClipTokenizer, SiglipTokenizer, TextTower};
use crate::models::layers::{Activation, Attention, LayerNorm, Linear};
use crate::weights::{Checkpoint, Params};
use crate::{Error, Result};
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::sync::OnceLock;
use tch::{Device, Kind, Tensor};

/// x += attn(ln_1(x)); x += mlp(ln_2(x))
struct Block {
    ln_1: LayerNorm,
    attn: Attention,
    ln_2: LayerNorm,
    c_fc: Linear,
    c_proj: Linear,
    activation: Activation,
}

impl Block {
    fn new(p: &Params, config: &TextConfig) -> Result<Self> {
        let (width, hidden) = (config.width, config.hidden);
        let (attn, mlp) = (p.pp("attn"), p.pp("mlp"));
        let qkv = Linear::from_tensors(
            attn.get("in_proj_weight", &[3 * width, width])?,
            Some(attn.get("in_proj_bias", &[3 * width])?),
        )?;
        let out_proj = Linear::new(attn.pp("out_proj"), width, width, true)?;
        Ok(Block {
            ln_1: LayerNorm::new(p.pp("ln_1"), width, config.eps)?,
            attn: Attention::from_parts(qkv, out_proj, config.heads),
            ln_2: LayerNorm::new(p.pp("ln_2"), width, config.eps)?,
            c_fc: Linear::new(mlp.pp("c_fc"), width, hidden, true)?,
            c_proj: Linear::new(mlp.pp("c_proj"), hidden, width, true)?,
            activation: config.activation,
        })
    }

    /// x: [n, context, T]
    fn forward(&self, x: &Tensor, mask: Option<&Tensor>) -> Tensor {
        let x = x + self.attn.forward(&self.ln_1.forward(x), mask);
        let hidden = self
            .activation
            .forward(&self.c_fc.forward(&self.ln_2.forward(&x)));
        &x + self.c_proj.forward(&hidden)
    }
}

enum Tokenizer {
    Clip(ClipTokenizer),
    Siglip(SiglipTokenizer),
    HuggingFace(HuggingFaceTokenizer),
}

pub struct Tower {
    token_embedding: Tensor,
    positional_embedding: Tensor,
    resblocks: Vec<Block>,
    ln_final: LayerNorm,
    text_projection: Linear,
    /// [context, context]: -inf above the diagonal (CLIP).
    mask: Option<Tensor>,
    pool: Pool,
    tokenizer_kind: TokenizerKind,
    tokenizer_reason: String,
    vocabulary: i64,
    context: i64,
    embed_dim: i64,
    activation: Activation,
    device: Device,
    /// The user's file beside the weights (SigLIP).
    tokenizer_file: PathBuf,
    tokenizer: OnceLock<Tokenizer>,
}

impl Tower {
    /// `checkpoint`: the file the tower is read from; a tokenizer lies beside it.
    pub fn new(p: &Params, config: &TextConfig, checkpoint: &Checkpoint) -> Result<Self> {
        let (width, context, embed) = (config.width, config.context, config.embed_dim);
        let text_projection = match config.family {
            Family::Clip => {
                let projection = p.get("text_projection", &[width, embed])?; // [T, E]
                Linear::from_tensors(projection.tr().contiguous(), None)?
            }
            Family::Siglip => Linear::new(p.pp("text_projection"), width, embed, true)?,
        };
        let mask = config.causal.then(|| {
            Tensor::full(
                [context, context],
                f64::NEG_INFINITY,
                (Kind::Float, p.device()),
            )
            .triu(1)
        });
        let blocks = p.pp("transformer").pp("resblocks");
        let folder = match checkpoint.path.is_dir() {
            true => Some(checkpoint.path.as_path()),
            false => checkpoint.path.parent(),
        };
        Ok(Tower {
            token_embedding: p
                .pp("token_embedding")
                .get("weight", &[config.vocabulary, width])?,
            positional_embedding: p.get("positional_embedding", &[context, width])?,
            resblocks: (0..config.layers)
                .map(|i| Block::new(&blocks.pp(i), config))
                .collect::<Result<_>>()?,
            ln_final: LayerNorm::new(p.pp("ln_final"), width, config.eps)?,
            text_projection,
            mask,
            pool: config.pool,
            tokenizer_kind: config.tokenizer.clone(),
            tokenizer_reason: config.tokenizer_reason.clone(),
            vocabulary: config.vocabulary,
            context,
            embed_dim: embed,
            activation: config.activation,
            device: p.device(),
            tokenizer_file: folder.map(|f| f.join("tokenizer.json")).unwrap_or_default(),
            tokenizer: OnceLock::new(),
        })
    }

    fn tokenizer(&self) -> Result<&Tokenizer> {
        if let Some(ready) = self.tokenizer.get() {
            return Ok(ready);
        }
        let context = self.context as usize;
        let tokenizer = match &self.tokenizer_kind {
            TokenizerKind::Clip => Tokenizer::Clip(ClipTokenizer::new(context)?),
            TokenizerKind::Siglip => {
                Tokenizer::Siglip(SiglipTokenizer::open(&self.tokenizer_file, context)?)
            }
            TokenizerKind::HuggingFace { clean, strip_sep } => {
                Tokenizer::HuggingFace(HuggingFaceTokenizer::open(
                    &self.tokenizer_file,
                    context,
                    *clean,
                    *strip_sep,
                    &self.tokenizer_reason,
                )?)
            }
        };
        Ok(self.tokenizer.get_or_init(|| tokenizer))
    }

    /// tokens: [n, context] on the tower's device -> [n, E]
    fn forward(&self, tokens: &Tensor) -> Tensor {
        // The first of the tokens that a text ends with, as torch takes it.
        let ends = match self.pool {
            Pool::First => return self.project(&self.hidden(tokens).select(1, 0)),
            Pool::Last => return self.project(&self.hidden(tokens).select(1, -1)),
            Pool::Argmax => tokens.argmax(1, true),
            Pool::Id(id) => tokens.eq(id).to_kind(Kind::Int).argmax(1, true),
        }; // [n, 1]
        // Under the causal mask nothing behind the last end reaches it.
        let used = match self.mask {
            Some(_) => ends.max().int64_value(&[]) + 1,
            None => tokens.size()[1],
        };
        let x = self.hidden(&tokens.narrow(1, 0, used));
        let index = ends.unsqueeze(-1).expand([-1, -1, x.size()[2]], false);
        self.project(&x.gather(1, &index, false).squeeze_dim(1))
    }

    /// tokens: [n, used] -> [n, used, T], before the final norm
    fn hidden(&self, tokens: &Tensor) -> Tensor {
        let used = tokens.size()[1];
        let mask = self.mask.as_ref();
        let mask = mask.map(|mask| mask.narrow(0, 0, used).narrow(1, 0, used));
        let mut x = Tensor::embedding(&self.token_embedding, tokens, -1, false, false)
            + self.positional_embedding.narrow(0, 0, used);
        for block in &self.resblocks {
            x = block.forward(&x, mask.as_ref());
        }
        x
    }

    /// pooled: [n, T] -> [n, E]
    fn project(&self, pooled: &Tensor) -> Tensor {
        self.text_projection.forward(&self.ln_final.forward(pooled))
    }
}

impl TextTower for Tower {
    fn context(&self) -> usize {
        self.context as usize
    }

    fn embed_dim(&self) -> i64 {
        self.embed_dim
    }

    fn settings(&self) -> Result<Map<String, Value>> {
        let tokenizer = match self.tokenizer()? {
            Tokenizer::Clip(_) => "clip bpe".to_string(),
            Tokenizer::Siglip(siglip) => siglip.identity(),
            Tokenizer::HuggingFace(other) => other.identity(),
        };
        let mut settings = Map::new();
        settings.insert("tokenizer".into(), json!(tokenizer));
        settings.insert("activation".into(), json!(self.activation.name()));
        settings.insert("context".into(), json!(self.context));
        settings.insert("causal_mask".into(), json!(self.mask.is_some()));
        settings.insert("pooled_at".into(), json!(self.pool.name()));
        Ok(settings)
    }

    fn tokenize(&self, texts: &[String]) -> Result<Tensor> {
        let tokenizer = self.tokenizer()?;
        let mut ids = Vec::with_capacity(texts.len() * self.context as usize);
        for text in texts {
            ids.extend(match tokenizer {
                Tokenizer::Clip(clip) => clip.row(text)?,
                Tokenizer::Siglip(siglip) => siglip.row(text)?,
                Tokenizer::HuggingFace(other) => other.row(text)?,
            });
        }
        Ok(Tensor::f_from_slice(&ids)?.f_view([texts.len() as i64, self.context])?)
    }

    fn encode(&self, tokens: &Tensor) -> Result<Tensor> {
        let size = tokens.size();
        if size.len() != 2 || size[1] != self.context {
            return Err(Error::model(format!(
                "the text tower takes rows of {} tokens, not a tensor of shape {size:?}",
                self.context
            )));
        }
        crate::runtime::guard(|| {
            tch::no_grad(|| {
                let tokens = tokens.to_kind(Kind::Int64);
                if tokens.numel() == 0 {
                    return Ok(Tensor::zeros(
                        [0, self.embed_dim],
                        (Kind::Float, self.device),
                    ));
                }
                let (low, high) = (tokens.min().int64_value(&[]), tokens.max().int64_value(&[]));
                if low < 0 || high >= self.vocabulary {
                    return Err(Error::model(format!(
                        "the text has a token {}, the text tower knows 0 to {} only; do its tokenizer and its weights belong together?",
                        if low < 0 { low } else { high },
                        self.vocabulary - 1
                    )));
                }
                Ok(self.forward(&tokens.to_device(self.device)))
            })
        })
    }
}
