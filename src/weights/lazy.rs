//! A tensor that is still in its file.

use super::trainable::Provenance;
use crate::files::MappedFile;
use crate::runtime::interrupt;
use crate::{Error, Result};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// A weight file mapped into memory.
pub struct Mapping {
    map: MappedFile,
}

impl Mapping {
    pub fn open(path: &Path) -> Result<Arc<Self>> {
        let file = File::open(path).map_err(|e| Error::file(path, e))?;
        let meta = file.metadata().map_err(|e| Error::file(path, e))?;
        if meta.is_dir() {
            return Err(Error::file(path, "is a folder, not a weight file"));
        }
        if meta.len() == 0 {
            return Err(Error::file(path, "is empty; fetch it again"));
        }
        let map = MappedFile::map(path, &file).map_err(|e| Error::file(path, e))?;
        Ok(Arc::new(Mapping { map }))
    }

    pub fn path(&self) -> &Path {
        self.map.path()
    }

    pub fn bytes(&self) -> &[u8] {
        &self.map
    }
}

/// Why a tensor is not read.
struct Opaque {
    path: PathBuf,
    reason: String,
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
    /// Values of a type that is not read here.
    Opaque(Arc<Opaque>),
}

/// Shape and type of a tensor, and how to get its values.
#[derive(Clone)]
pub struct LazyTensor {
    pub shape: Vec<i64>,
    pub kind: Kind,
    /// Where it lies in the file, once somebody asked for that ([`LazyTensor::from_key`]).
    pub provenance: Option<Provenance>,
    place: Place,
}

impl LazyTensor {
    /// The same tensor, which remembers its key through every renaming.
    pub fn from_key(self, key: &str) -> Self {
        LazyTensor {
            provenance: Some(Provenance::Key(key.to_string())),
            ..self
        }
    }

    /// The same tensor with another provenance.
    pub fn with_provenance(self, provenance: Option<Provenance>) -> Self {
        LazyTensor { provenance, ..self }
    }

    /// A view of `map` at byte `offset`; `strides` in elements. Fails when it would reach past
    /// the end of the file.
    pub fn mapped(
        map: Arc<Mapping>,
        offset: usize,
        shape: Vec<i64>,
        strides: Vec<i64>,
        kind: Kind,
    ) -> Result<Self> {
        let path = map.path().to_path_buf();
        let end = map.bytes().len();
        Self::mapped_within(map, offset..end, shape, strides, kind)
            .map_err(|reason| Error::file(path, reason))
    }

    /// The same, confined to a range of bytes. The error is a sentence without the file's name.
    pub fn mapped_within(
        map: Arc<Mapping>,
        range: Range<usize>,
        shape: Vec<i64>,
        strides: Vec<i64>,
        kind: Kind,
    ) -> Result<Self, String> {
        let end = range.end.min(map.bytes().len());
        let last = span(&shape, &strides, kind).and_then(|len| range.start.checked_add(len));
        if last.is_none_or(|last| last > end) {
            return Err(format!(
                "a tensor of shape {shape:?} reaches past the end of its data; the file is truncated or damaged: fetch it again"
            ));
        }
        // Strides of 0 could make a few bytes stand for more values than memory holds.
        let size = shape
            .iter()
            .try_fold(kind.elt_size_in_bytes() as i64, |n, &d| n.checked_mul(d));
        if !shape.contains(&0) && size.is_none_or(|size| size > map.bytes().len() as i64) {
            return Err(format!(
                "a tensor of shape {shape:?} is larger than its file"
            ));
        }
        Ok(LazyTensor {
            shape,
            kind,
            provenance: None,
            place: Place::Mapped {
                map,
                offset: range.start,
                strides,
            },
        })
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
            provenance: None,
            place: Place::Computed(Arc::new(compute)),
        }
    }

    /// A tensor `name` of the file `path` that is `what` ("of type float8"), which is not read
    /// here: an error for whoever reads it, of no matter to anybody else.
    pub fn opaque(path: &Path, name: &str, what: &str, shape: Vec<i64>) -> Self {
        let reason = format!(
            "tensor `{name}` is {what}, which is not read here; save it as a plain tensor of float32, float16 or bfloat16"
        );
        LazyTensor {
            shape,
            kind: Kind::Float,
            provenance: None,
            place: Place::Opaque(Arc::new(Opaque {
                path: path.to_path_buf(),
                reason,
            })),
        }
    }

    /// Whether reading it can only fail ([`LazyTensor::opaque`]).
    pub fn is_opaque(&self) -> bool {
        matches!(self.place, Place::Opaque(_))
    }

    /// Reads the values into memory of their own, on `device` and as `kind`.
    pub fn read(&self, device: Device, kind: Kind) -> Result<Tensor> {
        // The largest networks take minutes to read.
        interrupt::check()?;
        match &self.place {
            Place::Computed(compute) => Ok(compute()?.f_to_device(device)?.f_to_kind(kind)?),
            Place::Opaque(opaque) => Err(Error::file(&opaque.path, &opaque.reason)),
            Place::Mapped {
                map,
                offset,
                strides,
            } => {
                let data = map.bytes()[*offset..].as_ptr();
                let aligned = data.align_offset(self.kind.elt_size_in_bytes()) == 0;
                let view = if aligned {
                    // SAFETY: `mapped_within` checked that every element lies inside the map,
                    // which outlives the view; the view is only read, and copied before this
                    // function returns.
                    unsafe {
                        Tensor::f_from_blob(data, &self.shape, strides, self.kind, Device::Cpu)
                    }?
                } else {
                    self.realigned(data, strides)?
                };
                let copy = view
                    .f_to_device_(device, kind, false, true)?
                    .f_contiguous()?;
                if let Some(len) = span(&self.shape, strides, self.kind) {
                    // Loading a model holds the model, not the model and its file.
                    map.map.forget(*offset, len);
                }
                Ok(copy)
            }
        }
    }

    /// A copy of the mapped elements at an address libtorch can read them from: legacy pickles
    /// put storages anywhere.
    fn realigned(&self, data: *const u8, strides: &[i64]) -> Result<Tensor> {
        let bytes = span(&self.shape, strides, self.kind).unwrap_or(0);
        let elements = bytes / self.kind.elt_size_in_bytes();
        let staging = Tensor::f_empty([elements as i64], (self.kind, Device::Cpu))?;
        // SAFETY: `bytes` from `data` on lie inside the map (`mapped_within`); the destination is
        // new and has the same size.
        unsafe { std::ptr::copy_nonoverlapping(data, staging.data_ptr().cast(), bytes) };
        Ok(staging.f_as_strided(&self.shape, strides, None)?)
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
