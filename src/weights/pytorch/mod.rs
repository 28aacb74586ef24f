//! Files written by `torch.save`, in both of its containers: a zip archive of records
//! ([`archive`], since PyTorch 1.6) and one stream of pickles and raw storages ([`legacy`]).
//! Values stay in the file, mapped into memory.

mod archive;
mod legacy;
mod select;

use super::StateDict;
use super::lazy::Mapping;
use super::pickle::StorageRef;
use crate::Result;
use serde_json::Value;
use std::sync::Arc;

/// The state dict of a checkpoint and what came with it.
pub struct Saved {
    pub tensors: StateDict,
    /// The pickled `args`; `Null` where there are none.
    pub config: Value,
    /// Whether the tensors are the moving average (`state_dict_ema`).
    pub ema: bool,
}

/// A zip archive: a checkpoint, or `None` for a TorchScript program, which carries its own code
/// and is left to the architecture that runs such programs.
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
