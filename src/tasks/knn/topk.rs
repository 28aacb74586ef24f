//! The running k best neighbours of each query while key blocks pass by.

use crate::{Error, Result};
use rayon::prelude::*;

/// A key and its cosine similarity to the query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbour {
    pub similarity: f32,
    /// Row of the key.
    pub key: u32,
}

/// For each query its best neighbours so far, best first; equal similarities in order of key.
#[derive(Debug, Clone)]
pub struct TopK {
    k: usize,
    lists: Vec<Vec<Neighbour>>,
}

impl TopK {
    pub fn new(queries: usize, k: usize) -> Self {
        TopK {
            k,
            lists: vec![Vec::with_capacity(k); queries],
        }
    }

    /// The neighbours of `query`, best first: k of them, or all keys where there are fewer.
    pub fn of(&self, query: usize) -> &[Neighbour] {
        &self.lists[query]
    }

    pub fn queries(&self) -> usize {
        self.lists.len()
    }

    pub fn k(&self) -> usize {
        self.k
    }

    /// The similarity that a later key must exceed to be among the k best of each query of
    /// `queries`; -inf while a query has fewer than k.
    pub fn thresholds(&self, queries: std::ops::Range<usize>) -> Vec<f32> {
        self.lists[queries]
            .iter()
            .map(|l| threshold(l, self.k))
            .collect()
    }

    /// Takes in a block of similarities of consecutive queries from `first_query` on and
    /// consecutive keys from `first_key` on.
    ///
    /// `block`: [queries, keys], row-major. Keys must come in ascending order over the calls: an
    /// equal similarity never displaces an earlier key.
    pub fn merge_block(&mut self, block: &[f32], keys: usize, first_query: usize, first_key: u32) {
        let k = self.k;
        self.lists[first_query..]
            .par_iter_mut()
            .zip(block.par_chunks_exact(keys))
            .for_each(|(list, row)| scan(list, k, row, first_key));
    }

    /// Takes in candidates picked out elsewhere: (query, key, similarity), ascending by query,
    /// then key.
    pub fn merge_candidates(&mut self, candidates: impl Iterator<Item = (usize, u32, f32)>) {
        for (query, key, similarity) in candidates {
            let list = &mut self.lists[query];
            if similarity > threshold(list, self.k) {
                insert(list, self.k, Neighbour { similarity, key });
            }
        }
    }

    /// An error where a query found fewer than its share of neighbours: its features, or all
    /// keys', are not numbers.
    pub fn check(&self, keys: usize) -> Result<()> {
        match self.lists.iter().position(|l| l.len() < self.k.min(keys)) {
            None => Ok(()),
            Some(query) => Err(Error::model(format!(
                "query {query} has similarities that are not numbers; the features hold NaN"
            ))),
        }
    }
}

fn threshold(list: &[Neighbour], k: usize) -> f32 {
    match list.last() {
        Some(worst) if list.len() == k => worst.similarity,
        _ => f32::NEG_INFINITY,
    }
}

/// Almost every similarity is below the threshold, so whole strips are passed over by one
/// vectorised comparison.
fn scan(list: &mut Vec<Neighbour>, k: usize, row: &[f32], first_key: u32) {
    const STRIP: usize = 64;
    let mut bar = threshold(list, k);
    for (strip, first) in row.chunks(STRIP).zip((first_key..).step_by(STRIP)) {
        if !any_above(strip, bar) {
            continue;
        }
        for (&similarity, key) in strip.iter().zip(first..) {
            if similarity > bar {
                insert(list, k, Neighbour { similarity, key });
                bar = threshold(list, k);
            }
        }
    }
}

/// Whether any value exceeds `bar`. Lanes without a branch, for the vectoriser.
fn any_above(strip: &[f32], bar: f32) -> bool {
    const LANES: usize = 16;
    let mut above = [0u32; LANES];
    let mut chunks = strip.chunks_exact(LANES);
    for chunk in &mut chunks {
        for (hit, &value) in above.iter_mut().zip(chunk) {
            *hit |= u32::from(value > bar);
        }
    }
    above.iter().any(|&hit| hit != 0) || chunks.remainder().iter().any(|&value| value > bar)
}

fn insert(list: &mut Vec<Neighbour>, k: usize, new: Neighbour) {
    let place = list.partition_point(|n| n.similarity >= new.similarity);
    if list.len() == k {
        list.pop();
    }
    list.insert(place, new);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(top: &TopK, query: usize) -> Vec<u32> {
        top.of(query).iter().map(|n| n.key).collect()
    }

    #[test]
    fn keeps_the_best_over_blocks_and_the_earlier_key_of_equals() {
        let mut top = TopK::new(2, 3);
        top.merge_block(&[0.1, 0.5, 0.3, 0.9, 0.9, 0.9], 3, 0, 0);
        top.merge_block(&[0.5, 0.2, 0.9, 1.0], 2, 0, 3);
        assert_eq!(keys(&top, 0), [1, 3, 2]);
        assert_eq!(keys(&top, 1), [4, 0, 1]);
    }

    #[test]
    fn candidates_give_what_blocks_give() {
        let row: Vec<f32> = (0..200u32).map(|i| ((i * 37) % 101) as f32).collect();
        let mut blocks = TopK::new(1, 7);
        blocks.merge_block(&row, 200, 0, 0);
        let mut picked = TopK::new(1, 7);
        picked.merge_candidates((0..).zip(&row).map(|(i, &s)| (0, i, s)));
        assert_eq!(blocks.of(0), picked.of(0));
        let mut sorted: Vec<(u32, f32)> = (0..).zip(row).collect();
        sorted.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let expected: Vec<u32> = sorted.iter().take(7).map(|p| p.0).collect();
        assert_eq!(keys(&blocks, 0), expected);
    }

    #[test]
    fn nan_is_told() {
        let mut top = TopK::new(1, 1);
        top.merge_block(&[f32::NAN], 1, 0, 0);
        assert!(top.check(1).is_err());
    }
}
