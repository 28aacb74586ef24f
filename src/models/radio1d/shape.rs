//! Everything that shapes a RADIO1D: from the tensors of a file, or from args alone.

use crate::models::positions::isqrt;
use crate::models::student::args::Args;
use crate::weights::Checkpoint;
use crate::{Error, Result};
use serde_json::Value;
use tch::Kind;

/// Side of the nominal image whose merged grid the filler tokens cover (timm's `img_size`).
const NOMINAL_SIDE: i64 = 224;
/// Decoder blocks where the args do not say (upstream's default).
const DECODER_DEPTH: i64 = 6;
/// Most tokens that a code may be asked to have.
pub const MOST_TOKENS: i64 = 65_536;

/// One transformer block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockShape {
    pub width: i64,
    pub heads: i64,
    /// Width inside the MLP.
    pub hidden: i64,
}

/// Sizes of the network, levels included.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    pub patch: i64,
    /// Side of the learned position map.
    pub map_side: i64,
    /// K
    pub cls_tokens: i64,
    /// P = K + R
    pub prefix_tokens: i64,
    pub encoder: Vec<BlockShape>,
    /// Encoder blocks in front of which four tokens become one.
    pub merges: Vec<usize>,
    pub decoder: Vec<BlockShape>,
    /// Decoder blocks in front of which one token becomes four.
    pub splits: Vec<usize>,
    /// Side of the grid of filler tokens.
    pub filler_side: i64,
    pub layer_scale: bool,
    pub embed_bias: bool,
    /// `args.model_norm`: the encoder ends in a LayerNorm.
    pub final_norm: bool,
    /// Tokens that are not asked for leave the encoder one by one behind the last merging.
    pub progressive: bool,
    /// The file holds the parts that choose a number of tokens per picture (spec §5).
    pub dynamic_rate: bool,
    /// Cls tokens of the summary.
    pub summary: Vec<i64>,
    /// The precision the args ask for.
    pub dtype: Kind,
}

impl Shape {
    /// C, before any merging; also what the decoder ends with.
    pub fn width(&self) -> i64 {
        self.encoder.first().map_or(0, |block| block.width)
    }

    /// C', behind the last merging.
    pub fn code_width(&self) -> i64 {
        self.encoder.last().map_or(0, |block| block.width)
    }

    /// Tokens there are at most for a patch grid: floor(h w / 4^M).
    pub fn token_limit(&self, (h, w): (i64, i64)) -> i64 {
        (h * w) >> (2 * self.merges.len())
    }

    /// Refuses a number of tokens that a code of this network cannot have.
    pub fn check_tokens(&self, tokens: i64) -> Result<()> {
        let refuse = |reason: String| Err(Error::usage(format!("--tokens {tokens}: {reason}")));
        if tokens == 0 || tokens.abs() > MOST_TOKENS {
            return refuse(format!("a code has 1 to {MOST_TOKENS} tokens"));
        }
        if tokens < 0 && !self.dynamic_rate {
            return refuse(
                "a negative number lets a model with dynamic_rate choose the tokens of each picture, and this one has none in its args; use a positive number".into(),
            );
        }
        if tokens < 0 && self.progressive {
            return refuse(
                "together with progressive_reduction the dynamic rate is not built; use a positive number".into(),
            );
        }
        Ok(())
    }

    /// From args alone: random weights.
    pub fn of_args(config: &Value) -> Result<Self> {
        let args = Args::from_config(config);
        let base = Base::from_args(args)?;
        let kwarg = |name: &str| args.kwarg(name).as_i64().filter(|&n| n > 0);
        let merges = levels(args.kwarg("downscale_levels")).filter(|levels| !levels.is_empty());
        let merges = merges.ok_or_else(|| {
            Error::model("the args have no model_kwargs.downscale_levels, which RADIO1D needs")
        })?;
        let decoder_depth = kwarg("decoder_depth").unwrap_or(DECODER_DEPTH);
        let splits = levels(args.kwarg("decoder_upscale_levels"))
            .unwrap_or_else(|| vec![decoder_depth as usize / 2]);
        let map_pixels = kwarg("cpe_max_size").ok_or_else(|| {
            Error::model(
                "the args have no model_kwargs.cpe_max_size, so the position map's size is unknown",
            )
        })?;
        let cls_tokens = kwarg("num_cls_tokens").unwrap_or(1);
        let registers = match (kwarg("num_registers"), kwarg("register_multiple")) {
            (Some(n), _) => n,
            (None, Some(multiple)) => multiple - cls_tokens % multiple,
            (None, None) => 0,
        };
        let (mut width, mut heads) = (base.width, base.heads);
        let hidden = |width: i64| (width as f64 * base.mlp_ratio) as i64;
        let mut encoder = Vec::new();
        for index in 0..base.depth as usize {
            if merges.contains(&index) {
                (width, heads) = (2 * width, 2 * heads);
            }
            encoder.push(BlockShape {
                width,
                heads,
                hidden: hidden(width),
            });
        }
        heads = base.heads;
        let mut decoder = Vec::new();
        for index in 0..decoder_depth as usize {
            if splits.contains(&index) {
                (width, heads) = (width / 2, (heads / 2).max(1));
            }
            decoder.push(BlockShape {
                width,
                heads,
                hidden: hidden(width),
            });
        }
        let nominal = kwarg("img_size").unwrap_or(NOMINAL_SIDE) / base.patch;
        Shape {
            patch: base.patch,
            map_side: map_pixels / base.patch,
            cls_tokens,
            prefix_tokens: cls_tokens + registers,
            encoder,
            filler_side: isqrt((nominal * nominal) >> (2 * merges.len())),
            merges,
            decoder,
            splits,
            layer_scale: args.kwarg("init_values").as_f64().is_some(),
            embed_bias: false,
            final_norm: args.model_norm(),
            progressive: args.kwarg("progressive_reduction").as_bool() == Some(true),
            dynamic_rate: args.kwarg("dynamic_rate").as_bool() == Some(true),
            summary: args.summary_tokens(),
            dtype: args.dtype(),
        }
        .checked()
    }

    /// From the tensors of `checkpoint` (under our names) and its args.
    pub fn of_file(checkpoint: &Checkpoint) -> Result<Self> {
        let args = Args::from_config(&checkpoint.config);
        let tensor = |name: &str, rank: usize| {
            let shape = checkpoint.shape(name).ok_or_else(|| {
                Error::tensor(&checkpoint.path, name, "missing; every RADIO1D has it")
            })?;
            match shape.len() == rank {
                true => Ok(shape),
                false => Err(Error::tensor(
                    &checkpoint.path,
                    name,
                    format!("has shape {shape:?}, RADIO1D needs {rank} axes"),
                )),
            }
        };
        let square = |name: &str, value: i64, meaning: &str| {
            let root = isqrt(value);
            match value > 0 && root * root == value {
                true => Ok(root),
                false => Err(Error::tensor(
                    &checkpoint.path,
                    name,
                    format!("holds {value} {meaning}, which are no square"),
                )),
            }
        };
        let embedder = "model.patch_generator.embedder.weight";
        let pixels = tensor(embedder, 2)?[1];
        let patch = square(embedder, pixels / 3, "values per channel")?;
        let table = "model.patch_generator.pos_embed";
        let filler = "model.decoder.filler_tokens";
        let heads = Base::from_args(args)?.heads;
        let stack = |module: &str| -> Result<Vec<(i64, i64)>> {
            let depth = checkpoint.count(&format!("{module}."), ".attn.qkv.weight");
            let of_block = |index| {
                let fc1 = tensor(&format!("{module}.{index}.mlp.fc1.weight"), 2)?;
                Ok((fc1[1], fc1[0]))
            };
            (0..depth).map(of_block).collect()
        };
        let (width, mut count) = (tensor(embedder, 2)?[0], heads);
        let (mut last, mut merges, mut encoder) = (width, Vec::new(), Vec::new());
        for (index, (width, hidden)) in stack("model.blocks")?.into_iter().enumerate() {
            if width != last {
                merges.push(index);
                // The head size stays.
                count = count * width / last.max(1);
            }
            last = width;
            encoder.push(BlockShape {
                width,
                heads: count,
                hidden,
            });
        }
        count = heads;
        let (mut splits, mut decoder) = (Vec::new(), Vec::new());
        for (index, (width, hidden)) in stack("model.decoder.blocks")?.into_iter().enumerate() {
            if width != last {
                splits.push(index);
                count = (count * width / last.max(1)).max(1);
            }
            last = width;
            decoder.push(BlockShape {
                width,
                heads: count,
                hidden,
            });
        }
        let stored = checkpoint.tensors().and_then(|t| t.get("summary_idxs"));
        let summary = match stored {
            Some(indices) => Vec::try_from(indices.read_stored()?)?,
            None => args.summary_tokens(),
        };
        let cls_tokens = args.kwarg("num_cls_tokens").as_i64().ok_or_else(|| {
            Error::file(
                &checkpoint.path,
                "the args have no model_kwargs.num_cls_tokens, which no tensor tells; put the model's config.json beside the weights",
            )
        })?;
        Shape {
            patch,
            map_side: square(table, tensor(table, 3)?[1], "positions")?,
            cls_tokens,
            prefix_tokens: tensor("model.patch_generator.cls_token.token", 2)?[0],
            encoder,
            merges,
            decoder,
            splits,
            filler_side: square(filler, tensor(filler, 2)?[0], "filler tokens")?,
            layer_scale: checkpoint.has("model.blocks.0.ls1.gamma"),
            embed_bias: checkpoint.has("model.patch_generator.embedder.bias"),
            final_norm: args.model_norm(),
            progressive: args.kwarg("progressive_reduction").as_bool() == Some(true),
            dynamic_rate: args.kwarg("dynamic_rate").as_bool() == Some(true),
            summary,
            dtype: args.dtype(),
        }
        .checked()
    }

    /// Refuses what would fail later, where no one could tell why.
    fn checked(self) -> Result<Self> {
        let fail = |reason: String| Err(Error::model(reason));
        if self.encoder.is_empty() || self.decoder.is_empty() {
            return fail("a RADIO1D needs blocks in its encoder and in its decoder".into());
        }
        if let Some(block) = (self.encoder.iter().chain(&self.decoder))
            .find(|b| b.heads <= 0 || b.width % b.heads != 0)
        {
            return fail(format!(
                "a width of {} does not split into {} attention heads; the args do not belong to these weights",
                block.width, block.heads
            ));
        }
        if self.merges.is_empty() || self.merges.len() != self.splits.len() {
            return fail(format!(
                "the encoder merges tokens {} times and the decoder splits them {} times; both must be equal and at least 1",
                self.merges.len(),
                self.splits.len()
            ));
        }
        if self.decoder.last().map(|b| b.width) != Some(self.width()) {
            return fail(
                "the decoder does not end at the width that the encoder starts with".into(),
            );
        }
        if self.cls_tokens < 1 || self.cls_tokens > self.prefix_tokens {
            return fail(format!(
                "the args ask for {} cls tokens, the file holds {} prefix tokens in all",
                self.cls_tokens, self.prefix_tokens
            ));
        }
        if self.summary.is_empty() {
            return fail("no teacher has use_summary, so there is no summary".into());
        }
        match self
            .summary
            .iter()
            .find(|&&t| t < 0 || t >= self.cls_tokens)
        {
            Some(token) => fail(format!(
                "cls token {token} is asked for by the summary, there are {}",
                self.cls_tokens
            )),
            None => Ok(self),
        }
    }
}

/// What upstream registers under a name, as changed by `model_kwargs`.
struct Base {
    patch: i64,
    width: i64,
    depth: i64,
    heads: i64,
    mlp_ratio: f64,
}

impl Base {
    /// `radio1d_{large,so400m,huge}_patch16_224` (upstream radio/radio1d.py).
    fn from_args(args: Args) -> Result<Self> {
        let name = args.model().unwrap_or_default();
        let (width, depth, hidden) = match name {
            "radio1d_large_patch16_224" => (1024, 24, 4096),
            "radio1d_so400m_patch16_224" => (1152, 27, 4304),
            "radio1d_huge_patch16_224" => (1280, 32, 5120),
            _ => {
                return Err(Error::model(format!(
                    "the args name the student `{name}`; a RADIO1D is radio1d_large_patch16_224, radio1d_so400m_patch16_224 or radio1d_huge_patch16_224"
                )));
            }
        };
        let kwarg = |key: &str| args.kwarg(key).as_i64().filter(|&n| n > 0);
        let ratio = args.kwarg("mlp_ratio").as_f64();
        Ok(Base {
            patch: kwarg("patch_size").unwrap_or(16),
            width: kwarg("embed_dim").unwrap_or(width),
            depth: kwarg("depth").unwrap_or(depth),
            heads: kwarg("num_heads").unwrap_or(16),
            mlp_ratio: ratio.unwrap_or(f64::from(hidden) / width as f64),
        })
    }
}

/// Sorted block numbers; `None` where the args do not give any.
fn levels(value: &Value) -> Option<Vec<usize>> {
    let mut levels: Vec<usize> = (value.as_array()?.iter())
        .filter_map(|v| usize::try_from(v.as_u64()?).ok())
        .collect();
    levels.sort_unstable();
    levels.dedup();
    Some(levels)
}
