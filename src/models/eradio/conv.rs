//! Convolutions with batch normalisation, which for inference is folded into them at load (upstream
//! `switch_to_deploy`).

use crate::Result;
use crate::models::layers::{Activation, unwrap};
use crate::runtime::shim::{self, PackedConv, Pointwise};
use crate::weights::{Mode, Params};
use tch::{Kind, Tensor};

/// BatchNorm2d's eps everywhere in E-RADIO (torch's default).
const BATCH_NORM_EPS: f64 = 1e-5;
/// Share of a batch's statistics in the running ones (torch's default).
const BATCH_NORM_MOMENTUM: f64 = 0.1;

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

    /// Of a kernel from `channels` to as many.
    fn kernel_size(self, channels: i64) -> [i64; 4] {
        let input = channels / self.groups;
        [channels, input, self.kernel, self.kernel]
    }

    fn convolve(self, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
        let (stride, padding) = ([self.stride; 2], [self.padding; 2]);
        x.conv2d(weight, bias, stride, padding, [1, 1], self.groups)
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
    Trained(Box<Trained>),
}

/// A convolution in training, with its batch normalisation behind it.
struct Trained {
    weight: Tensor,
    bias: Option<Tensor>,
    norm: BatchNorm,
    /// What multiplies the normalised map, per channel (a layer scale).
    gamma: Option<Tensor>,
    mode: Mode,
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
        let norm = BatchNorm::new(&p.pp("bn"), output)?;
        Self::normalised(p, weight, None, norm, None, shape, activation)
    }

    /// As [`Conv::with_batch_norm`], multiplied channel-wise by `gamma` [C] (a layer scale).
    pub fn with_batch_norm_and_scale(
        p: &Params,
        channels: i64,
        shape: Shape,
        gamma: Tensor,
    ) -> Result<Self> {
        let size = shape.kernel_size(channels);
        let weight = p.pp("conv").get_f32("weight", &size)?;
        let norm = BatchNorm::new(&p.pp("bn"), channels)?;
        Self::normalised(p, weight, None, norm, Some(gamma), shape, None)
    }

    /// A convolution with a bias of its own (`conv1` of the neck), followed by `norm`.
    pub fn biased_with_batch_norm(
        conv: &Params,
        norm: &Params,
        channels: i64,
        shape: Shape,
    ) -> Result<Self> {
        let weight = conv.get_f32("weight", &shape.kernel_size(channels))?;
        let bias = conv.get_f32("bias", &[channels])?;
        let norm = BatchNorm::new(norm, channels)?;
        Self::normalised(conv, weight, Some(bias), norm, None, shape, None)
    }

    fn normalised(
        p: &Params,
        weight: Tensor,
        bias: Option<Tensor>,
        norm: BatchNorm,
        gamma: Option<Tensor>,
        shape: Shape,
        activation: Option<Activation>,
    ) -> Result<Self> {
        if let Some(mode) = p.mode() {
            let mode = mode.clone();
            let trained = Trained {
                weight,
                bias,
                norm,
                gamma,
                mode,
            };
            return Ok(Conv {
                kernel: Kernel::Trained(Box::new(trained)),
                shape,
                activation,
            });
        }
        let (mut weight, mut bias) = norm.fold(&weight, bias.as_ref());
        if let Some(gamma) = gamma {
            (weight, bias) = (weight * gamma.view([-1, 1, 1, 1]), bias * gamma);
        }
        Self::from_tensors(p, &weight, &bias, shape, activation)
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
                self.activate(self.shape.convolve(x, weight, Some(bias)))
            }
            Kernel::Trained(trained) => self.activate(trained.forward(x, self.shape)),
        }
    }

    fn activate(&self, y: Tensor) -> Tensor {
        match self.activation {
            None => y,
            Some(activation) => activation.apply(y),
        }
    }
}

impl Trained {
    fn forward(&self, x: &Tensor, shape: Shape) -> Tensor {
        let y = shape.convolve(x, &self.weight, self.bias.as_ref());
        let norm = &self.norm;
        let y = y.batch_norm(
            Some(&norm.weight),
            Some(&norm.bias),
            Some(&norm.running_mean),
            Some(&norm.running_var),
            self.mode.is_train(),
            BATCH_NORM_MOMENTUM,
            BATCH_NORM_EPS,
            true,
        );
        match &self.gamma {
            None => y,
            Some(gamma) => y * gamma.view([-1, 1, 1]),
        }
    }
}

/// Batch normalisation, [C] each.
struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
}

impl BatchNorm {
    fn new(p: &Params, channels: i64) -> Result<Self> {
        Ok(BatchNorm {
            weight: p.get_f32("weight", &[channels])?,
            bias: p.get_f32("bias", &[channels])?,
            running_mean: p.buffer("running_mean", &[channels])?,
            running_var: p.buffer("running_var", &[channels])?,
        })
    }

    /// The weight and bias, in fp64, of the convolution in front that give the same as both layers
    /// do with the running statistics: rounded once, at the end, and not at every step.
    fn fold(&self, weight: &Tensor, bias: Option<&Tensor>) -> (Tensor, Tensor) {
        let double = |t: &Tensor| t.to_kind(Kind::Double);
        let scale = double(&self.weight) / (double(&self.running_var) + BATCH_NORM_EPS).sqrt();
        let shift = double(&self.bias) - double(&self.running_mean) * &scale;
        let folded = double(weight) * scale.view([-1, 1, 1, 1]);
        let shift = match bias {
            None => shift,
            Some(bias) => double(bias) * &scale + shift,
        };
        (folded, shift)
    }
}

/// The same tensor [A, B, C, D] with axis 1 innermost in memory.
pub fn channels_last(x: &Tensor) -> Tensor {
    x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}
