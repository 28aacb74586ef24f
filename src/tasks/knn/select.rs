//! One block of keys on an accelerator: candidates are picked out there, and only those come over.

use super::topk::{Candidates, Neighbour};
use crate::Result;
use crate::runtime::interrupt;
use tch::{Device, Tensor};

/// Takes `keys` ([n, D], row 0 being key `first_key`) into the candidates of the queries.
///
/// `tiles`: [m, D] each; `candidates`: those of the tiles' rows, in order.
pub fn merge(
    tiles: &[Tensor],
    candidates: &mut [Candidates],
    keys: &Tensor,
    first_key: u32,
) -> Result<()> {
    let transposed = keys.f_tr()?;
    let mut rest = candidates;
    for tile in tiles {
        interrupt::check()?;
        let (own, others) = rest.split_at_mut(tile.size()[0] as usize);
        select(&tile.f_mm(&transposed)?, own, first_key)?;
        rest = others;
    }
    Ok(())
}

/// What passes the running bars is few, except in the first block, where its own k-th best stands
/// in for them.
///
/// `similarities`: [queries, keys]
pub fn select(similarities: &Tensor, candidates: &mut [Candidates], first_key: u32) -> Result<()> {
    let columns = similarities.size()[1];
    let bars: Vec<f32> = candidates.iter_mut().map(Candidates::bar).collect();
    let unfilled = bars.iter().any(|bar| bar.is_infinite());
    let mask = if unfilled {
        let k = candidates.first().map_or(1, Candidates::k) as i64;
        let k = k.min(columns);
        let (best, _) = similarities.f_topk(k, 1, true, true)?;
        similarities.f_ge_tensor(&best.f_narrow(1, k - 1, 1)?)?
    } else {
        let bars = Tensor::f_from_slice(&bars)?.f_to_device(similarities.device())?;
        similarities.f_gt_tensor(&bars.f_unsqueeze(1)?)?
    };
    let places = mask.f_nonzero()?.f_to_device(Device::Cpu)?;
    let chosen = similarities
        .f_masked_select(&mask)?
        .f_to_device(Device::Cpu)?;
    let places = Vec::<i64>::try_from(places.f_reshape([-1])?)?;
    let chosen = Vec::<f32>::try_from(chosen)?;
    // Both are in order of query, then key.
    for (place, similarity) in places.chunks_exact(2).zip(chosen) {
        let (row, column) = (place[0] as usize, place[1] as u32);
        candidates[row].add(Neighbour {
            similarity,
            key: first_key + column,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::select;
    use crate::tasks::knn::scan::scan;
    use crate::tasks::knn::topk::{Candidates, TopK};
    use tch::{Device, Kind, Tensor};

    #[test]
    fn picking_on_the_device_gives_what_the_scan_gives() {
        tch::manual_seed(2);
        let mut scanned = vec![Candidates::new(4); 5];
        let mut selected = scanned.clone();
        for first_key in [0, 50, 100] {
            // Coarse values: many ties.
            let block = (Tensor::randn([5, 50], (Kind::Float, Device::Cpu)) * 3.0).round();
            scan(&block, &mut scanned, first_key);
            select(&block, &mut selected, first_key).unwrap();
        }
        let scanned = TopK::new(scanned, 150).unwrap();
        let selected = TopK::new(selected, 150).unwrap();
        for query in 0..5 {
            assert_eq!(scanned.neighbours(query), selected.neighbours(query));
        }
    }
}
