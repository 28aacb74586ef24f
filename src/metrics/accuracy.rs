//! Top-1 and top-5 accuracy.

use super::benchmark::IMAGENET_1K;
use super::bootstrap::mean_interval;
use super::definition::{Better, Unit, declare};

declare! {
    KNN_TOP1 {
        name: "knn_top1",
        title: "kNN top-1",
        unit: Unit::Percent,
        better: Some(Better::Higher),
        benchmark: Some(&IMAGENET_1K),
    }
    KNN_TOP5 {
        name: "knn_top5",
        title: "kNN top-5",
        unit: Unit::Percent,
        better: Some(Better::Higher),
        benchmark: Some(&IMAGENET_1K),
    }
    ZERO_SHOT_TOP1 {
        name: "zero_shot_top1",
        title: "zero-shot top-1",
        unit: Unit::Percent,
        better: Some(Better::Higher),
        benchmark: Some(&IMAGENET_1K),
    }
    ZERO_SHOT_TOP5 {
        name: "zero_shot_top5",
        title: "zero-shot top-5",
        unit: Unit::Percent,
        better: Some(Better::Higher),
        benchmark: Some(&IMAGENET_1K),
    }
}

/// Accuracy of ranked predictions, in percent, with its 95 % bootstrap interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Accuracy {
    pub value: f64,
    pub low: f64,
    pub high: f64,
    /// Number of samples.
    pub n: u64,
}

/// The share of samples whose label is among the first `k` of their ranking.
///
/// `samples`: (classes best first, label). `None` where there are no samples.
pub fn top_k<'a>(
    samples: impl IntoIterator<Item = (&'a [u32], u32)>,
    k: usize,
    seed: u64,
) -> Option<Accuracy> {
    let hits: Vec<bool> = samples
        .into_iter()
        .map(|(ranking, label)| ranking.iter().take(k).any(|&class| class == label))
        .collect();
    let values: Vec<f64> = hits.iter().map(|&hit| f64::from(u8::from(hit))).collect();
    let (low, high) = mean_interval(&values, seed)?;
    let correct = hits.iter().filter(|&&hit| hit).count();
    Some(Accuracy {
        value: 100.0 * correct as f64 / hits.len() as f64,
        low: 100.0 * low,
        high: 100.0 * high,
        n: hits.len() as u64,
    })
}

/// (correct, total) of each class, by top-1.
pub fn per_class<'a>(
    samples: impl IntoIterator<Item = (&'a [u32], u32)>,
    classes: usize,
) -> Vec<(u64, u64)> {
    let mut counts = vec![(0, 0); classes];
    for (ranking, label) in samples {
        if let Some((correct, total)) = counts.get_mut(label as usize) {
            *correct += u64::from(ranking.first() == Some(&label));
            *total += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_hits_among_the_first_k() {
        let rankings: [(&[u32], u32); 4] = [(&[1, 2], 1), (&[1, 2], 2), (&[3], 2), (&[], 0)];
        let top1 = top_k(rankings, 1, 0).unwrap();
        assert_eq!((top1.value, top1.n), (25.0, 4));
        assert_eq!(top_k(rankings, 5, 0).unwrap().value, 50.0);
        assert_eq!(per_class(rankings, 3), [(0, 1), (1, 1), (0, 2)]);
    }

    #[test]
    fn no_samples_no_value() {
        assert_eq!(top_k([], 1, 0), None);
    }
}
