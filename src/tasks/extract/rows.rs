//! Features as rows of a matrix, wherever they lie.

use crate::{Error, Result};
use std::ops::Range;
use tch::{Device, Kind, Tensor};

/// A row-major fp32 matrix [rows, dim], normally mapped feature files, one after the other.
#[derive(Debug, Clone)]
pub struct Rows<'a> {
    segments: Vec<&'a [f32]>,
    dim: usize,
    len: usize,
}

impl<'a> Rows<'a> {
    /// `values`: [rows, dim].
    pub fn new(values: &'a [f32], dim: usize) -> Result<Self> {
        Self::from_segments(vec![values], dim)
    }

    /// `segments`: [rows, dim] each.
    pub fn from_segments(segments: Vec<&'a [f32]>, dim: usize) -> Result<Self> {
        let bad = |values: &&&[f32]| dim == 0 || !values.len().is_multiple_of(dim);
        if let Some(values) = segments.iter().find(bad) {
            return Err(Error::model(format!(
                "{} values are no rows of {dim}",
                values.len()
            )));
        }
        let len = segments.iter().map(|values| values.len() / dim).sum();
        Ok(Rows { segments, dim, len })
    }

    pub fn dim(&self) -> usize {
        self.dim
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Rows `range`, L2-normalised with `F.normalize`'s eps 1e-12, on `device`: [n, dim] fp32.
    pub fn normalised(&self, range: Range<usize>, device: Device) -> Result<Tensor> {
        let mut views = Vec::new();
        let mut first = 0;
        for values in &self.segments {
            let last = first + values.len() / self.dim;
            let (start, end) = (range.start.max(first), range.end.min(last));
            if start < end {
                let values = &values[(start - first) * self.dim..(end - first) * self.dim];
                views.push(self.view(values)?.f_to_device(device)?);
            }
            first = last;
        }
        let view = match views.as_slice() {
            [view] => view.shallow_clone(),
            views => Tensor::f_cat(views, 0)?,
        };
        let norm = view.f_norm_scalaropt_dim(2.0, [1], true)?;
        Ok(view.f_div(&norm.f_clamp_min(1e-12)?)?)
    }

    /// The same memory as a tensor; to be copied from while the rows live.
    fn view(&self, values: &[f32]) -> Result<Tensor> {
        let dim = self.dim as i64;
        // SAFETY: the view covers exactly the slice, which outlives it: the only caller divides
        // it into a new tensor.
        Ok(unsafe {
            Tensor::f_from_blob(
                values.as_ptr().cast(),
                &[(values.len() / self.dim) as i64, dim],
                &[dim, 1],
                Kind::Float,
                Device::Cpu,
            )
        }?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_may_reach_over_several_parts() {
        let (a, b) = ([3.0, 4.0, 0.0, 2.0], [5.0, 0.0]);
        let rows = Rows::from_segments(vec![&a, &[], &b], 2).unwrap();
        assert_eq!(rows.len(), 3);
        let unit = rows.normalised(1..3, Device::Cpu).unwrap();
        let unit: Vec<f32> = unit.reshape([-1]).try_into().unwrap();
        assert_eq!(unit, [0.0, 1.0, 1.0, 0.0]);
        let first = rows.normalised(0..1, Device::Cpu).unwrap();
        let first: Vec<f32> = first.reshape([-1]).try_into().unwrap();
        assert_eq!(first, [0.6, 0.8]);
        assert!(Rows::new(&a, 3).is_err());
    }
}
