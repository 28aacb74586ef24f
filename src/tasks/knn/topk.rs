//! The k best neighbours of each query while key blocks pass by.

use crate::{Error, Result};
use rayon::prelude::*;
use std::cmp::Reverse;

/// A key and its cosine similarity to the query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbour {
    pub similarity: f32,
    /// Row of the key.
    pub key: u32,
}

impl Neighbour {
    /// Grows with the similarity; of equal ones the earlier key's is larger. One number, so that
    /// selecting takes no branch per comparison.
    fn rank(&self) -> u64 {
        // Adding zero makes -0 the 0 that it equals.
        let bits = (self.similarity + 0.0).to_bits();
        let negative = bits >> 31 == 1;
        let ordered = if negative { !bits } else { bits | 1 << 31 };
        u64::from(ordered) << 32 | u64::from(!self.key)
    }
}

/// For each query its nearest keys, best first; equal similarities in order of key.
#[derive(Debug, Clone)]
pub struct TopK(Vec<Vec<Neighbour>>);

impl TopK {
    /// Of `candidates`, one list per query, after all of `keys` keys.
    ///
    /// # Errors
    /// Where a query found fewer than its share of neighbours: its features, or all keys', are not
    /// numbers.
    pub fn new(candidates: Vec<Candidates>, keys: usize) -> Result<Self> {
        let short = |c: &Candidates| c.found.len() < c.k.min(keys);
        if let Some(query) = candidates.iter().position(short) {
            return Err(Error::model(format!(
                "query {query} has similarities that are not numbers; the features hold NaN"
            )));
        }
        let lists = candidates.into_par_iter().map(Candidates::nearest);
        Ok(TopK(lists.collect()))
    }

    /// The neighbours of `query`, best first: k of them, or all keys where there are fewer.
    pub fn neighbours(&self, query: usize) -> &[Neighbour] {
        &self.0[query]
    }

    pub fn queries(&self) -> usize {
        self.0.len()
    }
}

/// Keys that may be among the k nearest of one query, in no order.
///
/// A key is added by appending. Only when `k + slack` are there, the best k are selected, which
/// costs each key a few steps, where a sorted list would move k / 2 entries for each.
#[derive(Debug, Clone)]
pub struct Candidates {
    k: usize,
    found: Vec<Neighbour>,
    /// What a later key must exceed: the k-th best similarity when it was last selected.
    bar: f32,
}

impl Candidates {
    /// `k`: at least 1.
    pub fn new(k: usize) -> Self {
        Candidates {
            k,
            found: Vec::with_capacity(k + slack(k)),
            bar: f32::NEG_INFINITY,
        }
    }

    pub fn k(&self) -> usize {
        self.k
    }

    /// The similarity that a later key must exceed to be added; -inf while fewer than k are there.
    pub fn bar(&mut self) -> f32 {
        if self.bar == f32::NEG_INFINITY && self.found.len() >= self.k {
            self.select();
        }
        self.bar
    }

    /// Takes in the similarities of consecutive keys from `first_key` on. Keys must come in
    /// ascending order over the calls: an equal similarity never displaces an earlier key.
    ///
    /// Almost every similarity is below the bar, so whole strips are passed over by one vectorised
    /// comparison.
    pub fn scan(&mut self, similarities: &[f32], first_key: u32) {
        let strips = similarities.chunks(STRIP);
        for (strip, first) in strips.zip((first_key..).step_by(STRIP)) {
            if any_above(strip, self.bar) {
                self.add_strip(strip, first);
            }
        }
    }

    /// At most `STRIP` similarities. Those above the bar are gathered without a branch for each,
    /// which no processor could foresee.
    fn add_strip(&mut self, strip: &[f32], first_key: u32) {
        let mut above = [Neighbour {
            similarity: 0.0,
            key: 0,
        }; STRIP];
        let mut count = 0;
        for (&similarity, key) in strip.iter().zip(first_key..) {
            above[count] = Neighbour { similarity, key };
            count += usize::from(similarity > self.bar);
        }
        for &new in &above[..count] {
            self.add(new);
        }
    }

    /// Takes in one key, which must come after all earlier ones.
    pub fn add(&mut self, new: Neighbour) {
        if new.similarity > self.bar {
            self.found.push(new);
            if self.found.len() == self.k + slack(self.k) {
                self.select();
            }
        }
    }

    fn select(&mut self) {
        let rank = |n: &Neighbour| Reverse(n.rank());
        let (_, worst, _) = self.found.select_nth_unstable_by_key(self.k - 1, rank);
        self.bar = worst.similarity;
        self.found.truncate(self.k);
    }

    fn nearest(mut self) -> Vec<Neighbour> {
        self.found.sort_unstable_by_key(|n| Reverse(n.rank()));
        self.found.truncate(self.k);
        self.found
    }
}

/// Similarities compared at once.
const STRIP: usize = 64;

/// Candidates kept beyond k: the more, the rarer the selections, and the later the bar rises.
fn slack(k: usize) -> usize {
    k.clamp(16, 256)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(candidates: Candidates) -> Vec<u32> {
        candidates.nearest().iter().map(|n| n.key).collect()
    }

    #[test]
    fn keeps_the_best_over_blocks_and_the_earlier_key_of_equals() {
        let mut first = Candidates::new(3);
        first.scan(&[0.1, 0.5, 0.3], 0);
        first.scan(&[0.5, 0.2], 3);
        assert_eq!(keys(first), [1, 3, 2]);
        let mut second = Candidates::new(3);
        second.scan(&[0.9, 0.9, 0.9], 0);
        second.scan(&[0.9, 1.0], 3);
        assert_eq!(keys(second), [4, 0, 1]);
    }

    #[test]
    fn ranks_order_as_similarities_do_then_keys() {
        let sorted = [
            (1.0, 3),
            (0.5, 1),
            (0.0, 0),
            (-0.0, 1),
            (0.0, 2),
            (-0.1, 0),
            (-1.0, 0),
        ];
        let ranks = sorted.map(|(similarity, key)| Neighbour { similarity, key }.rank());
        assert!(ranks.is_sorted_by(|a, b| a > b), "{ranks:?}");
    }

    /// Many ties, and so many keys that the best are selected again and again.
    #[test]
    fn equals_a_stable_sort() {
        let value = |i: u32| ((i * 37) % 101) as f32 - 50.0;
        let row: Vec<f32> = (0..5_000).map(value).collect();
        let mut scanned = Candidates::new(7);
        for (block, first) in row.chunks(300).zip((0..).step_by(300)) {
            scanned.scan(block, first);
        }
        let mut sorted: Vec<(u32, f32)> = (0..).zip(row).collect();
        sorted.sort_by(|a, b| b.1.total_cmp(&a.1));
        let expected: Vec<u32> = sorted.iter().take(7).map(|p| p.0).collect();
        assert_eq!(keys(scanned), expected);
    }

    #[test]
    fn the_bar_is_the_kth_best_as_soon_as_k_are_there() {
        let mut candidates = Candidates::new(2);
        candidates.scan(&[0.1], 0);
        assert_eq!(candidates.bar(), f32::NEG_INFINITY);
        candidates.scan(&[0.3, 0.2], 1);
        assert_eq!(candidates.bar(), 0.2);
    }

    #[test]
    fn nan_is_told() {
        let mut candidates = Candidates::new(1);
        candidates.scan(&[f32::NAN], 0);
        assert!(TopK::new(vec![candidates], 1).is_err());
    }
}
