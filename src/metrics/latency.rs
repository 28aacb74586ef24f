//! Statistics of repeated timings: pure functions on milliseconds.

use super::bootstrap::{self, percentile};
use super::definition::{Better, Unit, declare};

declare! {
    LATENCY_MS_P50 {
        name: "latency_ms_p50",
        title: "p50 ms",
        unit: Unit::Milliseconds,
        better: Some(Better::Lower),
    }
    LATENCY_MS_P90 {
        name: "latency_ms_p90",
        title: "p90 ms",
        unit: Unit::Milliseconds,
        better: Some(Better::Lower),
    }
    LATENCY_MS_P95 {
        name: "latency_ms_p95",
        title: "p95 ms",
        unit: Unit::Milliseconds,
        better: Some(Better::Lower),
    }
    LATENCY_MS_P99 {
        name: "latency_ms_p99",
        title: "p99 ms",
        unit: Unit::Milliseconds,
        better: Some(Better::Lower),
    }
    LATENCY_MS_MIN {
        name: "latency_ms_min",
        title: "min ms",
        unit: Unit::Milliseconds,
        better: Some(Better::Lower),
    }
    LATENCY_MS_MEAN {
        name: "latency_ms_mean",
        title: "mean ms",
        unit: Unit::Milliseconds,
        better: Some(Better::Lower),
    }
    BATCH_MS_P50 {
        name: "batch_ms_p50",
        title: "batch p50 ms",
        unit: Unit::Milliseconds,
        better: Some(Better::Lower),
    }
    BATCH_MS_P90 {
        name: "batch_ms_p90",
        title: "batch p90 ms",
        unit: Unit::Milliseconds,
        better: Some(Better::Lower),
    }
    BATCH_MS_P95 {
        name: "batch_ms_p95",
        title: "batch p95 ms",
        unit: Unit::Milliseconds,
        better: Some(Better::Lower),
    }
    BATCH_MS_P99 {
        name: "batch_ms_p99",
        title: "batch p99 ms",
        unit: Unit::Milliseconds,
        better: Some(Better::Lower),
    }
    BATCH_MS_MIN {
        name: "batch_ms_min",
        title: "batch min ms",
        unit: Unit::Milliseconds,
        better: Some(Better::Lower),
    }
    BATCH_MS_MEAN {
        name: "batch_ms_mean",
        title: "batch mean ms",
        unit: Unit::Milliseconds,
        better: Some(Better::Lower),
    }
    /// Images per second by the mean time.
    THROUGHPUT {
        name: "throughput",
        title: "images/s",
        unit: Unit::ImagesPerSecond,
        better: Some(Better::Higher),
    }
    /// Times faster than the baseline of the run.
    SPEEDUP {
        name: "speedup",
        title: "speed-up",
        unit: Unit::Times,
        better: Some(Better::Higher),
    }
    /// Operations of one image, fused attention included; a multiplication and an addition are two.
    GFLOPS {
        name: "gflops",
        title: "GFLOP",
        unit: Unit::Gflop,
    }
    /// The part of [`GFLOPS`] that fused attention does.
    GFLOPS_ATTENTION {
        name: "gflops_attention",
        title: "GFLOP of fused attention",
        unit: Unit::Gflop,
    }
    PARAMS {
        name: "params",
        title: "parameters",
        unit: Unit::Count,
        digits: 0,
    }
    /// [`GFLOPS_PER_S`] in percent of [`MATRIX_PEAK_GFLOPS_PER_S`].
    MATRIX_PEAK_SHARE {
        name: "matrix_peak_share",
        title: "% of matrix peak",
        unit: Unit::Percent,
        digits: 1,
        better: Some(Better::Higher),
    }
    /// What the first forward pass needs at its peak beyond the weights and the input; tables that it
    /// makes for later passes count.
    PEAK_MEMORY_BYTES {
        name: "peak_memory_bytes",
        title: "peak MiB",
        unit: Unit::Bytes,
        digits: 1,
        better: Some(Better::Lower),
    }
    GFLOPS_PER_S {
        name: "gflops_per_s",
        title: "GFLOP/s",
        unit: Unit::GflopPerSecond,
        better: Some(Better::Higher),
    }
    /// The best matrix product of the machine in the same run.
    MATRIX_PEAK_GFLOPS_PER_S {
        name: "matrix_peak_gflops_per_s",
        title: "matrix peak GFLOP/s",
        unit: Unit::GflopPerSecond,
    }
    /// Samples whose modified z-score is beyond [`OUTLIER_SCORE`].
    OUTLIERS {
        name: "outliers",
        title: "outliers",
        unit: Unit::Count,
        digits: 0,
    }
}

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
