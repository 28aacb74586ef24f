//! Layers of detection heads, on maps `[B,C,H,W]`. Parameters are fp32.

use super::parameters::{Init, Place};
use crate::Result;
use tch::Tensor;

/// LayerNorm over the channels of each place (ViTDet; detectron2's `LN`).
const EPS: f64 = 1e-6;

/// A map whose channels lie beside each other in memory, which LayerNorm and RoIAlign want and
/// convolutions take as it is.
pub fn channels_last(x: &Tensor) -> Tensor {
    x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

pub struct ChannelNorm {
    weight: Tensor,
    bias: Tensor,
}

impl ChannelNorm {
    pub fn new(place: &Place, channels: i64) -> Result<Self> {
        Ok(ChannelNorm {
            weight: place.get("weight", &[channels], Init::Constant(1.0))?,
            bias: place.get("bias", &[channels], Init::Constant(0.0))?,
        })
    }

    /// detectron2's formula operation by operation: a value that comes out at the kink of a ReLU
    /// falls on the same side.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let centred = x - x.mean_dim([1i64].as_slice(), true, None);
        let variance = centred.square().mean_dim([1i64].as_slice(), true, None);
        let place = |t: &Tensor| t.view([1, -1, 1, 1]);
        centred / (variance + EPS).sqrt() * place(&self.weight) + place(&self.bias)
    }
}

/// A convolution of odd size that keeps height and width.
pub struct Conv {
    weight: Tensor,
    bias: Option<Tensor>,
    padding: i64,
}

impl Conv {
    /// With a bias that begins as 0; `init` is given fan in and fan out.
    pub fn new(
        place: &Place,
        (input, output): (i64, i64),
        side: i64,
        init: impl Fn(i64, i64) -> Init,
    ) -> Result<Self> {
        let mut conv = Self::without_bias(place, (input, output), side, init)?;
        conv.bias = Some(place.get("bias", &[output], Init::Constant(0.0))?);
        Ok(conv)
    }

    pub fn without_bias(
        place: &Place,
        (input, output): (i64, i64),
        side: i64,
        init: impl Fn(i64, i64) -> Init,
    ) -> Result<Self> {
        let init = init(input * side * side, output * side * side);
        Ok(Conv {
            weight: place.get("weight", &[output, input, side, side], init)?,
            bias: None,
            padding: side / 2,
        })
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        let padding = [self.padding; 2];
        x.conv2d(&self.weight, self.bias.as_ref(), [1, 1], padding, [1, 1], 1)
    }
}

/// A transposed convolution 2 x 2 with stride 2: twice the height and width.
pub struct Deconv {
    weight: Tensor,
    bias: Tensor,
}

impl Deconv {
    pub fn new(place: &Place, (input, output): (i64, i64), init: Init) -> Result<Self> {
        Ok(Deconv {
            weight: place.get("weight", &[input, output, 2, 2], init)?,
            bias: place.get("bias", &[output], Init::Constant(0.0))?,
        })
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        let (stride, none) = ([2, 2], [0, 0]);
        x.conv_transpose2d(
            &self.weight,
            Some(&self.bias),
            stride,
            none,
            none,
            1,
            [1, 1],
        )
    }
}

pub struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// With a bias that begins as 0.
    pub fn new(place: &Place, (input, output): (i64, i64), init: Init) -> Result<Self> {
        Ok(Linear {
            weight: place.get("weight", &[output, input], init)?,
            bias: place.get("bias", &[output], Init::Constant(0.0))?,
        })
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, Some(&self.bias))
    }
}
