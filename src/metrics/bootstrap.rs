//! Confidence intervals by the percentile bootstrap (Efron 1979).

use crate::rng::Rng;

/// Resamples per interval.
const RESAMPLES: usize = 1_000;

/// The 95 % interval of the mean of `values`: the 2.5th and 97.5th percentile of the means of
/// 1,000 resamples with replacement. The same values and seed give the same interval on every
/// machine. `None` for no values.
pub fn mean_interval(values: &[f64], seed: u64) -> Option<(f64, f64)> {
    interval(values.len(), seed, |sample| {
        sample.iter().map(|&i| values[i]).sum::<f64>() / sample.len() as f64
    })
}

/// The 95 % interval of any statistic of `n` samples; `statistic` is given the indices drawn.
pub fn interval(
    n: usize,
    seed: u64,
    mut statistic: impl FnMut(&[usize]) -> f64,
) -> Option<(f64, f64)> {
    if n == 0 {
        return None;
    }
    let mut rng = Rng::plain(seed);
    let mut sample = vec![0; n];
    let mut outcomes: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            sample.fill_with(|| rng.below(n));
            statistic(&sample)
        })
        .collect();
    outcomes.sort_by(f64::total_cmp);
    Some((percentile(&outcomes, 0.025), percentile(&outcomes, 0.975)))
}

/// The value below which `share` (0..1) of `sorted` lies: linear interpolation between the order
/// statistics (NumPy's default). `sorted` must not be empty.
pub(super) fn percentile(sorted: &[f64], share: f64) -> f64 {
    let position = share * (sorted.len() - 1) as f64;
    let (low, high) = (position.floor() as usize, position.ceil() as usize);
    sorted[low] + (sorted[high] - sorted[low]) * (position - low as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_share_is_near_the_binomial_one() {
        // 90 % of 500: normal approximation 0.9 ± 1.96·sqrt(0.9·0.1/500) = 0.8737 .. 0.9263.
        let values: Vec<f64> = (0..500).map(|i| f64::from(u8::from(i % 10 != 0))).collect();
        let (low, high) = mean_interval(&values, 0).unwrap();
        assert!((low - 0.8737).abs() < 0.006, "{low}");
        assert!((high - 0.9263).abs() < 0.006, "{high}");
        assert_eq!(mean_interval(&values, 0), Some((low, high)));
        assert_ne!(mean_interval(&values, 1), Some((low, high)));
    }

    #[test]
    fn constant_values_have_a_point() {
        assert_eq!(mean_interval(&[1.0; 7], 3), Some((1.0, 1.0)));
        assert_eq!(mean_interval(&[], 3), None);
    }
}
