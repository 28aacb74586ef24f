//! Convolutions with their batch normalisation folded in at load (upstream `switch_to_deploy`).

use crate::Result;
use crate::models::layers::{Activation, unwrap};
use crate::runtime::shim::{self, PackedConv, Pointwise};
use crate::weights::Params;
use tch::Tensor;

/// BatchNorm2d's eps everywhere in E-RADIO (torch's default).
const BATCH_NORM_EPS: f64 = 1e-5;

/// Kernel size, stride, padding and groups.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub kernel: i64,
    pub stride: i64,
    pub padding: i64,
    pub groups: i64,
}

impl Shape {
    /// A kernel that keeps the size of the map.
    pub fn same(kernel: i64) -> Self {
        Shape {
            kernel,
            stride: 1,
            padding: kernel / 2,
            groups: 1,
        }
    }

    pub fn stride(self, stride: i64) -> Self {
        Shape { stride, ..self }
    }

    pub fn groups(self, groups: i64) -> Self {
        Shape { groups, ..self }
    }
}

/// act(conv(x) + bias); maps are [B, C, H, W] in channels-last memory.
pub struct Conv {
    kernel: Kernel,
    shape: Shape,
    activation: Option<Activation>,
}

/// Large kernels on the CPU are packed for oneDNN at load; the rest are libtorch's.
enum Kernel {
    Plain { weight: Tensor, bias: Tensor },
    Packed(PackedConv),
}

impl Conv {
    /// `Conv2d_BN` and YOLOv8's `Conv`: keys `conv.weight` and `bn.*`.
    pub fn with_batch_norm(
        p: &Params,
        input: i64,
        output: i64,
        shape: Shape,
        activation: Option<Activation>,
    ) -> Result<Self> {
        let size = [output, input / shape.groups, shape.kernel, shape.kernel];
        let weight = p.pp("conv").get_f32("weight", &size)?;
        let (weight, bias) = BatchNorm::new(&p.pp("bn"), output)?.fold(&weight, None);
        Self::from_tensors(p, &weight, &bias, shape, activation)
    }

    /// As [`Conv::with_batch_norm`], multiplied channel-wise by `gamma` [C] (a layer scale).
    pub fn with_batch_norm_and_scale(
        p: &Params,
        channels: i64,
        shape: Shape,
        gamma: &Tensor,
    ) -> Result<Self> {
        let size = [
            channels,
            channels / shape.groups,
            shape.kernel,
            shape.kernel,
        ];
        let weight = p.pp("conv").get_f32("weight", &size)?;
        let (weight, bias) = BatchNorm::new(&p.pp("bn"), channels)?.fold(&weight, None);
        let weight = weight * gamma.view([-1, 1, 1, 1]);
        Self::from_tensors(p, &weight, &(bias * gamma), shape, None)
    }

    /// A convolution with a bias of its own (`conv1` of the neck), followed by `norm`.
    pub fn biased_with_batch_norm(
        conv: &Params,
        norm: &Params,
        channels: i64,
        shape: Shape,
    ) -> Result<Self> {
        let size = [
            channels,
            channels / shape.groups,
            shape.kernel,
            shape.kernel,
        ];
        let weight = conv.get_f32("weight", &size)?;
        let bias = conv.get_f32("bias", &[channels])?;
        let (weight, bias) = BatchNorm::new(norm, channels)?.fold(&weight, Some(&bias));
        Self::from_tensors(conv, &weight, &bias, shape, None)
    }

    fn from_tensors(
        p: &Params,
        weight: &Tensor,
        bias: &Tensor,
        shape: Shape,
        activation: Option<Activation>,
    ) -> Result<Self> {
        let (weight, bias) = (weight.to_kind(p.kind()), bias.to_kind(p.kind()));
        let kernel = if shim::worthwhile(&weight) {
            let Shape {
                stride,
                padding,
                groups,
                ..
            } = shape;
            Kernel::Packed(PackedConv::new(&weight, bias, stride, padding, groups)?)
        } else {
            let weight = channels_last(&weight);
            Kernel::Plain { weight, bias }
        };
        Ok(Conv {
            kernel,
            shape,
            activation,
        })
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        match &self.kernel {
            Kernel::Packed(packed) => match self.activation.map(|a| a.pointwise().ok_or(a)) {
                None => unwrap(packed.forward(x, Pointwise::None)),
                Some(Ok(fused)) => unwrap(packed.forward(x, fused)),
                Some(Err(other)) => other.apply(unwrap(packed.forward(x, Pointwise::None))),
            },
            Kernel::Plain { weight, bias } => {
                let Shape {
                    stride,
                    padding,
                    groups,
                    ..
                } = self.shape;
                let y = x.conv2d(
                    weight,
                    Some(bias),
                    [stride, stride],
                    [padding, padding],
                    [1, 1],
                    groups,
                );
                match self.activation {
                    None => y,
                    Some(activation) => activation.apply(y),
                }
            }
        }
    }
}

/// Inference-time batch normalisation as a scale and a shift per channel.
struct BatchNorm {
    scale: Tensor,
    shift: Tensor,
}

impl BatchNorm {
    fn new(p: &Params, channels: i64) -> Result<Self> {
        let weight = p.get_f32("weight", &[channels])?;
        let bias = p.get_f32("bias", &[channels])?;
        let mean = p.buffer("running_mean", &[channels])?;
        let variance = p.buffer("running_var", &[channels])?;
        let scale = weight / (variance + BATCH_NORM_EPS).sqrt();
        let shift = bias - mean * &scale;
        Ok(BatchNorm { scale, shift })
    }

    /// The weight and bias of the convolution in front that give the same as both layers.
    fn fold(&self, weight: &Tensor, bias: Option<&Tensor>) -> (Tensor, Tensor) {
        let folded = weight * self.scale.view([-1, 1, 1, 1]);
        let shift = match bias {
            None => self.shift.shallow_clone(),
            Some(bias) => bias * &self.scale + &self.shift,
        };
        (folded, shift)
    }
}

/// The same tensor [A, B, C, D] with axis 1 innermost in memory.
pub fn channels_last(x: &Tensor) -> Tensor {
    x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}
