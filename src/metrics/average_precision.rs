//! COCO's average precision of a sample of the images, for bootstrap intervals: what matched what
//! is known already, only the images' weights change.

use super::bootstrap;
use rayon::prelude::*;

/// Points at which precision is read off (`recThrs` of pycocotools: 0, 0.01 ... 1).
const RECALLS: usize = 101;

/// The detections of one category over all images, ranked by score, best first; detections of
/// equal score in the order of the images' ids.
#[derive(Debug, Clone, Default)]
pub struct RankedCategory {
    /// The image (0..n) of each detection.
    pub images: Vec<u32>,
    /// Per IoU threshold, by position in `images`, ascending.
    pub thresholds: Vec<Matched>,
    /// (image, objects of the category in it that count), each image once.
    pub labelled: Vec<(u32, u32)>,
}

/// What became of the detections at one IoU threshold; all others are false positives.
#[derive(Debug, Clone, Default)]
pub struct Matched {
    /// Positions of true positives (`false`) and of detections that count nowhere (`true`).
    pub events: Vec<(u32, bool)>,
}

impl RankedCategory {
    /// Sums of AP over the `thresholds` chosen, and how many they are; `None` where the sample has
    /// no object of the category. `weights`: how often each image is in the sample.
    fn summed(&self, weights: &[u32], thresholds: &[usize]) -> Option<f64> {
        let labelled = self.labelled.iter();
        let objects: u64 = labelled
            .map(|&(image, n)| u64::from(weights[image as usize]) * u64::from(n))
            .sum();
        if objects == 0 {
            return None;
        }
        let mut detections = 0u64;
        let so_far: Vec<u64> = (self.images.iter())
            .map(|&image| {
                detections += u64::from(weights[image as usize]);
                detections
            })
            .collect();
        let mut curve = Vec::new();
        let sum = thresholds.iter().map(|&t| {
            self.curve(weights, &so_far, &self.thresholds[t], &mut curve);
            sampled(&mut curve, objects)
        });
        Some(sum.sum())
    }

    /// (true positives, precision) behind each true positive. Between two of them precision only
    /// falls, so that nothing else shows in the interpolated curve.
    fn curve(&self, weights: &[u32], so_far: &[u64], at: &Matched, curve: &mut Vec<(u64, f64)>) {
        curve.clear();
        let (mut right, mut ignored) = (0u64, 0u64);
        for &(position, is_ignored) in &at.events {
            let weight = u64::from(weights[self.images[position as usize] as usize]);
            if is_ignored {
                ignored += weight;
            } else if weight > 0 {
                right += weight;
                let counted = so_far[position as usize] - ignored;
                curve.push((right, right as f64 / counted as f64));
            }
        }
    }
}

/// The mean of the interpolated precision at [`RECALLS`] recalls (pycocotools' `accumulate`).
fn sampled(curve: &mut [(u64, f64)], objects: u64) -> f64 {
    let mut best = 0.0f64;
    for (_, precision) in curve.iter_mut().rev() {
        best = best.max(*precision);
        *precision = best;
    }
    let mut at = 0;
    let mut sum = 0.0;
    for i in 0..RECALLS {
        let recall = i as f64 * 0.01;
        while at < curve.len() && (curve[at].0 as f64 / objects as f64) < recall {
            at += 1;
        }
        let Some((_, precision)) = curve.get(at) else {
            break;
        };
        sum += precision;
    }
    sum / RECALLS as f64
}

/// AP (0..1) of the images weighted by `weights`, the mean over `thresholds` and the categories
/// that the sample has objects of; `None` where it has none.
pub fn average_precision(
    categories: &[RankedCategory],
    weights: &[u32],
    thresholds: &[usize],
) -> Option<f64> {
    let sums: Vec<f64> = categories
        .par_iter()
        .filter_map(|category| category.summed(weights, thresholds))
        .collect();
    let n = sums.len() * thresholds.len();
    (n > 0).then(|| sums.iter().sum::<f64>() / n as f64)
}

/// The 95 % bootstrap interval of AP over `images` images. A sample without any object counts as 0.
pub fn interval(
    categories: &[RankedCategory],
    images: usize,
    thresholds: &[usize],
    seed: u64,
) -> Option<(f64, f64)> {
    let mut weights = vec![0u32; images];
    bootstrap::interval(images, seed, |sample| {
        weights.fill(0);
        sample.iter().for_each(|&image| weights[image] += 1);
        average_precision(categories, &weights, thresholds).unwrap_or(0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two images; ranked: right in image 0, wrong in 1, right in 1, and one that counts nowhere.
    fn category() -> RankedCategory {
        RankedCategory {
            images: vec![0, 1, 1, 0],
            thresholds: vec![Matched {
                events: vec![(0, false), (2, false), (3, true)],
            }],
            labelled: vec![(0, 1), (1, 1)],
        }
    }

    #[test]
    fn ap_by_hand() {
        // Recall up to 0.5 with precision 1 (51 points), then 2/3 (50 points).
        let expected = (51.0 + 50.0 * 2.0 / 3.0) / 101.0;
        let found = average_precision(&[category()], &[1, 1], &[0]).unwrap();
        assert!((found - expected).abs() < 1e-12, "{found}");
        // Image 0 twice: 2 of 3 objects found at once, then 3 of 4.
        let expected = (67.0 + 34.0 * 0.75) / 101.0;
        let found = average_precision(&[category()], &[2, 1], &[0]).unwrap();
        assert!((found - expected).abs() < 1e-12, "{found}");
        assert_eq!(average_precision(&[category()], &[0, 0], &[0]), None);
    }

    #[test]
    fn the_interval_holds_the_samples_values() {
        let (low, high) = interval(&[category()], 2, &[0], 0).unwrap();
        assert!(
            (low - 0.5).abs() < 1e-12 && (high - 1.0).abs() < 1e-12,
            "{low} {high}"
        );
        assert_eq!(interval(&[category()], 0, &[0], 0), None);
    }
}
