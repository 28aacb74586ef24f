//! Which of a network's features are wanted, and their numbers as they are kept.

use crate::models::Features;
use crate::store::{Column, Dtype};
use crate::{Error, Result};
use tch::{Device, Tensor};

/// What of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// One vector.
    Summary,
    /// One vector per token, in raster order.
    Spatial,
}

/// Features of the backbone (`adaptor`: `None`) or of an adaptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    pub adaptor: Option<String>,
    pub level: Level,
    /// Number format on disk.
    pub dtype: Dtype,
}

impl Output {
    /// A summary in fp32.
    pub fn summary(adaptor: Option<&str>) -> Self {
        Output {
            adaptor: adaptor.map(str::to_string),
            level: Level::Summary,
            dtype: Dtype::F32,
        }
    }

    /// `summary`, `spatial`, `clip.summary`, ...
    pub fn name(&self) -> String {
        let level = match self.level {
            Level::Summary => "summary",
            Level::Spatial => "spatial",
        };
        match &self.adaptor {
            None => level.to_string(),
            Some(adaptor) => format!("{adaptor}.{level}"),
        }
    }

    /// These features of a batch: [B, D] or [B, N, C], on the CPU and contiguous.
    pub fn select(&self, features: &Features) -> Result<Tensor> {
        let tensor = match self.level {
            Level::Summary => features.summary_of(self.adaptor.as_deref())?,
            Level::Spatial => match &self.adaptor {
                None => &features.spatial,
                Some(name) => features
                    .adaptors
                    .get(name)
                    .and_then(|adaptor| adaptor.spatial.as_ref())
                    .map(|(tokens, _)| tokens)
                    .ok_or_else(|| {
                        Error::usage(format!("the adaptor `{name}` has no spatial features"))
                    })?,
            },
        };
        Ok(tensor
            .f_to_device(Device::Cpu)?
            .f_to_kind(self.dtype.kind())?
            .f_contiguous()?)
    }

    /// The column for such features: rows of one size, or as many tokens as an image has.
    pub fn column(&self, features: &Tensor) -> Column {
        let shape: Vec<usize> = features.size()[1..].iter().map(|&n| n as usize).collect();
        match self.level {
            Level::Summary => Column::fixed(&self.name(), self.dtype, &shape),
            Level::Spatial => Column::ragged(&self.name(), self.dtype, &shape[1..]),
        }
    }
}

/// The bytes of each row of `tensor` [B, ...], which is contiguous and on the CPU.
pub fn row_bytes(tensor: &Tensor) -> Vec<Vec<u8>> {
    let rows = tensor.size()[0].max(1) as usize;
    let length = tensor.numel() * tensor.kind().elt_size_in_bytes();
    if length == 0 {
        return vec![Vec::new(); rows];
    }
    // SAFETY: a contiguous tensor on the CPU of exactly that many bytes, alive and unshared while
    // the slice is; any bytes are valid u8.
    let bytes = unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast::<u8>(), length) };
    bytes
        .chunks_exact(length / rows)
        .map(<[u8]>::to_vec)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_bytes_in_every_format() {
        let tensor = Tensor::from_slice(&[1.0f32, -2.0, 0.5, 3.0]).view([2, 2]);
        assert_eq!(
            row_bytes(&tensor)[1],
            [0.5f32, 3.0].map(f32::to_le_bytes).concat()
        );
        for (dtype, bytes) in [(Dtype::Bf16, [0x00, 0x3f]), (Dtype::F16, [0x00, 0x38])] {
            let tensor = tensor.to_kind(dtype.kind());
            assert_eq!(row_bytes(&tensor)[1][..2], bytes, "{dtype:?}");
        }
    }
}
