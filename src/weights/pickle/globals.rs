//! The allow-list: calls that are understood, each replaced by code that builds data.

use super::value::{Id, Node, StorageRef, TensorRef};
use crate::weights::Element;

/// libtorch's own limit on the dimensions of a tensor.
const MAX_DIMENSIONS: usize = 64;
/// PATH_MAX of Linux.
const MAX_PATH: usize = 4096;

/// Outcome of a call.
pub(super) enum Called {
    New(Node),
    /// The value of an existing node (a parameter is its tensor).
    Same(Id),
}

/// `callable(*arguments)`, or a new object of that class. Unknown callables make an opaque
/// marker; known ones with senseless arguments are an error.
pub(super) fn call(nodes: &[Node], callable: Id, arguments: Id) -> Result<Called, String> {
    let args = Arguments { nodes, arguments };
    let name = match &nodes[callable.index()] {
        Node::Global(name) => name.as_str(),
        Node::Opaque(name) => return Ok(Called::New(Node::Opaque(name.clone()))),
        _ => return Err("something that is not a function is called".into()),
    };
    let node = match name {
        "collections.OrderedDict" => args.ordered_dict()?,
        "collections.defaultdict" => Node::Dict(Vec::new()),
        "argparse.Namespace" => Node::Namespace(Vec::new()),
        // The modules of a TorchScript archive: their attributes are what they hold.
        _ if name.starts_with("__torch__.") => Node::Namespace(Vec::new()),
        // Objects of protocols 0 and 1: `_reconstructor(class, base, state)`.
        "copyreg._reconstructor" | "copy_reg._reconstructor" => match args.node(0)? {
            Node::Global(class) if class == "argparse.Namespace" => Node::Namespace(Vec::new()),
            Node::Global(class) => Node::Opaque(class.clone()),
            _ => return Err("an object without a class is built".into()),
        },
        "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2" => args.tensor(None)?,
        "torch._utils._rebuild_tensor_v3" => args.tensor(Some(6))?,
        "torch._utils._rebuild_qtensor"
        | "torch._utils._rebuild_sparse_tensor"
        | "torch._utils._rebuild_nested_tensor"
        | "torch._utils._rebuild_wrapper_subclass"
        | "torch._utils._rebuild_meta_tensor_no_storage"
        | "torch._utils._rebuild_device_tensor_from_numpy"
        | "torch._utils._rebuild_device_tensor_from_cpu_tensor" => {
            Node::OpaqueTensor(name.to_string())
        }
        "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state" => {
            return args.id(0).map(Called::Same);
        }
        // `_rebuild_from_type_v2(function, type, arguments, attributes)`: attributes unused.
        "torch._tensor._rebuild_from_type_v2" => {
            let (function, inner) = (args.id(0)?, args.id(2)?);
            return match &nodes[function.index()] {
                Node::Global(name) if name.starts_with("torch._utils._rebuild_") => {
                    call(nodes, function, inner)
                }
                _ => Ok(Called::New(Node::Opaque(name.to_string()))),
            };
        }
        "torch.Size"
        | "builtins.list"
        | "builtins.tuple"
        | "builtins.set"
        | "builtins.frozenset"
        | "__builtin__.list"
        | "__builtin__.tuple"
        | "__builtin__.set"
        | "__builtin__.frozenset" => match args.all() {
            [] => Node::Sequence(Vec::new()),
            [items, ..] => return Ok(Called::Same(*items)),
        },
        "torch.device" => args.device()?,
        "torch.serialization._get_layout" => return args.id(0).map(Called::Same),
        _ if name.starts_with("pathlib.") && name.ends_with("Path") => args.path()?,
        "_codecs.encode" => args.encoded()?,
        "numpy.dtype" => match args.node(0)? {
            Node::Str(code) => Node::NumpyType(code.clone()),
            _ => Node::Opaque(name.to_string()),
        },
        "numpy.core.multiarray.scalar" | "numpy._core.multiarray.scalar" => args.numpy_scalar()?,
        _ => Node::Opaque(name.to_string()),
    };
    Ok(Called::New(node))
}

/// `object.__setstate__(state)`: attributes of a namespace. Attributes of other objects (such as
/// the `_metadata` of a state dict) carry no weights. Returns the number of
/// attributes copied.
pub(super) fn set_state(nodes: &mut [Node], object: Id, state: Id) -> usize {
    if !matches!(nodes[object.index()], Node::Namespace(_)) {
        return 0;
    }
    let attributes = match &nodes[state.index()] {
        Node::Dict(pairs) => pairs.clone(),
        _ => return 0,
    };
    let count = attributes.len();
    if let Node::Namespace(pairs) = &mut nodes[object.index()] {
        pairs.extend(attributes);
    }
    count
}

/// The storage a persistent id stands for.
pub(super) fn storage(nodes: &[Node], id: Id) -> Result<Node, String> {
    let args = Arguments {
        nodes,
        arguments: id,
    };
    let unknown = || "a persistent id is not that of a PyTorch storage".to_string();
    let [tag, class, key, _location, numel, view @ ..] = args.all() else {
        return Err(unknown());
    };
    match (args.at(*tag), args.at(*class), args.at(*key)) {
        (Node::Str(tag), Node::Global(class), Node::Str(key)) if tag == "storage" => {
            let mut storage = StorageRef {
                element: Element::of_storage(class),
                key: key.clone(),
                numel: args.size(*numel)?,
                first: 0,
            };
            // Legacy files: `(view key, offset, size)`.
            if let [view, ..] = view
                && let Node::Sequence(view) = args.at(*view)
                && let [_, first, numel] = view.as_slice()
            {
                storage.first = args.size(*first)?;
                storage.numel = args.size(*numel)?;
            }
            Ok(Node::Storage(Box::new(storage)))
        }
        _ => Err(unknown()),
    }
}

struct Arguments<'a> {
    nodes: &'a [Node],
    arguments: Id,
}

impl<'a> Arguments<'a> {
    fn all(&self) -> &'a [Id] {
        match &self.nodes[self.arguments.index()] {
            Node::Sequence(items) => items,
            _ => &[],
        }
    }

    fn at(&self, id: Id) -> &'a Node {
        &self.nodes[id.index()]
    }

    fn id(&self, index: usize) -> Result<Id, String> {
        let found = self.all().get(index).copied();
        found.ok_or_else(|| "a call lacks an argument".to_string())
    }

    fn node(&self, index: usize) -> Result<&'a Node, String> {
        Ok(self.at(self.id(index)?))
    }

    fn size(&self, id: Id) -> Result<usize, String> {
        match self.at(id) {
            Node::Int(n) => usize::try_from(*n).map_err(|_| format!("{n} is given as a size")),
            _ => Err("something that is not an integer is given as a size".into()),
        }
    }

    /// A tuple of sizes that are not negative.
    fn sizes(&self, index: usize) -> Result<Vec<i64>, String> {
        match self.node(index)? {
            Node::Sequence(items) if items.len() <= MAX_DIMENSIONS => items
                .iter()
                .map(|&id| self.size(id).map(|n| n as i64))
                .collect(),
            _ => Err("a shape is not a tuple of a few numbers".into()),
        }
    }

    /// (storage, offset, size, stride, ...), the element type at `dtype` where it is not the
    /// storage's.
    fn tensor(&self, dtype: Option<usize>) -> Result<Node, String> {
        let Node::Storage(storage) = self.node(0)? else {
            return Err("a tensor is built without a storage".into());
        };
        let element = match dtype.map(|index| self.node(index)).transpose()? {
            None => storage.element.clone(),
            Some(Node::Global(name)) => Element::of_dtype(name),
            Some(_) => return Err("a tensor is built without a type".into()),
        };
        let (shape, strides) = (self.sizes(2)?, self.sizes(3)?);
        if shape.len() != strides.len() {
            return Err(format!(
                "a tensor has shape {shape:?} but strides {strides:?}"
            ));
        }
        Ok(Node::Tensor(Box::new(TensorRef {
            storage: (**storage).clone(),
            element,
            offset: self.size(self.id(1)?)?,
            shape,
            strides,
        })))
    }

    /// `OrderedDict()` or `OrderedDict([[key, value], ...])`.
    fn ordered_dict(&self) -> Result<Node, String> {
        let items = match self.all() {
            [] => return Ok(Node::Dict(Vec::new())),
            [items, ..] => self.at(*items),
        };
        let pairs = match items {
            Node::Dict(pairs) => pairs.clone(),
            Node::Sequence(items) => items
                .iter()
                .map(|&item| match self.at(item) {
                    Node::Sequence(pair) if pair.len() == 2 => Ok((pair[0], pair[1])),
                    _ => Err("a dict has an item that is not a pair"),
                })
                .collect::<Result<_, _>>()?,
            _ => return Err("a dict is made from something that has no items".into()),
        };
        Ok(Node::Dict(pairs))
    }

    /// `device("cuda", 0)` as `cuda:0`.
    fn device(&self) -> Result<Node, String> {
        let Node::Str(name) = self.node(0)? else {
            return Ok(Node::Opaque("torch.device".into()));
        };
        Ok(Node::Str(match self.all().get(1).map(|&id| self.at(id)) {
            Some(Node::Int(index)) => format!("{name}:{index}"),
            _ => name.clone(),
        }))
    }

    /// `PosixPath("a", "b")` as `a/b`.
    fn path(&self) -> Result<Node, String> {
        let mut path = std::path::PathBuf::new();
        for &part in self.all() {
            match self.at(part) {
                Node::Str(part) => path.push(part),
                _ => return Err("a path has a part that is not text".into()),
            }
            // Shared parts could be joined without end.
            if path.as_os_str().len() > MAX_PATH {
                return Err(format!("a path is longer than {MAX_PATH} bytes"));
            }
        }
        Ok(Node::Str(path.to_string_lossy().into_owned()))
    }

    /// `encode(text, "latin1")`: how Python 3 writes bytes under protocol 2.
    fn encoded(&self) -> Result<Node, String> {
        match (self.node(0)?, self.node(1)?) {
            (Node::Str(text), Node::Str(codec))
                if matches!(codec.as_str(), "latin1" | "latin-1") =>
            {
                let bytes = text.chars().map(|c| u8::try_from(u32::from(c)));
                let bytes = bytes.collect::<Result<_, _>>();
                Ok(Node::Bytes(bytes.map_err(|_| "a text is not Latin-1")?))
            }
            _ => Ok(Node::Opaque("_codecs.encode".into())),
        }
    }

    /// `scalar(dtype, little-endian bytes)`.
    fn numpy_scalar(&self) -> Result<Node, String> {
        let (Node::NumpyType(code), Node::Bytes(bytes)) = (self.node(0)?, self.node(1)?) else {
            return Ok(Node::Opaque("numpy scalar".into()));
        };
        let wrong = |_| format!("a NumPy scalar of type {code} has {} bytes", bytes.len());
        Ok(match code.as_str() {
            "f8" => Node::Float(f64::from_le_bytes(
                bytes.as_slice().try_into().map_err(wrong)?,
            )),
            "f4" => {
                let value = f32::from_le_bytes(bytes.as_slice().try_into().map_err(wrong)?);
                Node::Float(value.into())
            }
            "i8" => Node::Int(i64::from_le_bytes(
                bytes.as_slice().try_into().map_err(wrong)?,
            )),
            "i4" => {
                let value = i32::from_le_bytes(bytes.as_slice().try_into().map_err(wrong)?);
                Node::Int(value.into())
            }
            "b1" => Node::Bool(bytes.first().is_some_and(|&b| b != 0)),
            _ => Node::Opaque(format!("numpy.{code}")),
        })
    }
}
