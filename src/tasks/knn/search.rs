//! Exact nearest neighbours by cosine similarity, in blocks.
//!
//! The matrix product takes nearly all the time, so everything else is kept off its path: keys
//! stream by once per `QUERY_BYTES` of queries, each block of similarities is compared with the
//! queries' running k-th best, and only the few that exceed it are looked at further. Nothing of
//! the size queries x keys exists; what does is bounded by the constants below.

use super::topk::{Candidates, TopK};
use super::{scan, select};
use crate::runtime::{guard, interrupt};
use crate::tasks::extract::Rows;
use crate::{Error, Result};
use std::ops::Range;
use tch::Device;

/// Normalised queries held at a time, in bytes: 50,000 of 1280 floats.
const QUERY_BYTES: usize = 256 << 20;

/// Keys per block and queries per tile.
struct Block {
    keys: usize,
    queries: usize,
}

/// Each thread has a tile of similarities of its own, 1 MiB, which stays in its cache from the
/// product to the scan.
const CPU_BLOCK: Block = Block {
    keys: 1_024,
    queries: 256,
};
/// One tile of 256 MiB for the whole device.
const CUDA_BLOCK: Block = Block {
    keys: 16_384,
    queries: 4_096,
};

/// The `k` nearest keys of every query, exactly: best first, equal similarities in order of key.
///
/// `k`: at least 1. `progress` is told the number of (query, key) pairs done. Stops when the user
/// interrupts.
pub fn search(
    queries: &Rows,
    keys: &Rows,
    k: usize,
    device: Device,
    progress: &mut dyn FnMut(u64),
) -> Result<TopK> {
    if queries.dim() != keys.dim() {
        return Err(Error::model(format!(
            "queries have {} features, keys {}",
            queries.dim(),
            keys.dim()
        )));
    }
    if u32::try_from(keys.len()).is_err() {
        return Err(Error::model(
            "more than 4,294,967,295 keys are not supported",
        ));
    }
    let block = if device.is_cuda() {
        CUDA_BLOCK
    } else {
        CPU_BLOCK
    };
    let mut candidates: Vec<_> = (0..queries.len()).map(|_| Candidates::new(k)).collect();
    guard(|| {
        let _no_grad = tch::no_grad_guard();
        let chunk = (QUERY_BYTES / (4 * queries.dim())).next_multiple_of(block.queries);
        for (first, own) in (0..).step_by(chunk).zip(candidates.chunks_mut(chunk)) {
            let range = first..first + own.len();
            search_chunk(queries, range, keys, &block, device, own, progress)?;
        }
        Ok(())
    })?;
    TopK::new(candidates, keys.len())
}

/// All keys against the queries of `range`, which are normalised once.
fn search_chunk(
    queries: &Rows,
    range: Range<usize>,
    keys: &Rows,
    block: &Block,
    device: Device,
    candidates: &mut [Candidates],
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    let tiles = queries
        .normalised(range.clone(), device)?
        .f_split(block.queries as i64, 0)?;
    for first in (0..keys.len()).step_by(block.keys) {
        interrupt::check()?;
        let block = first..keys.len().min(first + block.keys);
        let normalised = keys.normalised(block.clone(), device)?;
        match device {
            Device::Cpu => scan::merge(&tiles, candidates, normalised, first as u32)?,
            _ => select::merge(&tiles, candidates, &normalised, first as u32)?,
        }
        progress((range.len() * block.len()) as u64);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::search;
    use crate::tasks::extract::Rows;
    use tch::{Device, Kind, Tensor};

    fn random(rows: i64, dim: i64) -> Tensor {
        Tensor::randn([rows, dim], (Kind::Float, Device::Cpu))
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        Vec::try_from(tensor.reshape([-1])).unwrap()
    }

    /// Narrow features go through libtorch's product, wide ones are packed for oneDNN.
    #[test]
    fn blocks_give_what_one_product_and_topk_give() {
        tch::manual_seed(1);
        for dim in [8, 160] {
            // More keys than one block, more queries than one tile, neither a multiple.
            let (queries, keys) = (random(600, dim), random(2_500, dim));
            let (q, k) = (values(&queries), values(&keys));
            let rows = |values| Rows::new(values, dim as usize).unwrap();
            let found = search(&rows(&q), &rows(&k), 11, Device::Cpu, &mut |_| {}).unwrap();
            let normalise = |t: &Tensor| t / t.norm_scalaropt_dim(2.0, [1], true);
            let all = normalise(&queries).mm(&normalise(&keys).tr());
            let (best, _) = all.topk(11, 1, true, true);
            for query in 0..600 {
                let expected: Vec<f32> = Vec::try_from(best.get(query as i64)).unwrap();
                assert_eq!(found.neighbours(query).len(), 11);
                for (n, e) in found.neighbours(query).iter().zip(expected) {
                    assert!((n.similarity - e).abs() < 1e-6, "{n:?} {e}");
                    let own = all.double_value(&[query as i64, i64::from(n.key)]);
                    assert!((f64::from(n.similarity) - own).abs() < 1e-6);
                }
            }
        }
    }

    /// The same image twice, in blocks of different size: the first one is nearer.
    #[test]
    fn equal_keys_come_in_order() {
        tch::manual_seed(2);
        let (queries, keys) = (random(300, 160), random(1_300, 160));
        let keys = Tensor::cat(&[&keys, &keys], 0);
        let (q, k) = (values(&queries), values(&keys));
        let rows = |values| Rows::new(values, 160).unwrap();
        let found = search(&rows(&q), &rows(&k), 10, Device::Cpu, &mut |_| {}).unwrap();
        for query in 0..300 {
            for pair in found.neighbours(query).chunks_exact(2) {
                assert_eq!(pair[0].key + 1_300, pair[1].key, "{pair:?}");
            }
        }
    }
}
