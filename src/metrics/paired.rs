//! Two runs over the same samples: is one better, and by how much?

use super::bootstrap::interval;
use indexmap::IndexMap;

/// `b - a`, in the unit of the values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    pub value: f64,
    /// 95 % interval of the paired bootstrap.
    pub low: f64,
    pub high: f64,
}

/// The mean difference over pairs, with the interval of a bootstrap that draws whole groups (images
/// with all their instances), so that values of one image stand and fall together. `None` for no
/// pairs.
pub fn mean_difference(pairs: &[(String, f64, f64)], seed: u64) -> Option<Difference> {
    let mut groups: IndexMap<&str, (f64, usize)> = IndexMap::new();
    for (group, a, b) in pairs {
        let place = groups.entry(group).or_default();
        place.0 += b - a;
        place.1 += 1;
    }
    let sums: Vec<(f64, usize)> = groups.into_values().collect();
    let mean = |drawn: &mut dyn Iterator<Item = usize>| {
        let (sum, count) = drawn.fold((0.0, 0), |(sum, count), i| {
            (sum + sums[i].0, count + sums[i].1)
        });
        sum / count.max(1) as f64
    };
    let (low, high) = interval(sums.len(), seed, |drawn| mean(&mut drawn.iter().copied()))?;
    Some(Difference {
        value: mean(&mut (0..sums.len())),
        low,
        high,
    })
}

/// McNemar's test, exact and two-sided: the probability of so uneven a split of the samples that
/// only one of two classifiers gets right, were both equally good (McNemar 1947; binomial).
pub fn mcnemar(only_a: u64, only_b: u64) -> f64 {
    let n = only_a + only_b;
    // ln C(n, i) - n ln 2, from i to i + 1 by ln((n - i) / (i + 1)).
    let mut term = -(n as f64) * 2f64.ln();
    let mut tail = 0.0;
    for i in 0..=only_a.min(only_b) {
        tail += term.exp();
        term += ((n - i) as f64 / (i + 1) as f64).ln();
    }
    (2.0 * tail).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mcnemar_is_the_binomial_test() {
        // scipy.stats.binomtest(1, 10).pvalue and (12, 40)
        assert!((mcnemar(1, 9) - 0.021484375).abs() < 1e-12);
        assert!((mcnemar(28, 12) - 0.016_589_003_374_974_71).abs() < 1e-12);
        assert_eq!(mcnemar(0, 0), 1.0);
        assert_eq!(mcnemar(5, 5), 1.0);
        assert!(mcnemar(3_000, 3_400) < 1e-5);
    }

    #[test]
    fn the_difference_of_equal_runs_is_nothing() {
        let pairs: Vec<(String, f64, f64)> = (0..50)
            .map(|i| (format!("{i}"), f64::from(i), f64::from(i)))
            .collect();
        let difference = mean_difference(&pairs, 0).unwrap();
        assert_eq!(
            (difference.value, difference.low, difference.high),
            (0.0, 0.0, 0.0)
        );
        assert_eq!(mean_difference(&[], 0), None);
    }

    #[test]
    fn values_of_one_image_stand_together() {
        // One image of 90 instances that gained 1, ten of one that gained nothing: by instances the
        // interval would be near 0.9.
        let mut pairs = vec![("large".to_string(), 0.0, 1.0); 90];
        pairs.extend((0..10).map(|i| (format!("{i}"), 0.0, 0.0)));
        let difference = mean_difference(&pairs, 0).unwrap();
        assert!((difference.value - 0.9).abs() < 1e-12);
        assert_eq!(difference.low, 0.0);
    }
}
