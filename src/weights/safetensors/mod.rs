//! The safetensors format: read from a memory map, written piece by piece.

mod write;

pub use write::{Declared, Writer, write};

use super::StateDict;
use super::lazy::{LazyTensor, Mapping, contiguous_strides};
use crate::{Error, Result};
use ::safetensors::tensor::{Dtype, SafeTensors};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use tch::Kind;

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
        let shape: Vec<i64> = info.shape.iter().map(|&n| n as i64).collect();
        let Some(kind) = kind(info.dtype) else {
            let what = format!("of type {:?}", info.dtype);
            let opaque = LazyTensor::opaque(path, &name, &what, shape);
            tensors.insert(name, opaque);
            continue;
        };
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

/// The kinds that both the format and libtorch have, in the format's order.
const KINDS: [(Dtype, Kind); 10] = [
    (Dtype::BOOL, Kind::Bool),
    (Dtype::U8, Kind::Uint8),
    (Dtype::I8, Kind::Int8),
    (Dtype::I16, Kind::Int16),
    (Dtype::F16, Kind::Half),
    (Dtype::BF16, Kind::BFloat16),
    (Dtype::I32, Kind::Int),
    (Dtype::F32, Kind::Float),
    (Dtype::I64, Kind::Int64),
    (Dtype::F64, Kind::Double),
];

fn kind(dtype: Dtype) -> Option<Kind> {
    let pair = KINDS.iter().find(|(known, _)| *known == dtype);
    pair.map(|(_, kind)| *kind)
}

fn dtype(kind: Kind) -> Option<Dtype> {
    let pair = KINDS.iter().find(|(_, known)| *known == kind);
    pair.map(|(dtype, _)| *dtype)
}
