//! Exact nearest neighbours by cosine similarity, in blocks.
//!
//! The matrix product takes nearly all the time, so everything else is kept off its path: keys
//! stream by once per `QUERY_BYTES` of queries, each block of similarities is compared with the
//! queries' running k-th best, and only the few that exceed it are looked at further. Nothing of
//! the size queries x keys exists; what does is bounded by the constants below.

use super::topk::TopK;
use crate::runtime::{guard, interrupt};
use crate::tasks::extract::Rows;
use crate::{Error, Result};
use tch::{Device, Kind, Tensor};

/// Normalised queries held at a time, in bytes: 50,000 of 1280 floats.
const QUERY_BYTES: usize = 256 << 20;

/// Keys per block and queries per tile; a tile of similarities takes 4·KEYS·QUERIES bytes.
const CPU_BLOCK: Block = Block {
    keys: 4_096,
    queries: 2_048,
};
const CUDA_BLOCK: Block = Block {
    keys: 16_384,
    queries: 4_096,
};

struct Block {
    keys: usize,
    queries: usize,
}

/// The `k` nearest keys of every query, exactly: best first, equal similarities in order of key.
///
/// `progress` is told the number of (query, key) pairs done. Stops when the user interrupts.
pub fn search(
    queries: Rows,
    keys: Rows,
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
    let block = if device.is_cuda() {
        CUDA_BLOCK
    } else {
        CPU_BLOCK
    };
    let mut top = TopK::new(queries.len(), k);
    guard(|| {
        let _no_grad = tch::no_grad_guard();
        let chunk = (QUERY_BYTES / (4 * queries.dim())).next_multiple_of(block.queries);
        for first in (0..queries.len()).step_by(chunk) {
            let range = first..queries.len().min(first + chunk);
            search_chunk(queries, range, keys, &block, device, &mut top, progress)?;
        }
        Ok(())
    })?;
    top.check(keys.len())?;
    Ok(top)
}

/// All keys against the queries of `range`, which are normalised once.
fn search_chunk(
    queries: Rows,
    range: std::ops::Range<usize>,
    keys: Rows,
    block: &Block,
    device: Device,
    top: &mut TopK,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    let chunk = queries.normalised(range.clone(), device)?;
    let tiles: Vec<(usize, Tensor)> = chunk
        .f_split(block.queries as i64, 0)?
        .into_iter()
        .enumerate()
        .map(|(i, tile)| (range.start + i * block.queries, tile))
        .collect();
    let mut buffers = Buffers::default();
    for first_key in (0..keys.len()).step_by(block.keys) {
        let block_keys = first_key..keys.len().min(first_key + block.keys);
        let transposed = keys.normalised(block_keys.clone(), device)?.f_tr()?;
        let key = u32::try_from(first_key)
            .map_err(|_| Error::model("more than 4,294,967,295 keys are not supported"))?;
        for (first_query, tile) in &tiles {
            interrupt::check()?;
            let out = buffers.get(tile.size()[0], block_keys.len() as i64, device)?;
            let similarities = tile.f_mm_out(&out, &transposed)?;
            match device {
                Device::Cpu => merge_scanned(&similarities, *first_query, key, top)?,
                _ => merge_selected(&similarities, *first_query, key, top)?,
            }
        }
        progress((range.len() * block_keys.len()) as u64);
    }
    Ok(())
}

/// Output memory of the products, reused: fresh pages for every tile cost as much as the scan.
#[derive(Default)]
struct Buffers(Option<Tensor>);

impl Buffers {
    fn get(&mut self, rows: i64, columns: i64, device: Device) -> Result<Tensor> {
        let needed = rows * columns;
        let whole = match self.0.take() {
            Some(whole) if whole.size()[0] >= needed => whole,
            _ => Tensor::f_empty([needed], (Kind::Float, device))?,
        };
        let view = whole.f_narrow(0, 0, needed)?.f_view([rows, columns])?;
        self.0 = Some(whole);
        Ok(view)
    }
}

/// On the CPU: reads the block in place.
fn merge_scanned(block: &Tensor, first_query: usize, first_key: u32, top: &mut TopK) -> Result<()> {
    let (_, columns) = block.size2()?;
    // SAFETY: a contiguous fp32 CPU tensor of numel elements, alive and unshared while the slice is.
    let values =
        unsafe { std::slice::from_raw_parts(block.data_ptr() as *const f32, block.numel()) };
    top.merge_block(values, columns as usize, first_query, first_key);
    Ok(())
}

/// Elsewhere: picks the candidates out on the device and brings only those over. What passes the
/// running k-th best is few, except in the first block, where its own k-th best stands in for it.
fn merge_selected(
    block: &Tensor,
    first_query: usize,
    first_key: u32,
    top: &mut TopK,
) -> Result<()> {
    let (rows, columns) = block.size2()?;
    let bars = top.thresholds(first_query..first_query + rows as usize);
    let unfilled = bars.iter().any(|bar| bar.is_infinite());
    let mask = if unfilled {
        let k = (top.k() as i64).min(columns);
        let (best, _) = block.f_topk(k, 1, true, true)?;
        block.f_ge_tensor(&best.f_narrow(1, k - 1, 1)?)?
    } else {
        let bars = Tensor::f_from_slice(&bars)?.f_to_device(block.device())?;
        block.f_gt_tensor(&bars.f_unsqueeze(1)?)?
    };
    let places = mask.f_nonzero()?.f_to_device(Device::Cpu)?;
    let similarities = block.f_masked_select(&mask)?.f_to_device(Device::Cpu)?;
    let places = Vec::<i64>::try_from(places.f_reshape([-1])?)?;
    let similarities = Vec::<f32>::try_from(similarities)?;
    top.merge_candidates(places.chunks_exact(2).zip(similarities).map(|(place, s)| {
        let (row, column) = (place[0] as usize, place[1] as u32);
        (first_query + row, first_key + column, s)
    }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(rows: i64, dim: i64) -> Tensor {
        Tensor::randn([rows, dim], (Kind::Float, Device::Cpu))
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        Vec::try_from(tensor.reshape([-1])).unwrap()
    }

    #[test]
    fn blocks_give_what_one_product_and_topk_give() {
        tch::manual_seed(1);
        // More keys than one block, more queries than one tile, neither a multiple.
        let (queries, keys) = (random(2_100, 8), random(9_000, 8));
        let (q, k) = (values(&queries), values(&keys));
        let found = search(
            Rows::new(&q, 8).unwrap(),
            Rows::new(&k, 8).unwrap(),
            11,
            Device::Cpu,
            &mut |_| {},
        )
        .unwrap();
        let normalise = |t: &Tensor| t / t.norm_scalaropt_dim(2.0, [1], true);
        let all = normalise(&queries).mm(&normalise(&keys).tr());
        let (best, _) = all.topk(11, 1, true, true);
        for query in [0, 1, 2_047, 2_048, 2_099] {
            let expected: Vec<f32> = Vec::try_from(best.get(query as i64)).unwrap();
            for (n, e) in found.of(query).iter().zip(expected) {
                assert!((n.similarity - e).abs() < 1e-6, "{n:?} {e}");
                let own = all.double_value(&[query as i64, i64::from(n.key)]);
                assert!((f64::from(n.similarity) - own).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn picking_on_the_device_gives_what_the_scan_gives() {
        tch::manual_seed(2);
        let mut scanned = TopK::new(5, 4);
        let mut selected = TopK::new(5, 4);
        for first_key in [0, 50, 100] {
            // Coarse values: many ties.
            let block = (random(5, 50) * 3.0).round();
            merge_scanned(&block, 0, first_key, &mut scanned).unwrap();
            merge_selected(&block, 0, first_key, &mut selected).unwrap();
        }
        for query in 0..5 {
            assert_eq!(scanned.of(query), selected.of(query));
        }
    }
}
