//! Bringing teachers' features to one scale, and heads back to the teacher's own units
//! (spec/distillation.md §3).

pub mod hadamard;
mod moments;

pub use moments::Moments;

use crate::{Error, Result};
use tch::{Device, Kind, Tensor};

/// Smallest standard deviation that is divided by.
const MIN_STD: f64 = 1e-3;

/// What is done to a teacher's features before they are a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standardise {
    #[default]
    None,
    /// (x - mean) / std per channel
    Standard,
    /// A rotation and one number that give every channel variance 1 (PHI-S, arXiv 2410.01680)
    PhiS,
}

/// Frozen statistics of one teacher's features.
pub enum Statistics {
    None,
    Standard {
        /// `[C]`
        mean: Tensor,
        /// `[C]`, not below the smallest that is divided by
        std: Tensor,
    },
    PhiS {
        /// `[C]`
        mean: Tensor,
        /// `[C,C]`: y = matrix (x - mean)
        matrix: Tensor,
        /// `[C,C]`: x = inverse y + mean
        inverse: Tensor,
    },
}

/// PHI-S of a mean and a covariance, all fp64.
pub struct PhiS {
    /// `[C]`, ascending, none below 0
    pub eigenvalues: Tensor,
    /// `[C,C]`, an eigenvector a column
    pub basis: Tensor,
    pub scale: f64,
    pub matrix: Tensor,
    pub inverse: Tensor,
    /// Whether the rotation is a Hadamard matrix: else variances are 1 in the mean only.
    pub hadamard: bool,
}

impl PhiS {
    /// `covariance`: `[C,C]` fp64. Every eigenvector's entry of largest magnitude is made positive,
    /// so that the targets can be made again.
    ///
    /// # Errors
    /// The features are constant.
    pub fn new(covariance: &Tensor) -> Result<Self> {
        let covariance = covariance.to_device(Device::Cpu).to_kind(Kind::Double);
        let (values, basis) = covariance.f_linalg_eigh("L")?;
        let eigenvalues = values.clamp_min(0.0);
        let largest = basis.abs().argmax(0, true);
        let basis = &basis * basis.gather(0, &largest, false).sign();
        let mean = eigenvalues.mean(Kind::Double).double_value(&[]);
        if mean <= 0.0 || !mean.is_finite() {
            return Err(Error::model(format!(
                "PHI-S: the features have a mean variance of {mean}; a teacher that gives the same for every picture cannot be standardised"
            )));
        }
        let scale = 1.0 / mean.sqrt();
        let (rotation, hadamard) = hadamard::orthonormal(covariance.size()[0]);
        let rotation = rotation.matmul(&basis.tr());
        Ok(PhiS {
            matrix: &rotation * scale,
            inverse: rotation.tr().contiguous() / scale,
            eigenvalues,
            basis,
            scale,
            hadamard,
        })
    }
}

impl Statistics {
    /// Of what the estimation phase saw; fp64.
    pub fn estimate(kind: Standardise, moments: &Moments) -> Result<Self> {
        let mean = moments.mean.copy();
        Ok(match kind {
            Standardise::None => Statistics::None,
            Standardise::Standard => {
                let std = moments.covariance()?.diag(0).sqrt();
                Statistics::standard(mean, &std)
            }
            Standardise::PhiS => {
                let PhiS {
                    matrix, inverse, ..
                } = PhiS::new(&moments.covariance()?)?;
                let device = mean.device();
                Statistics::PhiS {
                    mean,
                    matrix: matrix.to_device(device),
                    inverse: inverse.to_device(device),
                }
            }
        })
    }

    /// From a channel's means and deviations as estimated.
    pub fn standard(mean: Tensor, std: &Tensor) -> Self {
        let std = std.clamp_min(MIN_STD);
        Statistics::Standard { mean, std }
    }

    /// The same in fp32 on `device`, as training uses them.
    pub fn for_training(&self, device: Device) -> Self {
        self.converted(|t| t.to_kind(Kind::Float).to_device(device).contiguous())
    }

    /// The same in fp64 on the CPU, for folding into a head.
    pub fn for_export(&self) -> Self {
        self.converted(|t| t.to_kind(Kind::Double).to_device(Device::Cpu))
    }

    fn converted(&self, convert: impl Fn(&Tensor) -> Tensor) -> Self {
        match self {
            Statistics::None => Statistics::None,
            Statistics::Standard { mean, std } => Statistics::Standard {
                mean: convert(mean),
                std: convert(std),
            },
            Statistics::PhiS {
                mean,
                matrix,
                inverse,
            } => Statistics::PhiS {
                mean: convert(mean),
                matrix: convert(matrix),
                inverse: convert(inverse),
            },
        }
    }

    /// The target of features `[.., C]`.
    pub fn apply(&self, x: &Tensor) -> Tensor {
        match self {
            Statistics::None => x.shallow_clone(),
            Statistics::Standard { mean, std } => (x - mean) / std,
            Statistics::PhiS { mean, matrix, .. } => (x - mean).matmul(&matrix.tr()),
        }
    }

    /// Back to the teacher's units.
    pub fn invert(&self, y: &Tensor) -> Tensor {
        match self {
            Statistics::None => y.shallow_clone(),
            Statistics::Standard { mean, std } => y * std + mean,
            Statistics::PhiS { mean, inverse, .. } => y.matmul(&inverse.tr()) + mean,
        }
    }

    /// Weight `[u²C, H]` and bias `[u²C]` of a feature head's last layer that then speaks in the
    /// teacher's own units; the u² tokens it makes of one are folded block by block.
    pub fn fold_into(&self, weight: &Tensor, bias: &Tensor) -> (Tensor, Tensor) {
        let (inverse, mean) = match self {
            Statistics::None => return (weight.shallow_clone(), bias.shallow_clone()),
            Statistics::Standard { mean, std } => (std.diag(0), mean),
            Statistics::PhiS { mean, inverse, .. } => (inverse.shallow_clone(), mean),
        };
        let (kind, c) = (weight.kind(), mean.size()[0]);
        let wide = |t: &Tensor| t.to_kind(Kind::Double);
        let blocks = wide(weight).view([-1, c, weight.size()[1]]);
        let (inverse, mean) = (wide(&inverse), wide(mean));
        let folded = inverse.matmul(&blocks).view_as(weight);
        let bias = wide(bias).view([-1, c]).matmul(&inverse.tr()) + mean;
        (folded.to_kind(kind), bias.flatten(0, -1).to_kind(kind))
    }

    /// Named tensors, for a checkpoint; fp64 as estimated.
    pub fn tensors(&self) -> Vec<(&'static str, &Tensor)> {
        match self {
            Statistics::None => Vec::new(),
            Statistics::Standard { mean, std } => vec![("mean", mean), ("std", std)],
            Statistics::PhiS {
                mean,
                matrix,
                inverse,
            } => vec![("mean", mean), ("matrix", matrix), ("inverse", inverse)],
        }
    }

    /// From what [`Statistics::tensors`] gave; `read` returns a tensor by name.
    pub fn restore(kind: Standardise, read: impl Fn(&str) -> Result<Tensor>) -> Result<Self> {
        Ok(match kind {
            Standardise::None => Statistics::None,
            Standardise::Standard => Statistics::standard(read("mean")?, &read("std")?),
            Standardise::PhiS => Statistics::PhiS {
                mean: read("mean")?,
                matrix: read("matrix")?,
                inverse: read("inverse")?,
            },
        })
    }
}
