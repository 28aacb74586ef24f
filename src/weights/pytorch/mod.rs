//! Files written by `torch.save`, in both of its containers: a zip archive of records
//! ([`archive`], since PyTorch 1.6) and one stream of pickles and raw storages ([`legacy`]).
//! Values stay in the file, mapped into memory.

mod archive;
mod flatten;
mod legacy;
mod select;

use super::StateDict;
use super::description::Description;
use super::lazy::Mapping;
use super::pickle::StorageRef;
use crate::Result;
use std::sync::Arc;

/// The tensors of a checkpoint and what came with them.
pub struct Saved {
    /// The state dict that the file is likeliest about.
    pub tensors: StateDict,
    /// The keys that led to it, with dots (`state_dict.`), or nothing.
    pub path: String,
    /// Every other tensor of the file, by its whole path.
    pub rest: StateDict,
    /// The pickled `args` and their like.
    pub descriptions: Vec<Description>,
}

/// A zip archive: a checkpoint, or `None` for a TorchScript program, which carries its own code
/// and is left to the architecture that runs such programs. OpenAI's archives of CLIP are
/// TorchScript too, but take images and texts together; their parameters are a checkpoint.
pub fn open_zip(map: &Arc<Mapping>) -> Result<Option<Saved>> {
    archive::open(map)
}

/// A legacy stream.
pub fn open_legacy(map: &Arc<Mapping>) -> Result<Saved> {
    legacy::open(map)
}

/// Finds storages in a file.
trait Storages {
    /// Byte range of a whole storage (its `first` element not counted in).
    fn locate(&mut self, storage: &StorageRef) -> Result<std::ops::Range<usize>, String>;
}
