//! Features as rows of a matrix, wherever they lie.

use crate::{Error, Result};
use std::ops::Range;
use tch::{Device, Kind, Tensor};

/// A row-major fp32 matrix [rows, dim], normally a mapped feature file.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    values: &'a [f32],
    dim: usize,
}

impl<'a> Rows<'a> {
    /// `values`: [rows, dim].
    pub fn new(values: &'a [f32], dim: usize) -> Result<Self> {
        if dim == 0 || !values.len().is_multiple_of(dim) {
            return Err(Error::model(format!(
                "{} values are no rows of {dim}",
                values.len()
            )));
        }
        Ok(Rows { values, dim })
    }

    pub fn dim(&self) -> usize {
        self.dim
    }

    pub fn len(&self) -> usize {
        self.values.len() / self.dim
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Rows `range`, L2-normalised with `F.normalize`'s eps 1e-12, on `device`: [n, dim] fp32.
    pub fn normalised(&self, range: Range<usize>, device: Device) -> Result<Tensor> {
        let (n, dim) = (range.len() as i64, self.dim as i64);
        let values = &self.values[range.start * self.dim..range.end * self.dim];
        // SAFETY: the view covers exactly the slice, which outlives it: the division copies.
        let view = unsafe {
            Tensor::f_from_blob(
                values.as_ptr().cast(),
                &[n, dim],
                &[dim, 1],
                Kind::Float,
                Device::Cpu,
            )
        }?
        .f_to_device(device)?;
        let norm = view.f_norm_scalaropt_dim(2.0, [1], true)?;
        Ok(view.f_div(&norm.f_clamp_min(1e-12)?)?)
    }
}
