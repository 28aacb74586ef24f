//! Which image is seen when.

use crate::rng::Rng;
use std::sync::{Arc, Mutex, PoisonError};

/// The stream of random numbers, out of a seed's, that shuffles.
const SHUFFLE: u64 = 1;
/// Passes that are looked at at the same time: workers may be a batch ahead in the next one.
const REMEMBERED: usize = 4;

/// One shuffled pass over `n` images after the other, without end (mmengine's `InfiniteSampler`):
/// a function of the seed alone, so that a resumed run sees the images that an uninterrupted one
/// sees. Only the passes in use are in memory, whatever the number of iterations.
pub struct ShuffledPasses {
    n: usize,
    seed: u64,
    /// (number of the pass, its order), the latest last.
    passes: Mutex<Vec<(usize, Arc<[u32]>)>>,
}

impl ShuffledPasses {
    /// `n` is at least 1.
    pub fn new(n: usize, seed: u64) -> Self {
        ShuffledPasses {
            n,
            seed,
            passes: Mutex::default(),
        }
    }

    /// The image at `position`, counted from the first one of the first pass.
    pub fn image(&self, position: usize) -> usize {
        self.pass(position / self.n)[position % self.n] as usize
    }

    fn pass(&self, pass: usize) -> Arc<[u32]> {
        let mut passes = self.passes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, order)) = passes.iter().find(|(number, _)| *number == pass) {
            return Arc::clone(order);
        }
        let order = self.shuffled(pass);
        if passes.len() == REMEMBERED {
            passes.remove(0);
        }
        passes.push((pass, Arc::clone(&order)));
        order
    }

    /// Fisher and Yates, from the end.
    fn shuffled(&self, pass: usize) -> Arc<[u32]> {
        let mut order: Vec<u32> = (0..self.n as u32).collect();
        let mut rng = Rng::new(&[self.seed, SHUFFLE, pass as u64]);
        for i in (1..self.n).rev() {
            order.swap(i, rng.below(i + 1));
        }
        order.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(n: usize, seed: u64, positions: std::ops::Range<usize>) -> Vec<usize> {
        let order = ShuffledPasses::new(n, seed);
        positions.map(|position| order.image(position)).collect()
    }

    #[test]
    fn every_pass_shuffles_all_images_and_a_resumed_run_goes_on() {
        let whole = images(5, 3, 0..20);
        for pass in whole.chunks(5) {
            let mut sorted = pass.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4]);
        }
        assert_ne!(whole[..5], whole[5..10]);
        assert_eq!(images(5, 3, 8..20), whole[8..]);
        assert_ne!(images(5, 4, 0..20), whole);
    }

    /// The order used to be listed for all iterations: 1e13 of them aborted for want of memory.
    #[test]
    fn the_order_of_any_number_of_iterations_costs_a_pass() {
        let far = 10_usize.pow(13) * 16;
        let mut pass = images(5, 3, far..far + 5);
        pass.sort_unstable();
        assert_eq!(pass, [0, 1, 2, 3, 4]);
    }
}
