//! ViTDet's simple feature pyramid (Li et al. 2022, spec/coco.md §4.1): five maps of strides 4 to 64
//! out of one of stride 16. Names as in detectron2.

use super::layers::{ChannelNorm, Conv, Deconv, channels_last};
use super::parameters::{Init, Place};
use crate::Result;
use tch::Tensor;

/// 1 x 1 convolution, norm, 3 x 3 convolution, norm; no activation.
struct Lateral {
    narrow: Conv,
    narrow_norm: ChannelNorm,
    smooth: Conv,
    smooth_norm: ChannelNorm,
}

impl Lateral {
    /// `first`: the number of the 1 x 1 convolution in its branch.
    fn new(branch: &Place, first: usize, input: i64, output: i64) -> Result<Self> {
        let pytorch = |fan_in: i64, _fan_out: i64| Init::pytorch(fan_in);
        let (narrow, smooth) = (branch.at(first), branch.at(first + 1));
        Ok(Lateral {
            narrow: Conv::without_bias(&narrow, (input, output), 1, pytorch)?,
            narrow_norm: ChannelNorm::new(&narrow.at("norm"), output)?,
            smooth: Conv::without_bias(&smooth, (output, output), 3, pytorch)?,
            smooth_norm: ChannelNorm::new(&smooth.at("norm"), output)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let x = self.narrow_norm.forward(&self.narrow.forward(x));
        self.smooth_norm.forward(&self.smooth.forward(&x))
    }
}

/// Every branch starts from the map of stride 16.
pub struct Pyramid {
    /// Norm of the features before everything else: frozen features have channels of very
    /// different size. Not in ViTDet, which trains its backbone; see docs/detection.md.
    input_norm: Option<ChannelNorm>,
    /// Stride 4: twice up, a norm and a GELU between.
    first_up: Deconv,
    first_norm: ChannelNorm,
    second_up: Deconv,
    p2: Lateral,
    /// Stride 8.
    up: Deconv,
    p3: Lateral,
    p4: Lateral,
    /// Behind a 2 x 2 maximum.
    p5: Lateral,
}

/// Levels: strides 4, 8, 16, 32, 64.
pub const LEVELS: usize = 5;

impl Pyramid {
    /// `backbone`: the place of the names `sfp` and `norm`.
    pub fn new(backbone: &Place, input: i64, channels: i64, input_norm: bool) -> Result<Self> {
        let sfp = backbone.at("sfp");
        let (half, quarter) = (input / 2, input / 4);
        let (p2, p3) = (sfp.at("simfp_2"), sfp.at("simfp_3"));
        // PyTorch counts a transposed convolution's fan in over its outputs.
        let deconv = |place: &Place, input: i64, output: i64| {
            Deconv::new(place, (input, output), Init::pytorch(output * 4))
        };
        let norm = backbone.at("norm");
        Ok(Pyramid {
            input_norm: match input_norm {
                true => Some(ChannelNorm::new(&norm, input)?),
                false => None,
            },
            first_up: deconv(&p2.at(0), input, half)?,
            first_norm: ChannelNorm::new(&p2.at(1), half)?,
            second_up: deconv(&p2.at(3), half, quarter)?,
            p2: Lateral::new(&p2, 4, quarter, channels)?,
            up: deconv(&p3.at(0), input, half)?,
            p3: Lateral::new(&p3, 1, half, channels)?,
            p4: Lateral::new(&sfp.at("simfp_4"), 0, input, channels)?,
            p5: Lateral::new(&sfp.at("simfp_5"), 1, input, channels)?,
        })
    }

    /// `[B,C,h,w]` of stride 16 -> p2 to p6, `[B,channels,..]` each.
    pub fn forward(&self, x: &Tensor) -> Vec<Tensor> {
        let x = channels_last(x);
        let x = match &self.input_norm {
            Some(norm) => norm.forward(&x),
            None => x,
        };
        let up = self.first_norm.forward(&self.first_up.forward(&x));
        let p2 = self.p2.forward(&self.second_up.forward(&up.gelu("none")));
        let p3 = self.p3.forward(&self.up.forward(&x));
        let p4 = self.p4.forward(&x);
        let pooled = x.max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false);
        let p5 = self.p5.forward(&pooled);
        // detectron2's LastLevelMaxPool: every second value.
        let p6 = p5.max_pool2d([1, 1], [2, 2], [0, 0], [1, 1], false);
        vec![p2, p3, p4, p5, p6]
    }
}
