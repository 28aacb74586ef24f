//! From outcomes to metrics, and to the table of instances.

use super::counted;
use super::judge::Outcome;
use super::settings::PromptKind;
use crate::data::Source;
use crate::data::annotation::Instance;
use crate::data::coco::CocoSet;
use crate::metrics::bootstrap;
use crate::metrics::mask::{Bucket, iou};
use crate::report::{Metric, RecordBuilder};
use crate::{Error, Result};

/// The instances of each image with what came of them.
pub struct Judged<'a> {
    pub set: &'a CocoSet,
    /// Images, in the order of `outcomes`.
    pub indices: &'a [usize],
    pub outcomes: &'a [Vec<Outcome>],
}

impl Judged<'_> {
    fn images(&self) -> impl Iterator<Item = (usize, impl Iterator<Item = (&Instance, &Outcome)>)> {
        self.indices
            .iter()
            .zip(self.outcomes)
            .map(|(&index, outcomes)| (index, counted(self.set.instances(index)).zip(outcomes)))
    }

    /// The mean IoU of every bucket that holds an instance, each instance of the same weight, with
    /// the bootstrap interval over images.
    pub fn means(&self, seed: u64) -> Vec<(Bucket, Metric)> {
        let mean = |bucket| Some((bucket, self.mean(bucket, seed)?));
        Bucket::EVERY.into_iter().filter_map(mean).collect()
    }

    fn mean(&self, bucket: Bucket, seed: u64) -> Option<Metric> {
        // (sum, instances) of each image that has some.
        let mut images: Vec<(f64, usize)> = Vec::new();
        // Over all in one row, as the harness adds them up.
        let (mut sum, mut count) = (0.0, 0);
        for (_, instances) in self.images() {
            let held = instances.filter(|(i, _)| bucket.holds(i.area, i.crowd));
            let values: Vec<f64> = held.map(|(_, o)| iou(o.intersection, o.union)).collect();
            if !values.is_empty() {
                sum = values.iter().fold(sum, |sum, value| sum + value);
                count += values.len();
                images.push((values.iter().sum(), values.len()));
            }
        }
        let interval = bootstrap::interval(images.len(), seed, |chosen| {
            let drawn = chosen.iter().map(|&image| images[image]);
            let (sum, count) = drawn.fold((0.0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
            sum / count as f64
        });
        (count > 0).then(|| Metric {
            value: sum / count as f64,
            low: interval.map(|i| i.0),
            high: interval.map(|i| i.1),
            n: Some(count as u64),
        })
    }

    /// Adds the means to a record.
    pub fn metrics(&self, record: RecordBuilder, prompt: PromptKind, seed: u64) -> RecordBuilder {
        self.means(seed)
            .into_iter()
            .fold(record, |record, (bucket, mean)| {
                let metric = match prompt {
                    PromptKind::Box | PromptKind::Boxes => bucket.of_boxes(),
                    PromptKind::Point => bucket.of_points(),
                };
                record.metric(metric, mean)
            })
    }

    /// A row per instance.
    pub fn csv(&self) -> Result<String> {
        let fail = |e: String| Error::model(format!("the table of instances: {e}"));
        let mut table = csv::Writer::from_writer(Vec::new());
        let header = [
            "image_id",
            "image",
            "annotation_id",
            "category_id",
            "area",
            "crowd",
            "iou",
            "mask",
            "predicted_iou",
            "intersection",
            "union",
        ];
        table
            .write_record(header)
            .map_err(|e| fail(e.to_string()))?;
        for (index, instances) in self.images() {
            for (instance, outcome) in instances {
                let row = [
                    self.set.image_id(index).to_string(),
                    self.set.key(index).to_string(),
                    instance.id.to_string(),
                    instance.category.to_string(),
                    instance.area.to_string(),
                    u8::from(instance.crowd).to_string(),
                    iou(outcome.intersection, outcome.union).to_string(),
                    outcome.mask.to_string(),
                    outcome.predicted_iou.to_string(),
                    outcome.intersection.to_string(),
                    outcome.union.to_string(),
                ];
                table.write_record(row).map_err(|e| fail(e.to_string()))?;
            }
        }
        let bytes = table.into_inner().map_err(|e| fail(e.to_string()))?;
        String::from_utf8(bytes).map_err(|e| fail(e.to_string()))
    }
}
