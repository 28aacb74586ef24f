//! What the pre-norm vision transformers share: patch embedding and blocks. Fields are the keys
//! of timm, whose names most original files use.

use super::backbone::Intermediate;
use super::layers::{Activation, Attention, LayerNorm, Linear, Mlp};
use super::request::{BlockPlan, Request};
use crate::Result;
use crate::weights::Params;
use serde_json::{Map, Value};
use tch::Tensor;

/// Convolution with kernel = stride = patch; pixels that fill no patch are dropped.
pub struct PatchEmbed {
    weight: Tensor,
    bias: Option<Tensor>,
    patch: i64,
}

impl PatchEmbed {
    /// `p` is the convolution itself (`patch_embed.proj`).
    pub fn new(p: &Params, patch: i64, width: i64, bias: bool) -> Result<Self> {
        Ok(PatchEmbed {
            weight: p.get("weight", &[width, 3, patch, patch])?,
            bias: bias.then(|| p.get("bias", &[width])).transpose()?,
            patch,
        })
    }

    /// x: `[B,3,H,W]` -> `[B,N,C]` in raster order
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let stride = [self.patch, self.patch];
        x.conv2d(&self.weight, self.bias.as_ref(), stride, [0, 0], [1, 1], 1)
            .flatten(2, 3)
            .transpose(1, 2)
    }

    /// (rows, columns) of the token grid of an input `[B,3,H,W]`.
    pub fn grid(&self, x: &Tensor) -> (i64, i64) {
        let size = x.size();
        (size[2] / self.patch, size[3] / self.patch)
    }
}

/// The feed-forward half of a block.
#[derive(Debug, Clone, Copy)]
pub enum FfnKind {
    Mlp(Activation),
    /// w3(silu(a) * b) with (a, b) the halves of w12(x)
    SwiGlu,
}

enum Ffn {
    Mlp(Mlp),
    SwiGlu { w12: Linear, w3: Linear },
}

impl Ffn {
    fn new(p: &Params, config: &BlockConfig) -> Result<Self> {
        let (dim, hidden) = (config.width, config.hidden);
        Ok(match config.ffn {
            FfnKind::Mlp(activation) => Ffn::Mlp(Mlp::new(p, dim, hidden, activation)?),
            FfnKind::SwiGlu => Ffn::SwiGlu {
                w12: Linear::new(p.pp("w12"), dim, 2 * hidden, true)?,
                w3: Linear::new(p.pp("w3"), hidden, dim, true)?,
            },
        })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        match self {
            Ffn::Mlp(mlp) => mlp.forward(x),
            Ffn::SwiGlu { w12, w3 } => {
                let halves = w12.forward(x).chunk(2, -1);
                w3.forward(&(halves[0].silu() * &halves[1]))
            }
        }
    }
}

/// Sizes of a stack of equal blocks.
#[derive(Debug, Clone, Copy)]
pub struct BlockConfig {
    /// C
    pub width: i64,
    pub heads: i64,
    /// Width inside the feed-forward half (of one half of a SwiGLU).
    pub hidden: i64,
    pub ffn: FfnKind,
    /// Of both norms.
    pub eps: f64,
    pub qkv_bias: bool,
    /// Whether each branch is scaled per channel (`ls1`, `ls2`).
    pub layer_scale: bool,
}

impl BlockConfig {
    /// Writes down what no tensor shows and every value depends on.
    pub fn note(&self, settings: &mut Map<String, Value>) {
        settings.insert("heads".into(), self.heads.into());
        settings.insert("eps".into(), self.eps.into());
    }
}

/// x += ls1 * attn(norm1(x)); x += ls2 * mlp(norm2(x))
pub struct Block {
    norm1: LayerNorm,
    attn: Attention,
    ls1: Option<Tensor>,
    norm2: LayerNorm,
    mlp: Ffn,
    ls2: Option<Tensor>,
}

impl Block {
    pub fn new(p: &Params, config: &BlockConfig) -> Result<Self> {
        let width = config.width;
        let scale = |name: &str| {
            config
                .layer_scale
                .then(|| p.pp(name).get("gamma", &[width]))
                .transpose()
        };
        Ok(Block {
            norm1: LayerNorm::new(p.pp("norm1"), width, config.eps)?,
            attn: Attention::new(&p.pp("attn"), width, config.heads, config.qkv_bias)?,
            ls1: scale("ls1")?,
            norm2: LayerNorm::new(p.pp("norm2"), width, config.eps)?,
            mlp: Ffn::new(&p.pp("mlp"), config)?,
            ls2: scale("ls2")?,
        })
    }

    /// x: [B, N, C]; `turn` sees queries and keys [B, heads, N, d] before they meet (RoPE).
    pub fn forward(&self, x: &Tensor, turn: Option<&dyn Fn(Tensor) -> Tensor>) -> Tensor {
        let x = x + scaled(
            self.attn.forward_turned(&self.norm1.forward(x), None, turn),
            self.ls1.as_ref(),
        );
        let y = scaled(self.mlp.forward(&self.norm2.forward(&x)), self.ls2.as_ref());
        x + y
    }
}

fn scaled(x: Tensor, scale: Option<&Tensor>) -> Tensor {
    match scale {
        Some(scale) => x * scale,
        None => x,
    }
}

/// `depth` blocks under `p` (`blocks`).
pub fn blocks(p: &Params, depth: i64, config: &BlockConfig) -> Result<Vec<Block>> {
    (0..depth).map(|i| Block::new(&p.pp(i), config)).collect()
}

/// Tokens behind one or several consecutive blocks, with the blocks' numbers.
pub type BlockGroup = [(usize, Tensor)];

/// Runs the blocks that `plan` wants and gathers what stands behind the chosen ones.
///
/// `state` is what goes from block to block; `block(i, state)` runs one, `tokens(state)` reads the
/// tokens off it, and `read` makes an intermediate of the tokens of a chosen block and of the ones
/// that are averaged into it.
pub fn through_blocks<S>(
    plan: &BlockPlan,
    mut state: S,
    mut block: impl FnMut(usize, S) -> S,
    tokens: impl Fn(&S) -> Tensor,
    read: impl Fn(&BlockGroup) -> Intermediate,
) -> (S, Vec<Intermediate>) {
    let mut intermediates = Vec::new();
    let mut group = Vec::new();
    for i in 0..plan.count() {
        state = block(i, state);
        if plan.contributes(i) {
            group.push((i, tokens(&state)));
        }
        if plan.is_chosen(i) {
            intermediates.push(read(&group));
            group.clear();
        }
    }
    (state, intermediates)
}

/// The mean over the blocks of a group.
pub fn mean_of(group: &BlockGroup) -> Tensor {
    match group {
        [(_, one)] => one.shallow_clone(),
        many => {
            let tokens: Vec<&Tensor> = many.iter().map(|(_, tokens)| tokens).collect();
            Tensor::stack(&tokens, 0).mean_dim(0, false, None)
        }
    }
}

/// Where the patch tokens of [B, P+N, C] lie.
#[derive(Debug, Clone, Copy)]
pub struct TokenSplit {
    /// P: class token (the first, where there is one) and registers
    pub prefix: i64,
    /// (rows, columns); N = rows * columns
    pub grid: (i64, i64),
}

impl TokenSplit {
    /// [B, P+N, C] -> [B, N, C]
    pub fn patches(self, tokens: &Tensor) -> Tensor {
        tokens.narrow(1, self.prefix, self.grid.0 * self.grid.1)
    }

    /// The class token [B, C], where there is one.
    pub fn class(self, tokens: &Tensor) -> Option<Tensor> {
        (self.prefix > 0).then(|| tokens.select(1, 0))
    }
}

/// The tokens of a plain ViT through its blocks: [B, P+N, C] -> the same behind the last block,
/// before the final norm, and the intermediates that were asked for.
pub fn encode(
    request: &Request,
    split: TokenSplit,
    tokens: Tensor,
    depth: usize,
    block: impl Fn(usize, &Tensor) -> Tensor,
    norm: impl Fn(&Tensor) -> Tensor,
) -> Result<(Tensor, Vec<Intermediate>)> {
    let plan = BlockPlan::new(request, depth)?;
    let normed = request.intermediates.as_ref().is_some_and(|r| r.norm);
    let read = |group: &BlockGroup| {
        let mut tokens = mean_of(group);
        if normed {
            tokens = norm(&tokens);
        }
        Intermediate {
            block: group.last().map_or(0, |(block, _)| *block),
            summary: split.class(&tokens),
            spatial: split.patches(&tokens),
            grid: split.grid,
        }
    };
    let step = |i: usize, tokens: Tensor| block(i, &tokens);
    Ok(through_blocks(
        &plan,
        tokens,
        step,
        Tensor::shallow_clone,
        read,
    ))
}

/// The letter that names a width, as in `ViT-L/14`.
pub fn size_name(width: i64) -> String {
    match width {
        192 => "T".into(),
        384 => "S".into(),
        768 => "B".into(),
        1024 => "L".into(),
        1152 => "SO400M".into(),
        1280 => "H".into(),
        1536 => "g".into(),
        3200 => "6B".into(),
        4096 => "7B".into(),
        other => format!("{other}"),
    }
}
