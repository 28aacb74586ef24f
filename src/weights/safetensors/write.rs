//! Writing: the header first, from declared shapes, then the values in as many pieces as they
//! come. The library's own writer takes everything at once, and leaves the file with the mode and
//! the durability of a temporary one.

use super::dtype;
use crate::files::AtomicFile;
use crate::{Error, Result};
use ::safetensors::tensor::{Dtype, TensorInfo};
use serde_json::{Map, Value, json};
use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// The header's length is a multiple of this, so that the values are aligned.
const ALIGNMENT: usize = 8;

/// A tensor that is going to be written.
pub struct Declared {
    pub name: String,
    pub kind: Kind,
    pub shape: Vec<i64>,
}

/// The beginning of a file: where everything will lie.
pub struct Header {
    /// The header as it stands in the file, with its length before it.
    pub bytes: Vec<u8>,
    /// First byte of each declared tensor, and the one behind its last, counted from the end of
    /// the header.
    pub spans: Vec<(usize, usize)>,
}

impl Header {
    /// The header of the file `path`, with `tensors` in the order given.
    ///
    /// # Errors
    /// A kind that the format lacks, a negative or overflowing shape, or a name twice.
    pub fn new(
        path: &Path,
        tensors: &[Declared],
        metadata: &HashMap<String, String>,
    ) -> Result<Self> {
        let mut header = Map::new();
        if !metadata.is_empty() {
            let mut sorted: Vec<_> = metadata.iter().collect();
            sorted.sort();
            let text: Map<String, Value> = sorted
                .into_iter()
                .map(|(name, text)| (name.clone(), json!(text)))
                .collect();
            header.insert("__metadata__".into(), Value::Object(text));
        }
        let mut spans = Vec::with_capacity(tensors.len());
        let mut offset = 0usize;
        for tensor in tensors {
            let fail = |reason: String| Error::tensor(path, &tensor.name, reason);
            let dtype = dtype_of(tensor.kind).map_err(fail)?;
            let (shape, bytes) = extent(tensor)
                .ok_or_else(|| fail(format!("shape {:?} is not possible", tensor.shape)))?;
            let end = offset
                .checked_add(bytes)
                .ok_or_else(|| fail("the file would be too large".into()))?;
            let info = TensorInfo {
                dtype,
                shape,
                data_offsets: (offset, end),
            };
            let info = serde_json::to_value(info).map_err(|e| Error::file(path, e))?;
            if header.insert(tensor.name.clone(), info).is_some() {
                return Err(fail("is declared twice".into()));
            }
            spans.push((offset, end));
            offset = end;
        }
        let mut text = serde_json::to_vec(&header).map_err(|e| Error::file(path, e))?;
        text.resize(text.len().next_multiple_of(ALIGNMENT), b' ');
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.extend(text);
        Ok(Header { bytes, spans })
    }
}

/// A safetensors file whose tensors are written one after the other, each in one or many pieces.
pub struct Writer {
    file: AtomicFile,
    /// Name, kind and bytes still to come of the tensors not finished, in the order of the file.
    open: VecDeque<(String, Kind, usize)>,
}

impl Writer {
    /// Begins a file. The values must come in the order declared; readers that need aligned
    /// values want wider kinds declared before narrower ones.
    ///
    /// # Errors
    /// A kind that the format lacks, a negative or overflowing shape, a name twice, or a folder
    /// that cannot be written to.
    pub fn create(
        path: &Path,
        tensors: &[Declared],
        metadata: &HashMap<String, String>,
    ) -> Result<Self> {
        let header = Header::new(path, tensors, metadata)?;
        let mut open = VecDeque::new();
        for (tensor, (start, end)) in tensors.iter().zip(&header.spans) {
            open.push_back((tensor.name.clone(), tensor.kind, end - start));
        }
        let mut file = AtomicFile::create(path)?;
        file.write_all(&header.bytes).map_err(|e| file.error(e))?;
        Ok(Writer { file, open })
    }

    /// Appends the values of `piece`, in its row-major order, to the first tensor that is not
    /// finished; they must have its kind and must not reach beyond it.
    pub fn append(&mut self, piece: &Tensor) -> Result<()> {
        let piece = piece.f_to_device(Device::Cpu)?.f_contiguous()?;
        let len = piece.numel() * piece.kind().elt_size_in_bytes();
        while matches!(self.open.front(), Some((_, _, 0))) {
            self.open.pop_front();
        }
        if len == 0 {
            return Ok(());
        }
        match self.open.front_mut() {
            Some((_, kind, left)) if *kind == piece.kind() && *left >= len => *left -= len,
            Some((name, kind, left)) => {
                let reason = format!(
                    "tensor `{name}` lacks {left} bytes of {kind:?}, but {len} bytes of {:?} came",
                    piece.kind()
                );
                return Err(self.file.error(reason));
            }
            None => return Err(self.file.error("more values came than were declared")),
        }
        // SAFETY: contiguous on the CPU, not empty, of that many bytes, and borrowed until the
        // end of this function. Little-endian, as every machine that libtorch runs on.
        let bytes = unsafe { std::slice::from_raw_parts(piece.data_ptr().cast::<u8>(), len) };
        self.file.write_all(bytes).map_err(|e| self.file.error(e))
    }

    /// Ends the file, once every declared value has come.
    pub fn commit(self) -> Result<()> {
        match self.open.iter().find(|(_, _, left)| *left > 0) {
            Some((name, _, left)) => Err(self
                .file
                .error(format!("tensor `{name}` still lacks {left} bytes"))),
            None => self.file.commit(),
        }
    }
}

/// Writes tensors as they are (kind and shape) so that no half file is ever seen; wider kinds
/// first, then by name. No tensor on the CPU is copied unless its values lie scattered.
pub fn write<'a>(
    path: &Path,
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
    metadata: HashMap<String, String>,
) -> Result<()> {
    let mut tensors: Vec<_> = tensors.into_iter().collect();
    tensors.sort_by_key(|(name, tensor)| (std::cmp::Reverse(dtype(tensor.kind())), *name));
    let declared: Vec<Declared> = tensors
        .iter()
        .map(|(name, tensor)| Declared {
            name: name.to_string(),
            kind: tensor.kind(),
            shape: tensor.size(),
        })
        .collect();
    let mut writer = Writer::create(path, &declared, &metadata)?;
    for (_, tensor) in tensors {
        writer.append(tensor)?;
    }
    writer.commit()
}

fn dtype_of(kind: Kind) -> Result<Dtype, String> {
    dtype(kind).ok_or_else(|| format!("kind {kind:?} cannot be written to safetensors"))
}

/// Shape and bytes; `None` where they are negative or overflow.
fn extent(tensor: &Declared) -> Option<(Vec<usize>, usize)> {
    let shape: Vec<usize> = tensor
        .shape
        .iter()
        .map(|&n| usize::try_from(n).ok())
        .collect::<Option<_>>()?;
    let bytes = shape
        .iter()
        .try_fold(tensor.kind.elt_size_in_bytes(), |n, &size| {
            n.checked_mul(size)
        })?;
    Some((shape, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::safetensors::open;
    use std::os::unix::fs::PermissionsExt;

    fn declared(name: &str, kind: Kind, shape: &[i64]) -> Declared {
        Declared {
            name: name.into(),
            kind,
            shape: shape.to_vec(),
        }
    }

    #[test]
    fn pieces_make_the_tensor() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let whole = Tensor::arange(12, (Kind::Float, Device::Cpu)).reshape([4, 3]);
        let half = whole.to_kind(Kind::BFloat16).transpose(0, 1);
        let metadata = HashMap::from([("b".to_string(), "2".into()), ("a".into(), "1".into())]);
        let mut writer = Writer::create(
            &path,
            &[
                declared("rows", Kind::Float, &[4, 3]),
                declared("none", Kind::Int64, &[0, 7]),
                declared("half", Kind::BFloat16, &[3, 4]),
            ],
            &metadata,
        )
        .unwrap();
        writer.append(&whole.narrow(0, 0, 1)).unwrap();
        writer.append(&whole.narrow(0, 1, 3)).unwrap();
        writer.append(&half).unwrap();
        writer.commit().unwrap();

        let (tensors, read) = open(&path).unwrap();
        assert_eq!(read, metadata);
        let get = |name: &str| tensors[name].read(Device::Cpu, tensors[name].kind).unwrap();
        assert_eq!(get("rows"), whole);
        assert_eq!(get("half"), half.contiguous());
        assert_eq!(get("none").size(), [0, 7]);
        // The library agrees.
        let bytes = std::fs::read(&path).unwrap();
        let library = ::safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(library.tensor("half").unwrap().shape(), [3, 4]);
    }

    #[test]
    fn a_file_of_results_is_for_others_to_read() {
        let folder = tempfile::tempdir().unwrap();
        let (plain, path) = (folder.path().join("plain"), folder.path().join("x"));
        std::fs::write(&plain, b"").unwrap();
        let tensor = Tensor::zeros([2], (Kind::Float, Device::Cpu));
        write(&path, [("x", &tensor)], HashMap::new()).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&plain));
    }

    #[test]
    fn too_few_too_many_and_wrong_values_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let begin = || {
            let declared = declared("x", Kind::Float, &[2]);
            Writer::create(&path, &[declared], &HashMap::new()).unwrap()
        };
        let zeros = |n: i64, kind: Kind| Tensor::zeros([n], (kind, Device::Cpu));
        let mut writer = begin();
        writer.append(&zeros(1, Kind::Float)).unwrap();
        let error = writer.commit().unwrap_err().to_string();
        assert!(error.contains("`x` still lacks 4 bytes"), "{error}");
        assert!(begin().append(&zeros(3, Kind::Float)).is_err());
        assert!(begin().append(&zeros(1, Kind::Double)).is_err());
        assert!(!path.exists());
    }
}
