//! What a caller asks of a network: adaptors, and features behind chosen blocks.

use crate::{Error, Result};
use std::collections::BTreeSet;

/// What one pass is asked for. The default is the final summary and spatial features alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Adaptors to run, by name.
    pub adaptors: Vec<String>,
    /// Blocks whose features to return too.
    pub intermediates: Option<IntermediateRequest>,
}

impl Request {
    /// The final features and these adaptors.
    pub fn adaptors<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Request {
            adaptors: names.into_iter().map(Into::into).collect(),
            intermediates: None,
        }
    }

    /// The final features and those behind chosen blocks.
    pub fn intermediates(request: IntermediateRequest) -> Self {
        Request {
            adaptors: Vec::new(),
            intermediates: Some(request),
        }
    }

    pub fn wants(&self, adaptor: &str) -> bool {
        self.adaptors.iter().any(|name| name == adaptor)
    }
}

/// Which blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Indices {
    /// The last n.
    Last(usize),
    /// By number, from 0; negative ones count from the end. Order and repetition do not matter.
    Blocks(Vec<i64>),
}

/// Whether the blocks between the chosen ones contribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Aggregation {
    #[default]
    Sparse,
    /// Each chosen block stands for the mean since the previous chosen one.
    Dense,
}

/// Where the alphas of RADIO's normaliser of intermediate features go (spec/radio.md §2.9);
/// without such a normaliser in the file, and in every other family, it makes no difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AlphaScheme {
    /// mean of the alphas times mean of the features
    #[default]
    PostAlpha,
    /// mean of alpha times features
    PreAlpha,
    /// no normaliser at all
    None,
}

/// Features behind chosen blocks, as RADIO's and timm's `forward_intermediates` give them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntermediateRequest {
    pub indices: Indices,
    /// Pass each through the network's final norm (nothing happens where it has none).
    pub norm: bool,
    /// Leave out the blocks behind the last chosen one. Summary, spatial features and adaptors are
    /// then those of the shortened network. E-RADIO runs all its levels, which its neck adds up.
    pub stop_early: bool,
    pub aggregation: Aggregation,
    pub alpha: AlphaScheme,
}

impl IntermediateRequest {
    pub fn new(indices: Indices) -> Self {
        IntermediateRequest {
            indices,
            norm: false,
            stop_early: false,
            aggregation: Aggregation::default(),
            alpha: AlphaScheme::default(),
        }
    }
}

/// A request's choice among the blocks of one network.
pub struct BlockPlan {
    chosen: BTreeSet<usize>,
    dense: bool,
    count: usize,
}

impl BlockPlan {
    /// Fails where a block is named that a network of `depth` blocks does not have.
    pub fn new(request: &Request, depth: usize) -> Result<Self> {
        let Some(wanted) = &request.intermediates else {
            return Ok(BlockPlan {
                chosen: BTreeSet::new(),
                dense: false,
                count: depth,
            });
        };
        let chosen = choose(&wanted.indices, depth)?;
        let behind_last = chosen.last().map_or(depth, |last| last + 1);
        Ok(BlockPlan {
            dense: wanted.aggregation == Aggregation::Dense,
            count: if wanted.stop_early {
                behind_last
            } else {
                depth
            },
            chosen,
        })
    }

    /// Blocks to run, from the first.
    pub fn count(&self) -> usize {
        self.count
    }

    pub fn is_chosen(&self, block: usize) -> bool {
        self.chosen.contains(&block)
    }

    /// Whether a chosen block needs the tokens behind `block`.
    pub fn contributes(&self, block: usize) -> bool {
        let upto_last = self.chosen.last().is_some_and(|&last| block <= last);
        upto_last && (self.dense || self.is_chosen(block))
    }
}

fn choose(indices: &Indices, depth: usize) -> Result<BTreeSet<usize>> {
    let blocks = depth as i64;
    let wanted: Vec<i64> = match indices {
        Indices::Last(n) if *n > depth => {
            return Err(Error::usage(format!(
                "the last {n} blocks are asked for: the network has {depth}"
            )));
        }
        Indices::Last(n) => (blocks - *n as i64..blocks).collect(),
        Indices::Blocks(numbers) => numbers.clone(),
    };
    if wanted.is_empty() {
        return Err(Error::usage("no block is asked for"));
    }
    let number = |i: i64| {
        let block = if i < 0 { i.saturating_add(blocks) } else { i };
        if (0..blocks).contains(&block) {
            Ok(block as usize)
        } else {
            Err(Error::usage(format!(
                "there is no block {i}: the network has {depth}, numbered from 0"
            )))
        }
    };
    wanted.into_iter().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(indices: Indices, stop_early: bool, aggregation: Aggregation) -> Result<BlockPlan> {
        let request = IntermediateRequest {
            stop_early,
            aggregation,
            ..IntermediateRequest::new(indices)
        };
        BlockPlan::new(&Request::intermediates(request), 6)
    }

    fn contributing(plan: &BlockPlan) -> Vec<usize> {
        (0..6).filter(|&i| plan.contributes(i)).collect()
    }

    #[test]
    fn blocks_are_counted_from_both_ends() {
        let sparse = plan(Indices::Blocks(vec![-2, 1, 4]), false, Aggregation::Sparse).unwrap();
        assert_eq!(contributing(&sparse), [1, 4]);
        assert_eq!(sparse.count(), 6);
        let dense = plan(Indices::Blocks(vec![3, 1]), true, Aggregation::Dense).unwrap();
        assert_eq!(contributing(&dense), [0, 1, 2, 3]);
        assert_eq!(dense.count(), 4);
        let last = plan(Indices::Last(2), false, Aggregation::Sparse).unwrap();
        assert_eq!(contributing(&last), [4, 5]);
    }

    /// `Last(7)` of 6 once counted from the end again and returned block 5 for block -1.
    #[test]
    fn absent_blocks_are_errors() {
        for indices in [
            Indices::Last(7),
            Indices::Last(0),
            Indices::Blocks(vec![]),
            Indices::Blocks(vec![6]),
            Indices::Blocks(vec![-7]),
            Indices::Blocks(vec![i64::MIN]),
        ] {
            let outcome = plan(indices.clone(), false, Aggregation::Sparse);
            assert!(matches!(outcome, Err(Error::Usage(_))), "{indices:?}");
        }
    }
}
