//! A tensor that is still in its file.

use crate::{Error, Result};
use memmap2::{Mmap, UncheckedAdvice};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// A weight file mapped into memory.
pub struct Mapping {
    path: PathBuf,
    map: Mmap,
}

impl Mapping {
    pub fn open(path: &Path) -> Result<Arc<Self>> {
        let file = File::open(path).map_err(|e| Error::file(path, e))?;
        // SAFETY: the map is read-only; a file changed by another process while we read it can
        // only give wrong numbers, as with any other way of reading it.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::file(path, e))?;
        Ok(Arc::new(Mapping {
            path: path.to_path_buf(),
            map,
        }))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Lets the kernel drop the pages of a tensor that has been copied out, so that loading a
    /// model holds the model, not the model and its file.
    fn forget(&self, offset: usize, len: usize) {
        const PAGE: usize = 4096;
        let start = offset.next_multiple_of(PAGE);
        let end = (offset + len) / PAGE * PAGE;
        if end > start {
            // SAFETY: the mapping is file-backed and read-only; dropped pages are read again.
            let _ = unsafe {
                self.map
                    .unchecked_advise_range(UncheckedAdvice::DontNeed, start, end - start)
            };
        }
    }
}

type Compute = dyn Fn() -> Result<Tensor> + Send + Sync;

#[derive(Clone)]
enum Place {
    Mapped {
        map: Arc<Mapping>,
        offset: usize,
        strides: Vec<i64>,
    },
    Computed(Arc<Compute>),
}

/// Shape and type of a tensor, and how to get its values.
#[derive(Clone)]
pub struct LazyTensor {
    pub shape: Vec<i64>,
    pub kind: Kind,
    place: Place,
}

impl LazyTensor {
    /// A view of `map` at byte `offset`; `strides` in elements. Fails when it would reach past
    /// the end of the file.
    pub fn mapped(
        map: Arc<Mapping>,
        offset: usize,
        shape: Vec<i64>,
        strides: Vec<i64>,
        kind: Kind,
    ) -> Result<Self> {
        let len = span(&shape, &strides, kind);
        match len.and_then(|len| offset.checked_add(len)) {
            Some(end) if end <= map.bytes().len() => Ok(LazyTensor {
                shape,
                kind,
                place: Place::Mapped {
                    map,
                    offset,
                    strides,
                },
            }),
            _ => Err(Error::file(
                map.path(),
                format!(
                    "a tensor of shape {shape:?} reaches past the end of the file; the file is truncated or damaged: fetch it again"
                ),
            )),
        }
    }

    /// A tensor made from others at load (a concatenation, a folded weight).
    pub fn computed(
        shape: Vec<i64>,
        kind: Kind,
        compute: impl Fn() -> Result<Tensor> + Send + Sync + 'static,
    ) -> Self {
        LazyTensor {
            shape,
            kind,
            place: Place::Computed(Arc::new(compute)),
        }
    }

    /// Reads the values into memory of their own, on `device` and as `kind`.
    pub fn read(&self, device: Device, kind: Kind) -> Result<Tensor> {
        match &self.place {
            Place::Computed(compute) => Ok(compute()?.f_to_device(device)?.f_to_kind(kind)?),
            Place::Mapped {
                map,
                offset,
                strides,
            } => {
                let data = map.bytes()[*offset..].as_ptr();
                // SAFETY: `mapped` checked that every element lies inside the map, which outlives
                // the view; the view is only read, and copied before this function returns.
                let view = unsafe {
                    Tensor::f_from_blob(data, &self.shape, strides, self.kind, Device::Cpu)
                }?;
                let copy = view
                    .f_to_device_(device, kind, false, true)?
                    .f_contiguous()?;
                if let Some(len) = span(&self.shape, strides, self.kind) {
                    map.forget(*offset, len);
                }
                Ok(copy)
            }
        }
    }

    /// Reads the values as they are stored, on the CPU.
    pub fn read_stored(&self) -> Result<Tensor> {
        self.read(Device::Cpu, self.kind)
    }

    pub fn numel(&self) -> i64 {
        self.shape.iter().product()
    }
}

/// Row-major strides, in elements.
pub fn contiguous_strides(shape: &[i64]) -> Vec<i64> {
    let mut strides = vec![1i64; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i].saturating_mul(shape[i]);
    }
    strides
}

/// Bytes from the first to the last element; `None` on overflow or a negative size.
fn span(shape: &[i64], strides: &[i64], kind: Kind) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    let mut last = 0i64;
    for (&size, &stride) in shape.iter().zip(strides) {
        if size < 0 || stride < 0 {
            return None;
        }
        last = last.checked_add((size - 1).checked_mul(stride)?)?;
    }
    usize::try_from(last)
        .ok()?
        .checked_add(1)?
        .checked_mul(kind.elt_size_in_bytes())
}
