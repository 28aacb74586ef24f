//! Element types of stored tensors, by the names that PyTorch gives them.
//!
//! A type that libtorch's kernels do not compute with is known by its width alone: such a tensor
//! can be stepped over, and matters only where a network asks for it.

use tch::Kind;

/// What the elements of a storage are.
#[derive(Debug, Clone, PartialEq)]
pub struct Element {
    /// `torch.float8_e4m3fn`, `torch.ComplexFloatStorage`: as the file says.
    pub name: String,
    /// How they are read; `None` for types that are not.
    pub kind: Option<Kind>,
    /// Bytes of one; `None` for types unknown here and for packed ones.
    pub bytes: Option<usize>,
}

impl Element {
    fn read_as(name: &str, kind: Kind) -> Self {
        Element {
            name: name.to_string(),
            kind: Some(kind),
            bytes: Some(kind.elt_size_in_bytes()),
        }
    }

    fn opaque(name: &str, bytes: Option<usize>) -> Self {
        Element {
            name: name.to_string(),
            kind: None,
            bytes,
        }
    }

    /// Of a storage by its class, `torch.FloatStorage`.
    pub fn of_storage(class: &str) -> Self {
        let short = class.rsplit('.').next().unwrap_or(class);
        let kind = match short {
            "FloatStorage" => Kind::Float,
            "DoubleStorage" => Kind::Double,
            "HalfStorage" => Kind::Half,
            "BFloat16Storage" => Kind::BFloat16,
            "LongStorage" => Kind::Int64,
            "IntStorage" => Kind::Int,
            "ShortStorage" => Kind::Int16,
            "CharStorage" => Kind::Int8,
            "BoolStorage" => Kind::Bool,
            "ByteStorage" | "UntypedStorage" => Kind::Uint8,
            "ComplexDoubleStorage" => return Element::opaque(class, Some(16)),
            "ComplexFloatStorage" => return Element::opaque(class, Some(8)),
            "QInt32Storage" => return Element::opaque(class, Some(4)),
            "QInt8Storage" | "QUInt8Storage" => return Element::opaque(class, Some(1)),
            _ => return Element::opaque(class, None),
        };
        Element::read_as(class, kind)
    }

    /// By the name of a dtype, `torch.bfloat16`.
    pub fn of_dtype(name: &str) -> Self {
        let kind = match name.strip_prefix("torch.").unwrap_or(name) {
            "float32" | "float" => Kind::Float,
            "float64" | "double" => Kind::Double,
            "float16" | "half" => Kind::Half,
            "bfloat16" => Kind::BFloat16,
            "int64" | "long" => Kind::Int64,
            "int32" | "int" => Kind::Int,
            "int16" | "short" => Kind::Int16,
            "int8" => Kind::Int8,
            "uint8" => Kind::Uint8,
            "bool" => Kind::Bool,
            "complex128" => return Element::opaque(name, Some(16)),
            "complex64" | "uint64" => return Element::opaque(name, Some(8)),
            "complex32" | "uint32" | "qint32" => return Element::opaque(name, Some(4)),
            "uint16" => return Element::opaque(name, Some(2)),
            "qint8" | "quint8" => return Element::opaque(name, Some(1)),
            short if short.starts_with("float8_") => return Element::opaque(name, Some(1)),
            _ => return Element::opaque(name, None),
        };
        Element::read_as(name, kind)
    }
}
