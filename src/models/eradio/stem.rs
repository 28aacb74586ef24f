//! The stem and the two convolutional levels (spec radio.md §3.2-3.4).

use super::config::Config;
use super::conv::{Conv, Shape};
use crate::Result;
use crate::models::layers::Activation;
use crate::weights::Params;
use tch::Tensor;

/// Sub-images as channels: [B, C, H, W] -> [B, C·f², H/f, W/f].
///
/// Upstream's `pixel_unshuffle` cuts the picture into f x f contiguous pieces; it does not
/// interleave pixels as `torch.pixel_unshuffle` does.
fn stack_pieces(x: &Tensor, factor: i64) -> Tensor {
    let (b, c, h, w) = x.size4().expect("a map is [B, C, H, W]");
    x.reshape([b, c, factor, h / factor, factor, w / factor])
        .permute([0, 1, 2, 4, 3, 5])
        .reshape([b, c * factor * factor, h / factor, w / factor])
}

/// `patch_embed`: the picture at a quarter of its size.
pub struct Stem {
    conv_down: Vec<Conv>,
    shuffle: bool,
}

impl Stem {
    pub fn new(p: &Params, config: &Config) -> Result<Self> {
        let p = p.pp("conv_down");
        let relu = Some(Activation::Relu);
        let conv_down = if config.shuffle_down {
            vec![Conv::with_batch_norm(
                &p.pp(0),
                3 * 16,
                config.dim,
                Shape::same(3),
                relu,
            )?]
        } else {
            let half = Shape::same(3).stride(2);
            vec![
                Conv::with_batch_norm(&p.pp(0), 3, config.in_dim, half, relu)?,
                Conv::with_batch_norm(&p.pp(2), config.in_dim, config.dim, half, relu)?,
            ]
        };
        Ok(Stem {
            conv_down,
            shuffle: config.shuffle_down,
        })
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        let x = if self.shuffle {
            stack_pieces(x, 4)
        } else {
            x.shallow_clone()
        };
        self.conv_down.iter().fold(x, |x, conv| conv.forward(&x))
    }
}

/// The blocks of a convolutional level.
pub enum ConvBlocks {
    /// YOLOv8's cross-stage block.
    C2f(Box<C2f>),
    /// Residual pairs of 3x3 convolutions.
    Residual(Vec<(Conv, Conv)>),
}

impl ConvBlocks {
    pub fn new(p: &Params, config: &Config, dim: i64, depth: usize) -> Result<Self> {
        if config.yolo_arch {
            return Ok(ConvBlocks::C2f(Box::new(C2f::new(p, dim, depth)?)));
        }
        let conv = Shape::same(3);
        let blocks = (0..depth).map(|i| {
            let p = p.pp(i);
            let gelu = Some(Activation::Gelu);
            let conv1 = Conv::with_batch_norm(&p.pp("conv1"), dim, dim, conv, gelu)?;
            let p2 = p.pp("conv2");
            let conv2 = if config.layer_scale_conv.is_some() {
                let gamma = p.get_f32("gamma", &[dim])?;
                Conv::with_batch_norm_and_scale(&p2, dim, conv, gamma)?
            } else {
                Conv::with_batch_norm(&p2, dim, dim, conv, None)?
            };
            Ok((conv1, conv2))
        });
        Ok(ConvBlocks::Residual(blocks.collect::<Result<_>>()?))
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        match self {
            ConvBlocks::C2f(c2f) => c2f.forward(x),
            ConvBlocks::Residual(blocks) => {
                blocks.iter().fold(x.shallow_clone(), |x, (conv1, conv2)| {
                    conv2.forward(&conv1.forward(&x)) + x
                })
            }
        }
    }
}

/// Half the channels go through a chain of bottlenecks, and every link of it is kept.
pub struct C2f {
    cv1: Conv,
    m: Vec<(Conv, Conv)>,
    cv2: Conv,
}

impl C2f {
    fn new(p: &Params, dim: i64, depth: usize) -> Result<Self> {
        let silu = Some(Activation::Silu);
        let half = dim / 2;
        let kept = (2 + depth as i64) * half;
        let m = (0..depth).map(|i| {
            let p = p.pp("m").pp(i);
            let cv = |name| Conv::with_batch_norm(&p.pp(name), half, half, Shape::same(3), silu);
            Ok((cv("cv1")?, cv("cv2")?))
        });
        Ok(C2f {
            m: m.collect::<Result<_>>()?,
            cv1: Conv::with_batch_norm(&p.pp("cv1"), dim, 2 * half, Shape::same(1), silu)?,
            cv2: Conv::with_batch_norm(&p.pp("cv2"), kept, dim, Shape::same(1), silu)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let mut links = self.cv1.forward(x).chunk(2, 1);
        for (cv1, cv2) in &self.m {
            let last = &links[links.len() - 1];
            let next = cv2.forward(&cv1.forward(last)) + last;
            links.push(next);
        }
        self.cv2.forward(&Tensor::cat(&links, 1))
    }
}

/// Halves the map and doubles the channels at the end of a level.
pub struct Downsample {
    reduction: Conv,
    shuffle: bool,
}

impl Downsample {
    pub fn new(p: &Params, config: &Config, dim: i64) -> Result<Self> {
        let shuffle = config.downsample_shuffle;
        let (input, shape) = if shuffle {
            (4 * dim, Shape::same(1))
        } else {
            (dim, Shape::same(3).stride(2))
        };
        Ok(Downsample {
            reduction: Conv::with_batch_norm(&p.pp("reduction"), input, 2 * dim, shape, None)?,
            shuffle,
        })
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        if self.shuffle {
            self.reduction.forward(&stack_pieces(x, 2))
        } else {
            self.reduction.forward(x)
        }
    }
}
