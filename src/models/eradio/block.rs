//! One windowed attention block, at full or sub-sampled resolution (spec radio.md §3.5).

use super::attention::WindowAttention;
use super::config::Config;
use super::conv::{Conv, Shape};
use super::shift;
use super::windows::Windows;
use crate::Result;
use crate::models::layers::{Activation, LayerNorm, Linear, add_residual};
use crate::weights::Params;
use tch::Tensor;

/// LayerNorm's eps in E-RADIO (torch's default; the ViTs use 1e-6).
const LAYER_NORM_EPS: f64 = 1e-5;

/// What differs between the blocks of a level.
#[derive(Debug, Clone, Copy)]
pub struct BlockShape {
    pub dim: i64,
    pub heads: i64,
    /// The window the weights were trained with.
    pub window: i64,
    /// Sub-sampling ratio.
    pub ratio: i64,
    /// Swin-like cyclic shift in tokens, 0 for none.
    pub shift: i64,
}

/// `attention_blocks.a`: out = 0.5·x + 0.5·f(x).
pub struct AttentionBlock {
    sampling: Sampling,
    norm1: LayerNorm,
    attn: WindowAttention,
    gamma1: Option<Tensor>,
    norm2: LayerNorm,
    mlp: Mlp,
    gamma2: Option<Tensor>,
    shift: i64,
}

/// How a block gets from the map to its tokens and back.
enum Sampling {
    /// Full resolution, after a convolution with a residual (`None`: the map is doubled).
    Full { pre_conv: Option<Conv> },
    /// A convolution and a transposed one whose stride is their kernel: a matrix product on the
    /// places of a cell (keys `downsample_op`, `upsample_op`).
    Strided {
        ratio: i64,
        down: Linear,
        up: Linear,
    },
    /// Average pooling and nearest-neighbour enlargement, with a 1x1 convolution each.
    Pooled { ratio: i64, down: Conv, up: Conv },
}

impl Sampling {
    fn new(p: &Params, config: &Config, dim: i64, ratio: i64) -> Result<Self> {
        let pointwise = |name| Conv::with_batch_norm(&p.pp(name), dim, dim, Shape::same(1), None);
        if ratio == 1 {
            let groups = ((config.conv_groups_ratio * dim as f64) as i64).max(1);
            let shape = Shape::same(3).groups(groups);
            let pre_conv = (config.conv_groups_ratio != -1.0)
                .then(|| Conv::with_batch_norm(&p.pp("pre_conv"), dim, dim, shape, None));
            Ok(Sampling::Full {
                pre_conv: pre_conv.transpose()?,
            })
        } else if config.conv_base {
            let (down, up) = (p.pp("downsample_op"), p.pp("upsample_op"));
            let size = [dim, dim, ratio, ratio];
            let cell = ratio * ratio * dim;
            let (weight, bias) = (down.get("weight", &size)?, down.get("bias", &[dim])?);
            // [out, in, y, x] -> rows out, columns (y, x, in)
            let down = move || {
                let weight = weight.permute([0, 2, 3, 1]).reshape([dim, cell]);
                (weight, Some(bias.shallow_clone()))
            };
            let (weight, bias) = (up.get("weight", &size)?, up.get("bias", &[dim])?);
            // [in, out, y, x] -> rows (y, x, out), columns in
            let up = move || {
                let weight = weight.permute([2, 3, 1, 0]).reshape([cell, dim]);
                (weight, Some(bias.repeat([ratio * ratio])))
            };
            Ok(Sampling::Strided {
                ratio,
                down: Linear::arranged(p, down)?,
                up: Linear::arranged(p, up)?,
            })
        } else {
            Ok(Sampling::Pooled {
                ratio,
                down: pointwise("downsample_mixer")?,
                up: pointwise("upsample_op")?,
            })
        }
    }
}

impl AttentionBlock {
    pub fn new(p: &Params, config: &Config, shape: BlockShape) -> Result<Self> {
        let BlockShape {
            dim, heads, window, ..
        } = shape;
        let gamma = |name| config.layer_scale.map(|_| p.get(name, &[dim])).transpose();
        Ok(AttentionBlock {
            sampling: Sampling::new(p, config, dim, shape.ratio)?,
            norm1: LayerNorm::new(p.pp("norm1"), dim, LAYER_NORM_EPS)?,
            attn: WindowAttention::new(&p.pp("attn"), config, dim, heads, window)?,
            gamma1: gamma("gamma1")?,
            norm2: LayerNorm::new(p.pp("norm2"), dim, LAYER_NORM_EPS)?,
            mlp: Mlp::new(&p.pp("mlp"), config, dim)?,
            gamma2: gamma("gamma2")?,
            shift: shape.shift,
        })
    }

    /// x: [B, C, H, W] channels-last, H and W multiples of window · ratio.
    pub fn forward(&self, x: &Tensor, window: i64) -> Tensor {
        let (_, _, height, width) = x.size4().expect("a map is [B, C, H, W]");
        let full = Windows {
            window,
            cell: 1,
            size: (height, width),
        };
        let mut y = match &self.sampling {
            Sampling::Full { pre_conv } => {
                let map = match pre_conv {
                    Some(conv) => add_residual(conv.forward(x), x),
                    None => x + x,
                };
                self.on_map(map, full)
            }
            // A shifted block cannot take its tokens straight from the cells of the map.
            Sampling::Strided { ratio, down, up } if self.shift == 0 => {
                let cells = Windows {
                    cell: *ratio,
                    ..full
                };
                let tokens = self.on_tokens(down.forward(&cells.cut(x)), window, None);
                cells.join(&up.forward(&tokens))
            }
            Sampling::Strided { ratio, down, up } => {
                let cells = Windows {
                    window: 1,
                    cell: *ratio,
                    size: full.size,
                };
                let small = Windows {
                    size: (height / ratio, width / ratio),
                    ..full
                };
                let places = Windows { window: 1, ..small };
                let map = self.on_map(places.join(&down.forward(&cells.cut(x))), small);
                cells.join(&up.forward(&places.cut(&map)))
            }
            Sampling::Pooled { ratio, down, up } => {
                let small = Windows {
                    size: (height / ratio, width / ratio),
                    ..full
                };
                let pooled =
                    x.avg_pool2d([*ratio; 2], [*ratio; 2], [0, 0], false, true, None::<i64>);
                let map = self.on_map(down.forward(&pooled), small);
                // A 1x1 convolution does the same before the enlargement as after it.
                up.forward(&map)
                    .upsample_nearest2d([height, width], None, None)
            }
        };
        if y.requires_grad() || y.kind() != x.kind() {
            return (y + x) * 0.5;
        }
        y.lerp_(x, 0.5)
    }

    /// Attention and MLP on the windows of a map.
    fn on_map(&self, map: Tensor, windows: Windows) -> Tensor {
        let (height, width) = windows.size;
        let window = windows.window;
        if self.shift == 0 || height <= window || width <= window {
            let tokens = self.on_tokens(windows.cut(&map), window, None);
            return windows.join(&tokens);
        }
        let options = (map.kind(), map.device());
        let mask = shift::mask(windows.size, window, self.shift, options);
        let map = map.roll([-self.shift; 2], [2, 3]);
        let tokens = self.on_tokens(windows.cut(&map), window, Some(&mask));
        windows.join(&tokens).roll([self.shift; 2], [2, 3])
    }

    /// tokens: [n, window², C]
    fn on_tokens(&self, tokens: Tensor, window: i64, mask: Option<&Tensor>) -> Tensor {
        let y = self
            .attn
            .forward(&self.norm1.forward(&tokens), window, mask);
        let tokens = add_residual(tokens, &scale(y, &self.gamma1));
        let y = self.mlp.forward(&self.norm2.forward(&tokens));
        add_residual(tokens, &scale(y, &self.gamma2))
    }
}

fn scale(x: Tensor, gamma: &Option<Tensor>) -> Tensor {
    match gamma {
        None => x,
        Some(gamma) => x * gamma,
    }
}

/// fc1 -> GELU or SwiGLU -> fc2, without biases. The ratio is 4 whatever `mlp_ratio` says.
struct Mlp {
    fc1: Linear,
    fc2: Linear,
    use_swiglu: bool,
}

impl Mlp {
    fn new(p: &Params, config: &Config, dim: i64) -> Result<Self> {
        let (hidden, wide) = if config.use_swiglu {
            let hidden = 2 * dim / 64 * 64;
            (hidden, 2 * hidden)
        } else {
            (4 * dim, 4 * dim)
        };
        Ok(Mlp {
            fc1: Linear::new(p.pp("fc1"), dim, wide, false)?,
            fc2: Linear::new(p.pp("fc2"), hidden, dim, false)?,
            use_swiglu: config.use_swiglu,
        })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let y = if self.use_swiglu {
            let halves = self.fc1.forward(x).chunk(2, -1);
            halves[1].silu() * &halves[0]
        } else {
            self.fc1.forward_activated(x, Activation::Gelu)
        };
        self.fc2.forward(&y)
    }
}
