//! Several sources with weights as one endless, shuffled sequence.

use crate::data::order::ShuffledPasses;
use crate::data::{Source, fingerprint, pictures};
use crate::distill::config::DataConfig;
use crate::rng::Rng;
use crate::{Error, Result};
use std::sync::Arc;

/// Positions after which every source had its share exactly.
const BLOCK: usize = 1000;
/// The stream of random numbers, out of a seed's, that mixes.
const MIXING: u64 = 23;

struct Part {
    source: Arc<dyn Source>,
    order: ShuffledPasses,
    /// Positions of a block that are its own.
    quota: usize,
}

/// The sources of a run; cheap to clone.
#[derive(Clone)]
pub struct Mixture {
    parts: Arc<Vec<Part>>,
    seed: u64,
}

impl Mixture {
    pub fn open(data: &[DataConfig], seed: u64) -> Result<Self> {
        let sources = data.iter().map(|one| {
            let source = pictures::open(&one.path, None, 0)?.source;
            match source.is_empty() {
                true => Err(Error::file(&one.path, "holds no picture")),
                false => Ok((source, one.weight)),
            }
        });
        Ok(Self::new(sources.collect::<Result<_>>()?, seed))
    }

    fn new(sources: Vec<(Arc<dyn Source>, f64)>, seed: u64) -> Self {
        let weights: Vec<f64> = sources.iter().map(|(_, weight)| *weight).collect();
        let quotas = quotas(&weights);
        let parts = sources.into_iter().zip(quotas).enumerate();
        let parts = parts.map(|(number, ((source, _), quota))| Part {
            order: ShuffledPasses::new(source.len(), Rng::new(&[seed, number as u64]).draw()),
            source,
            quota,
        });
        Mixture {
            parts: Arc::new(parts.collect()),
            seed,
        }
    }

    /// Which source and which of its pictures stands at `position` of the run.
    pub fn at(&self, position: usize) -> (usize, usize) {
        let (source, nth) = self.nth(position);
        (source, self.parts[source].order.image(nth))
    }

    /// How many passes over its source the picture at `position` has behind it.
    pub fn pass(&self, position: usize) -> usize {
        let (source, nth) = self.nth(position);
        nth / self.len(source)
    }

    /// Which source stands at `position`, and its how many-th picture in the run that is.
    fn nth(&self, position: usize) -> (usize, usize) {
        if self.parts.len() == 1 {
            return (0, position);
        }
        let (block, within) = (position / BLOCK, position % BLOCK);
        // The sources of a block, shuffled (Fisher and Yates).
        let own = self.parts.iter().enumerate();
        let mut order: Vec<usize> = own
            .flat_map(|(number, part)| std::iter::repeat_n(number, part.quota))
            .collect();
        let mut rng = Rng::new(&[self.seed, MIXING, block as u64]);
        for i in (1..order.len()).rev() {
            order.swap(i, rng.below(i + 1));
        }
        let source = order[within];
        let before = order[..within].iter().filter(|s| **s == source).count();
        let part = &self.parts[source];
        (source, block * part.quota + before)
    }

    /// Pictures of a source.
    pub fn len(&self, source: usize) -> usize {
        self.parts[source].source.len()
    }

    /// The number of a picture among those of all sources.
    pub fn number(&self, source: usize, index: usize) -> usize {
        let before = self.parts[..source].iter().map(|part| part.source.len());
        before.sum::<usize>() + index
    }

    /// Pictures of all sources.
    pub fn total(&self) -> usize {
        self.parts.iter().map(|part| part.source.len()).sum()
    }

    /// A picture's file, with its source, for messages.
    pub fn key(&self, source: usize, index: usize) -> String {
        let source = &self.parts[source].source;
        format!("{}/{}", source.describe(), source.key(index))
    }

    pub fn read(&self, source: usize, index: usize) -> Result<Vec<u8>> {
        self.parts[source].source.read(index)
    }

    /// One hash per source over names and sizes of all pictures.
    pub fn fingerprints(&self) -> Vec<String> {
        let parts = self.parts.iter();
        let all = |part: &Part| (0..part.source.len()).collect::<Vec<_>>();
        parts
            .map(|part| fingerprint::fingerprint(part.source.as_ref(), &all(part)))
            .collect()
    }
}

/// Shares of a block by the largest remainder; every source has one at least.
fn quotas(weights: &[f64]) -> Vec<usize> {
    let sum: f64 = weights.iter().sum();
    let exact: Vec<f64> = weights.iter().map(|w| w / sum * BLOCK as f64).collect();
    let mut quotas: Vec<usize> = exact.iter().map(|e| (*e as usize).max(1)).collect();
    while quotas.iter().sum::<usize>() != BLOCK {
        let missing = quotas.iter().sum::<usize>() < BLOCK;
        let gap = |i: usize| exact[i] - quotas[i] as f64;
        let order = |a: &usize, b: &usize| gap(*a).total_cmp(&gap(*b));
        let all = 0..quotas.len();
        let chosen = match missing {
            true => all.max_by(order),
            false => all.filter(|i| quotas[*i] > 1).min_by(order),
        };
        match (chosen, missing) {
            (Some(i), true) => quotas[i] += 1,
            (Some(i), false) => quotas[i] -= 1,
            (None, _) => break,
        }
    }
    quotas
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Numbers(usize);

    impl Source for Numbers {
        fn describe(&self) -> String {
            "numbers".into()
        }

        fn len(&self) -> usize {
            self.0
        }

        fn key(&self, _index: usize) -> &str {
            "number"
        }

        fn read(&self, _index: usize) -> Result<Vec<u8>> {
            Ok(Vec::new())
        }

        fn size(&self, _index: usize) -> u64 {
            0
        }
    }

    #[test]
    fn shares_are_exact_and_passes_complete() {
        assert_eq!(quotas(&[3.0, 1.0]), [750, 250]);
        assert_eq!(quotas(&[1.0, 1.0, 1.0]).iter().sum::<usize>(), BLOCK);
        assert_eq!(quotas(&[1.0, 1e-9]), [999, 1]);
        let source = |n| Arc::new(Numbers(n)) as Arc<dyn Source>;
        let mixture = Mixture::new(vec![(source(30), 3.0), (source(50), 1.0)], 5);
        let drawn: Vec<_> = (0..BLOCK).map(|p| mixture.at(p)).collect();
        assert_eq!(drawn.iter().filter(|(s, _)| *s == 0).count(), 750);
        let second: Vec<usize> = drawn.iter().filter(|d| d.0 == 1).map(|d| d.1).collect();
        let mut pass = second[..50].to_vec();
        pass.sort_unstable();
        assert_eq!(pass, (0..50).collect::<Vec<_>>());
        assert_eq!(mixture.at(777), Mixture::clone(&mixture).at(777));
    }
}
