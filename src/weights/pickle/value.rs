//! What a pickle builds: nodes in one arena, so that shared and cyclic values cost nothing and
//! nothing recurses when they are dropped.

use crate::weights::Element;

/// Index of a node in its [`Pickle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id(pub(super) u32);

impl Id {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A tensor's memory, named but not read: PyTorch's persistent id
/// `('storage', class, key, location, numel[, view])`.
#[derive(Debug, Clone, PartialEq)]
pub struct StorageRef {
    /// Bytes (`Uint8`) for an untyped storage.
    pub element: Element,
    /// Name of the record in the archive, or key in a legacy file.
    pub key: String,
    /// Elements.
    pub numel: usize,
    /// First element, where the storage is a view into the one called `key` (legacy files).
    pub first: usize,
}

/// `torch._utils._rebuild_tensor_v2(storage, offset, size, stride, ...)`, not executed.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorRef {
    pub storage: StorageRef,
    pub element: Element,
    /// In elements.
    pub offset: usize,
    pub shape: Vec<i64>,
    /// In elements.
    pub strides: Vec<i64>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    None,
    Bool(bool),
    Int(i64),
    /// An integer beyond 64 bits, little-endian two's complement.
    Long(Vec<u8>),
    Float(f64),
    Str(String),
    Bytes(Vec<u8>),
    /// list, tuple, set or frozenset
    Sequence(Vec<Id>),
    /// dict or OrderedDict, in insertion order; a later pair with an equal key wins.
    Dict(Vec<(Id, Id)>),
    /// `argparse.Namespace`: its attributes
    Namespace(Vec<(Id, Id)>),
    /// A class or function by its dotted name, not imported.
    Global(String),
    /// A NumPy scalar type such as `f8`.
    NumpyType(String),
    Storage(Box<StorageRef>),
    Tensor(Box<TensorRef>),
    /// A tensor that is more than a view of a storage (quantised, sparse): what it is.
    OpaqueTensor(String),
    /// An object of a class that is not understood: the class's name.
    Opaque(String),
}

impl Node {
    /// Bytes or items that making this node copied.
    pub(super) fn copied(&self) -> usize {
        match self {
            Node::Str(text)
            | Node::Global(text)
            | Node::Opaque(text)
            | Node::OpaqueTensor(text)
            | Node::NumpyType(text) => text.len(),
            Node::Bytes(bytes) | Node::Long(bytes) => bytes.len(),
            Node::Sequence(items) => items.len(),
            Node::Dict(pairs) | Node::Namespace(pairs) => pairs.len(),
            Node::Tensor(tensor) => tensor.storage.key.len() + tensor.shape.len(),
            Node::Storage(storage) => storage.key.len(),
            Node::None | Node::Bool(_) | Node::Int(_) | Node::Float(_) => 0,
        }
    }
}

/// A pickle that was read.
#[derive(Debug)]
pub struct Pickle {
    pub(super) nodes: Vec<Node>,
    pub(super) root: Id,
    /// Bytes up to and including its STOP.
    pub len: usize,
}

impl Pickle {
    pub fn root(&self) -> Id {
        self.root
    }

    pub fn node(&self, id: Id) -> &Node {
        &self.nodes[id.index()]
    }

    pub fn str(&self, id: Id) -> Option<&str> {
        match self.node(id) {
            Node::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The pairs of a dict or namespace.
    pub fn pairs(&self, id: Id) -> Option<&[(Id, Id)]> {
        match self.node(id) {
            Node::Dict(pairs) | Node::Namespace(pairs) => Some(pairs),
            _ => None,
        }
    }

    /// The value under a string key of a dict or namespace.
    pub fn get(&self, id: Id, key: &str) -> Option<Id> {
        let pairs = self.pairs(id)?;
        let found = pairs.iter().rev().find(|(k, _)| self.str(*k) == Some(key));
        found.map(|(_, value)| *value)
    }

    /// Every storage named anywhere.
    pub fn storages(&self) -> impl Iterator<Item = &StorageRef> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Storage(storage) => Some(storage.as_ref()),
            _ => None,
        })
    }
}
