//! Statistics of repeated timings: pure functions on milliseconds.

use super::bootstrap::{self, percentile};

/// Order statistics of one case's samples, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    pub n: usize,
    pub min: f64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p95: f64,
    pub p99: f64,
    /// Samples whose modified z-score is beyond [`OUTLIER_SCORE`].
    pub outliers: usize,
}

/// Modified z-score (0.6745·(x − median)/MAD) above which a sample is called an outlier
/// (Iglewicz and Hoaglin 1993).
pub const OUTLIER_SCORE: f64 = 3.5;

/// How much slower the last third of the samples may be than the first (ratio of medians) before
/// the run is said to have been throttled or disturbed.
pub const DRIFT_LIMIT: f64 = 1.05;

/// `None` for no samples.
pub fn summarise(samples: &[f64]) -> Option<Summary> {
    if samples.is_empty() {
        return None;
    }
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let p50 = percentile(&sorted, 0.5);
    let mut deviations: Vec<f64> = sorted.iter().map(|x| (x - p50).abs()).collect();
    deviations.sort_by(f64::total_cmp);
    let mad = percentile(&deviations, 0.5);
    let outliers = deviations
        .iter()
        .filter(|&&d| mad > 0.0 && 0.6745 * d / mad > OUTLIER_SCORE)
        .count();
    Some(Summary {
        n: sorted.len(),
        min: sorted[0],
        mean: sorted.iter().sum::<f64>() / sorted.len() as f64,
        p50,
        p90: percentile(&sorted, 0.90),
        p95: percentile(&sorted, 0.95),
        p99: percentile(&sorted, 0.99),
        outliers,
    })
}

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    percentile(&sorted, 0.5)
}

/// Whether warm-up may end: the medians of the last two windows of [`WARM_WINDOW`] timings differ
/// by less than [`WARM_TOLERANCE`].
pub fn is_warm(timings: &[f64]) -> bool {
    let n = timings.len();
    if n < 2 * WARM_WINDOW {
        return false;
    }
    let before = median(&timings[n - 2 * WARM_WINDOW..n - WARM_WINDOW]);
    let last = median(&timings[n - WARM_WINDOW..]);
    (last - before).abs() < WARM_TOLERANCE * before
}

pub const WARM_WINDOW: usize = 3;
pub const WARM_TOLERANCE: f64 = 0.03;

/// Ratio of the medians of the last and the first third of the samples, in the order taken;
/// `None` for fewer than six samples.
pub fn drift(samples: &[f64]) -> Option<f64> {
    let third = samples.len() / 3;
    (third >= 2).then(|| median(&samples[samples.len() - third..]) / median(&samples[..third]))
}

/// How many times faster `ours` is than `baseline`, with a 95 % interval. The two were measured in
/// turns, so sample i of both saw the same machine: the statistic is the median of paired ratios.
pub fn speedup(baseline: &[f64], ours: &[f64], seed: u64) -> Option<(f64, f64, f64)> {
    let ratios: Vec<f64> = baseline.iter().zip(ours).map(|(b, o)| b / o).collect();
    if ratios.is_empty() {
        return None;
    }
    let (low, high) = bootstrap::interval(ratios.len(), seed, |drawn| {
        median(&drawn.iter().map(|&i| ratios[i]).collect::<Vec<_>>())
    })?;
    Some((median(&ratios), low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_statistics_of_known_samples() {
        // numpy.percentile(range(1, 101), [50, 90, 95, 99]) = 50.5, 90.1, 95.05, 99.01
        let samples: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let s = summarise(&samples).unwrap();
        assert_eq!((s.n, s.min, s.mean, s.outliers), (100, 1.0, 50.5, 0));
        for (got, want) in [(s.p50, 50.5), (s.p90, 90.1), (s.p95, 95.05), (s.p99, 99.01)] {
            assert!((got - want).abs() < 1e-9, "{got} {want}");
        }
        assert_eq!(summarise(&[]), None);
    }

    #[test]
    fn one_slow_sample_is_an_outlier() {
        let s = summarise(&[10.0, 10.1, 9.9, 10.0, 10.2, 9.8, 55.0]).unwrap();
        assert_eq!(s.outliers, 1);
        assert_eq!(s.p50, 10.0);
    }

    #[test]
    fn warm_when_two_windows_agree() {
        assert!(!is_warm(&[10.0; 5]));
        assert!(is_warm(&[50.0, 10.0, 10.0, 10.1, 10.1, 10.0, 10.2]));
        assert!(!is_warm(&[20.0, 18.0, 16.0, 14.0, 12.0, 10.0]));
    }

    #[test]
    fn drift_and_speedup_of_known_samples() {
        assert_eq!(drift(&[10.0, 10.0, 11.0, 11.0, 12.0, 12.0]), Some(1.2));
        assert_eq!(drift(&[1.0; 5]), None);
        let (ratio, low, high) = speedup(&[20.0, 22.0, 24.0], &[10.0, 11.0, 12.0], 0).unwrap();
        assert_eq!((ratio, low, high), (2.0, 2.0, 2.0));
    }
}
