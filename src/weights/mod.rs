//! Weight files: opened as a [`Checkpoint`] (tensors by name, plus the config or args beside or
//! inside them), read into a network through [`Params`], strictly.

pub mod checkpoint;
pub mod description;
pub mod diagnose;
mod element;
mod folder;
mod format;
pub mod layout;
pub mod lazy;
mod open;
pub mod params;
pub mod pickle;
mod pytorch;
pub mod safetensors;
pub mod sets;
pub mod spectral;
pub mod trainable;

pub use checkpoint::{Checkpoint, WeightSource};
pub use description::Description;
pub use element::Element;
pub use folder::{Shard, shard};
pub use layout::{KeyLayout, KeyPlace, KeyTable, OUTSIDE};
pub use lazy::{LazyTensor, Mapping};
pub use params::{ParamStore, Params};
pub use trainable::{Mode, Provenance, Registry, Trainable, Uniform};

use indexmap::IndexMap;

/// Tensors of a file by their key, in file order, each read only when asked for.
pub type StateDict = IndexMap<String, LazyTensor>;
