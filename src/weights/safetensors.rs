//! The safetensors format, memory-mapped.

use super::StateDict;
use super::lazy::{LazyTensor, Mapping, contiguous_strides};
use crate::{Error, Result};
use ::safetensors::tensor::{Dtype, SafeTensors, View, serialize_to_file};
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// Opens `path`: its tensors and the string metadata of its header.
pub fn open(path: &Path) -> Result<(StateDict, HashMap<String, String>)> {
    parse(&Mapping::open(path)?)
}

/// The same, of a file that is mapped already.
pub fn parse(map: &Arc<Mapping>) -> Result<(StateDict, HashMap<String, String>)> {
    let path = map.path();
    let damaged = |reason: &dyn std::fmt::Display| {
        Error::file(
            path,
            format!(
                "not a readable safetensors file ({reason}); it may be truncated: fetch it again"
            ),
        )
    };
    let (header, metadata) = SafeTensors::read_metadata(map.bytes()).map_err(|e| damaged(&e))?;
    let data_start = header + 8;
    let end = metadata.data_len();
    if map.bytes().len() != data_start + end {
        return Err(damaged(&format!(
            "the header promises {} bytes, the file has {}",
            data_start + end,
            map.bytes().len()
        )));
    }
    let mut tensors = StateDict::new();
    for name in metadata.offset_keys() {
        let Some(info) = metadata.info(&name) else {
            continue;
        };
        let kind = kind(info.dtype).ok_or_else(|| {
            Error::tensor(
                path,
                &name,
                format!("type {:?} is not supported", info.dtype),
            )
        })?;
        let shape: Vec<i64> = info.shape.iter().map(|&n| n as i64).collect();
        let strides = contiguous_strides(&shape);
        let offset = data_start + info.data_offsets.0;
        tensors.insert(
            name,
            LazyTensor::mapped(map.clone(), offset, shape, strides, kind)?,
        );
    }
    let text = metadata.metadata().clone().unwrap_or_default();
    Ok((tensors, text.into_iter().collect()))
}

fn kind(dtype: Dtype) -> Option<Kind> {
    Some(match dtype {
        Dtype::BOOL => Kind::Bool,
        Dtype::U8 => Kind::Uint8,
        Dtype::I8 => Kind::Int8,
        Dtype::I16 => Kind::Int16,
        Dtype::I32 => Kind::Int,
        Dtype::I64 => Kind::Int64,
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        Dtype::F32 => Kind::Float,
        Dtype::F64 => Kind::Double,
        _ => return None,
    })
}

/// Writes fp32 tensors through a temporary file in the same folder, so that no half file is ever
/// seen.
pub fn write<'a>(
    path: &Path,
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
    metadata: HashMap<String, String>,
) -> Result<()> {
    let mut views = Vec::new();
    for (name, tensor) in tensors {
        let tensor = tensor
            .f_to_device(Device::Cpu)?
            .f_to_kind(Kind::Float)?
            .f_contiguous()?;
        let shape = tensor.size().iter().map(|&n| n as usize).collect();
        views.push((name.to_string(), Float { tensor, shape }));
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder).map_err(|e| Error::file(folder, e))?;
    let file = tempfile::NamedTempFile::new_in(folder).map_err(|e| Error::file(folder, e))?;
    serialize_to_file(views, Some(metadata), file.path()).map_err(|e| Error::file(path, e))?;
    file.persist(path).map_err(|e| Error::file(path, e.error))?;
    Ok(())
}

/// A contiguous fp32 tensor on the CPU.
struct Float {
    tensor: Tensor,
    shape: Vec<usize>,
}

impl View for Float {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        if self.data_len() == 0 {
            return Cow::Borrowed(&[]);
        }
        // SAFETY: contiguous, fp32, on the CPU, borrowed for as long as the bytes are.
        Cow::Borrowed(unsafe {
            std::slice::from_raw_parts(self.tensor.data_ptr().cast(), self.data_len())
        })
    }

    fn data_len(&self) -> usize {
        self.tensor.numel() * size_of::<f32>()
    }
}
