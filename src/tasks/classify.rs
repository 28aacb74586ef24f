//! What the ways of classifying images with frozen features (kNN, zero-shot) share.

use super::extract::{Extracted, Extractor, Subset};
use crate::data::Source;
use crate::data::classification::{Class, Classification, Split};
use crate::data::subset::evenly_spread;
use crate::metrics::accuracy::{self, Accuracy};
use crate::metrics::{Benchmark, Definition, benchmark};
use crate::report::{Metric, Record, RecordBuilder};
use crate::{Error, Result};
use std::sync::Arc;

/// One model on one data set.
pub struct Job<'a> {
    pub data: &'a Classification,
    pub extractor: Extractor<'a>,
    /// (height, width) for the record.
    pub resolution: (i64, i64),
    /// Val images in use, spread evenly over the split; all by default.
    pub limit: Option<usize>,
    /// Seconds it took to load the model.
    pub load_s: f64,
}

/// What came of it: the record of one cell, and the predictions behind it.
pub struct Outcome {
    pub record: Record,
    /// Val samples, in the order of `rankings`.
    pub indices: Vec<usize>,
    /// Classes of each sample, best first, at most five.
    pub rankings: Vec<Vec<u32>>,
}

/// Classes ranked per sample: enough for top-5.
pub const RANKED: usize = 5;

impl Job<'_> {
    /// Features of the val images in use, by `extractor`.
    pub fn val(&self, extractor: &Extractor) -> Result<Extracted> {
        let source = self.data.need_val()?;
        let indices = evenly_spread(source.len(), self.limit);
        extractor.summaries(&self.subset(Split::Val, source, indices))
    }

    /// Features of the first `limit` train images of each class, by `extractor`.
    pub fn train(&self, extractor: &Extractor, limit: Option<usize>) -> Result<Extracted> {
        let source = self.data.need_train()?;
        let indices = match limit {
            None => (0..source.len()).collect(),
            Some(limit) => first_of_each_class(source.as_ref(), self.data.classes.len(), limit)?,
        };
        extractor.summaries(&self.subset(Split::Train, source, indices))
    }

    fn subset<'b>(
        &'b self,
        split: Split,
        source: &'b Arc<dyn Source>,
        indices: Vec<usize>,
    ) -> Subset<'b> {
        Subset {
            name: &self.data.name,
            path: self.data.path.display().to_string(),
            split: split.name(),
            source,
            indices,
        }
    }

    /// A record of `task` with what is known before it runs.
    pub fn record(&self, task: &str) -> RecordBuilder {
        let extractor = &self.extractor;
        let mut record = RecordBuilder::new(
            task,
            extractor.part.clone(),
            extractor.runtime,
            self.resolution,
        )
        .adaptor(extractor.adaptor)
        .benchmark(benchmark(self.data))
        .option("limit", self.limit)
        .stage("load", self.load_s);
        for warning in &self.data.warnings {
            record = record.warning(warning);
        }
        record
    }
}

/// The benchmark whose val split the data has.
fn benchmark(data: &Classification) -> Option<&'static Benchmark> {
    let val = data.val.as_ref()?;
    let names = |class: Option<&Class>| -> Vec<String> {
        let class = class.into_iter();
        class
            .flat_map(|c| std::iter::once(&c.id).chain(&c.names).cloned())
            .collect()
    };
    benchmark::recognise(
        val.len() as u64,
        data.classes.len(),
        [&names(data.classes.first()), &names(data.classes.last())],
        || (0..val.len()).map(|i| val.size(i)).sum(),
    )
}

/// Puts what an extraction did into a record.
pub fn with_features(record: RecordBuilder, features: &Extracted) -> RecordBuilder {
    let stage = format!("features_{}", features.data.split);
    let mut record = record
        .data(features.data.clone())
        .stage(&stage, features.seconds);
    if let Some(first) = features.skipped.first() {
        record = record.warning(format!(
            "{} unreadable images of {}:{} were left out, the first is {}: {}",
            features.skipped.len(),
            features.data.name,
            features.data.split,
            first.key,
            first.reason
        ));
    }
    record
}

/// Images/s over the images computed in this run; `None` where the cache had them all.
pub fn images_per_s(features: &[&Extracted]) -> Option<f64> {
    let computed: usize = features.iter().map(|f| f.computed).sum();
    let seconds: f64 = features
        .iter()
        .filter(|f| f.computed > 0)
        .map(|f| f.seconds)
        .sum();
    (computed > 0 && seconds > 0.0).then(|| computed as f64 / seconds)
}

/// The labels of samples, or an error where one has none.
pub fn labels(source: &dyn Source, indices: &[usize]) -> Result<Vec<u32>> {
    indices
        .iter()
        .map(|&index| {
            source.label(index).ok_or_else(|| {
                Error::file(
                    source.describe(),
                    format!(
                        "{} has no label, and this task needs one",
                        source.key(index)
                    ),
                )
            })
        })
        .collect()
}

/// Top-1 and top-5 of `rankings`, as the metrics of that name.
pub fn with_accuracy(
    mut record: RecordBuilder,
    [top1, top5]: [&Definition; 2],
    rankings: &[Vec<u32>],
    labels: &[u32],
    seed: u64,
) -> RecordBuilder {
    for (k, definition) in [(1, top1), (5, top5)] {
        let samples = rankings
            .iter()
            .map(Vec::as_slice)
            .zip(labels.iter().copied());
        if let Some(accuracy) = accuracy::top_k(samples, k, seed) {
            record = record.metric(definition, metric(accuracy));
        }
    }
    record
}

fn metric(accuracy: Accuracy) -> Metric {
    Metric {
        value: accuracy.value,
        low: Some(accuracy.low),
        high: Some(accuracy.high),
        n: Some(accuracy.n),
    }
}

fn first_of_each_class(source: &dyn Source, classes: usize, limit: usize) -> Result<Vec<usize>> {
    let all: Vec<usize> = (0..source.len()).collect();
    let labels = labels(source, &all)?;
    let mut counts = vec![0; classes];
    Ok(all
        .into_iter()
        .filter(|&index| {
            let count = &mut counts[labels[index] as usize];
            *count += 1;
            *count <= limit
        })
        .collect())
}
