//! One block of keys on the CPU: each thread multiplies a tile of queries and scans the
//! similarities at once, while they are in its cache.

use super::topk::Candidates;
use crate::Result;
use crate::models::layers::Linear;
use crate::runtime::interrupt;
use crate::runtime::shim::on_every_thread;
use std::sync::{Mutex, PoisonError};
use tch::Tensor;

/// Takes `keys` ([n, D], row 0 being key `first_key`) into the candidates of the queries.
///
/// `tiles`: [m, D] each; `candidates`: those of the tiles' rows, in order.
pub fn merge(
    tiles: &[Tensor],
    candidates: &mut [Candidates],
    keys: Tensor,
    first_key: u32,
) -> Result<()> {
    let mut rest = candidates;
    let mut queue = Vec::new();
    for tile in tiles {
        let (own, others) = rest.split_at_mut(tile.size()[0] as usize);
        queue.push((tile.shallow_clone(), own));
        rest = others;
    }
    let queue = Mutex::new(queue);
    let keys = Keys(Linear::from_tensors(keys, None)?);
    on_every_thread(|| {
        let _no_grad = tch::no_grad_guard();
        loop {
            interrupt::check()?;
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some((tile, candidates)) = next else {
                return Ok(());
            };
            scan(&keys.similarities(&tile), candidates, first_key);
        }
    })
}

/// Keys laid out for the product once for all tiles.
struct Keys(Linear);

// SAFETY: a product only reads the weight, and libtorch counts references atomically.
unsafe impl Sync for Keys {}

impl Keys {
    /// [m, D] -> [m, n]
    fn similarities(&self, tile: &Tensor) -> Tensor {
        self.0.forward(tile)
    }
}

/// `similarities`: [queries, keys]
pub fn scan(similarities: &Tensor, candidates: &mut [Candidates], first_key: u32) {
    let similarities = similarities.contiguous();
    let keys = similarities.size()[1] as usize;
    // SAFETY: a contiguous fp32 CPU tensor of numel elements, alive and unshared while the slice is.
    let values = unsafe {
        std::slice::from_raw_parts(similarities.data_ptr() as *const f32, similarities.numel())
    };
    for (candidates, row) in candidates.iter_mut().zip(values.chunks_exact(keys)) {
        candidates.scan(row, first_key);
    }
}
