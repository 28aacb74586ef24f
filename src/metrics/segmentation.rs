//! mIoU, aAcc and mAcc from one confusion matrix over the whole set (mmseg's `IoUMetric`).

use super::benchmark::ADE20K;
use super::definition::{Better, Unit, declare};

declare! {
    MIOU {
        name: "miou",
        title: "mIoU",
        unit: Unit::Percent,
        better: Some(Better::Higher),
        benchmark: Some(&ADE20K),
    }
    AACC {
        name: "aacc",
        title: "aAcc",
        unit: Unit::Percent,
        better: Some(Better::Higher),
    }
    MACC {
        name: "macc",
        title: "mAcc",
        unit: Unit::Percent,
        better: Some(Better::Higher),
    }
    /// By class names alone (`segment-text`), as the two below.
    OPEN_VOCAB_MIOU {
        name: "open_vocab_miou",
        title: "text mIoU",
        unit: Unit::Percent,
        better: Some(Better::Higher),
    }
    OPEN_VOCAB_AACC {
        name: "open_vocab_aacc",
        title: "text aAcc",
        unit: Unit::Percent,
        better: Some(Better::Higher),
    }
    OPEN_VOCAB_MACC {
        name: "open_vocab_macc",
        title: "text mAcc",
        unit: Unit::Percent,
        better: Some(Better::Higher),
    }
}

/// Pixels by (labelled class, predicted class).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    /// Row-major: `counts[label * classes + prediction]`.
    counts: Vec<u64>,
}

/// Summary of a confusion matrix; shares in 0..1.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentationScore {
    /// Mean IoU over the classes that occur, in labels or in predictions.
    pub miou: f64,
    /// Share of labelled pixels that are right.
    pub aacc: f64,
    /// Mean over labelled classes of the share of their pixels that are right.
    pub macc: f64,
    /// `None` for a class that neither labels nor predictions have.
    pub iou: Vec<Option<f64>>,
}

impl Confusion {
    pub fn new(classes: usize) -> Self {
        Confusion {
            classes,
            counts: vec![0; classes * classes],
        }
    }

    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Pixels of `label` that were predicted as `prediction`.
    pub fn count(&self, label: usize, prediction: usize) -> u64 {
        self.counts[label * self.classes + prediction]
    }

    /// Adds one image: labels and predictions of the same pixels. Labels that are no class (255,
    /// the ignored pixels) count nowhere, whatever was predicted there.
    pub fn add<L: Copy + Into<usize>>(&mut self, labels: &[L], predictions: &[L]) {
        for (&label, &prediction) in labels.iter().zip(predictions) {
            let (label, prediction) = (label.into(), prediction.into());
            if label < self.classes && prediction < self.classes {
                self.counts[label * self.classes + prediction] += 1;
            }
        }
    }

    /// Adds `pixels` of `label` that were predicted as `prediction`.
    pub fn add_pixels(&mut self, label: usize, prediction: usize, pixels: u64) {
        self.counts[label * self.classes + prediction] += pixels;
    }

    /// The entries that are not 0: (label, prediction, pixels), in order.
    pub fn entries(&self) -> impl Iterator<Item = (usize, usize, u64)> {
        let entry = |(at, &pixels): (usize, &u64)| (at / self.classes, at % self.classes, pixels);
        self.counts
            .iter()
            .enumerate()
            .filter(|(_, n)| **n > 0)
            .map(entry)
    }

    /// Adds the counts of another matrix of as many classes.
    pub fn merge(&mut self, other: &Confusion) {
        for (sum, n) in self.counts.iter_mut().zip(&other.counts) {
            *sum += n;
        }
    }

    /// Per class: pixels labelled so, and pixels predicted so.
    fn margins(&self) -> (Vec<u64>, Vec<u64>) {
        let rows = self.counts.chunks_exact(self.classes);
        let labelled = rows.clone().map(|row| row.iter().sum()).collect();
        let mut predicted = vec![0u64; self.classes];
        for row in rows {
            for (total, count) in predicted.iter_mut().zip(row) {
                *total += count;
            }
        }
        (labelled, predicted)
    }

    /// Per class: intersection and union of labels and predictions, in pixels.
    fn areas(&self) -> Vec<(u64, u64)> {
        let (labelled, predicted) = self.margins();
        let right = |class: usize| self.count(class, class);
        (0..self.classes)
            .map(|c| (right(c), labelled[c] + predicted[c] - right(c)))
            .collect()
    }

    pub fn score(&self) -> SegmentationScore {
        let n = self.classes;
        let labelled = self.margins().0;
        let right = |class: usize| self.count(class, class);
        let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        let areas = self.areas().into_iter();
        let iou: Vec<Option<f64>> = areas.map(|(both, union)| share(both, union)).collect();
        let accuracy = (0..n).map(|c| share(right(c), labelled[c]));
        let all_right = (0..n).map(right).sum();
        SegmentationScore {
            miou: mean(iou.iter().copied()),
            macc: mean(accuracy),
            aacc: share(all_right, labelled.iter().sum()).unwrap_or(f64::NAN),
            iou,
        }
    }
}

/// What one image adds to the IoU of the classes it has or was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageAreas {
    /// (class, pixels both labelled and predicted so, pixels labelled or predicted so)
    classes: Vec<(usize, u64, u64)>,
}

impl ImageAreas {
    /// From the confusion matrix of this image alone.
    pub fn from_confusion(confusion: &Confusion) -> Self {
        let areas = confusion.areas().into_iter().enumerate();
        ImageAreas {
            classes: areas
                .filter(|(_, (_, union))| *union > 0)
                .map(|(class, (both, union))| (class, both, union))
                .collect(),
        }
    }

    /// The same from the matrix's entries: (label, prediction, pixels).
    pub fn from_pairs(pairs: &[(usize, usize, u64)]) -> Self {
        let mut areas = std::collections::BTreeMap::new();
        for &(label, prediction, pixels) in pairs {
            if label == prediction {
                let area: &mut (u64, u64) = areas.entry(label).or_default();
                area.0 += pixels;
                area.1 += pixels;
            } else {
                areas.entry(label).or_default().1 += pixels;
                areas.entry(prediction).or_default().1 += pixels;
            }
        }
        let areas = areas.into_iter();
        ImageAreas {
            classes: areas
                .map(|(class, (both, union))| (class, both, union))
                .collect(),
        }
    }
}

/// mIoU (0..1) of the images `chosen`, which may repeat (for the bootstrap).
pub fn miou_of(images: &[ImageAreas], chosen: &[usize], classes: usize) -> f64 {
    let mut areas = vec![(0u64, 0u64); classes];
    for (class, both, union) in chosen.iter().flat_map(|&i| &images[i].classes) {
        areas[*class].0 += both;
        areas[*class].1 += union;
    }
    mean(
        areas
            .iter()
            .map(|&(both, union)| (union > 0).then(|| both as f64 / union as f64)),
    )
}

/// The mean of what is defined (NumPy's `nanmean`).
fn mean(values: impl Iterator<Item = Option<f64>>) -> f64 {
    let defined: Vec<f64> = values.flatten().collect();
    defined.iter().sum::<f64>() / defined.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // Labels 0 0 0 1 1 ignored; predictions 0 0 1 1 2 2; class 3 never occurs.
        let mut confusion = Confusion::new(4);
        confusion.add::<u8>(&[0, 0, 0, 1, 1, 255], &[0, 0, 1, 1, 2, 2]);
        let score = confusion.score();
        // Class 0: 2 / (3 + 2 - 2); class 1: 1 / (2 + 2 - 1); class 2: 0 / (0 + 1).
        assert_eq!(
            score.iou,
            [Some(2.0 / 3.0), Some(1.0 / 3.0), Some(0.0), None]
        );
        assert!((score.miou - 1.0 / 3.0).abs() < 1e-15);
        assert_eq!(score.aacc, 3.0 / 5.0);
        assert!((score.macc - (2.0 / 3.0 + 0.5) / 2.0).abs() < 1e-15);
    }

    #[test]
    fn images_add_up() {
        let (mut one, mut two) = (Confusion::new(2), Confusion::new(2));
        one.add::<u8>(&[0, 1, 1], &[0, 0, 1]);
        two.add::<u8>(&[0, 1], &[0, 0]);
        two.add::<u8>(&[1], &[1]);
        assert_eq!(one, two);
        let areas = [
            ImageAreas::from_confusion(&one),
            ImageAreas::from_confusion(&two),
        ];
        one.merge(&two);
        assert_eq!(miou_of(&areas, &[0, 1], 2), one.score().miou);
        assert_eq!(miou_of(&areas, &[1, 1], 2), two.score().miou);
        assert_eq!((one.count(1, 0), one.count(0, 1)), (2, 0));
    }
}
