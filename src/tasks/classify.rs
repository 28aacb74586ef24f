//! What the ways of classifying images with frozen features (kNN, zero-shot) share.

use super::extract::{Extractor, FeatureRows, Output, Subset};
use super::finished::{Finished, Predictions};
use crate::data::Source;
use crate::data::classification::{Class, Classification, Split};
use crate::data::subset::evenly_spread;
use crate::metrics::accuracy::{self, Accuracy};
use crate::metrics::{Benchmark, Definition, benchmark};
use crate::models::{Request, backbone};
use crate::report::{Metric, RecordBuilder, plot};
use crate::{Error, Result};
use tch::{Kind, Tensor};

/// One model on one data set.
pub struct Job<'a> {
    pub data: &'a Classification,
    pub extractor: Extractor<'a>,
    /// Whose summary: this adaptor's, or the backbone's own (zero-shot: or the first that imitates
    /// an image-text teacher).
    pub adaptor: Option<&'a str>,
    /// (height, width) for the record.
    pub resolution: (i64, i64),
    /// Val images in use, spread evenly over the split; all by default.
    pub limit: Option<usize>,
    /// Train images in use, the first of each class; all by default.
    pub train_limit: Option<usize>,
    /// Seconds it took to load the model.
    pub load_s: f64,
}

/// A way of classifying, made ready: whatever can be wrong was looked at before the first image is
/// read.
pub trait Method {
    /// What it needs of every val image.
    fn val(&self) -> &Output;

    /// What it needs of every train image, if it needs any.
    fn train(&self) -> Option<&Output> {
        None
    }

    /// Classifies, and gives one outcome per setting.
    fn classify(&self, job: &Job, features: &Splits) -> Result<Vec<Finished>>;
}

/// The features of a job's images, for all its methods.
pub struct Splits {
    pub val: FeatureRows,
    train: Option<FeatureRows>,
}

impl Splits {
    /// The train split's, for a method that said it needs them.
    pub fn train(&self) -> Result<&FeatureRows> {
        let train = self.train.as_ref();
        train.ok_or_else(|| Error::model("no features of the train split were asked for"))
    }
}

/// Classes ranked per sample: enough for top-5.
pub const RANKED: usize = 5;

/// Runs all methods over one extraction: each image goes through the network once, whatever they
/// need of it. Every outcome goes to `finished` as soon as it is there.
///
/// # Errors
/// Those of [`Extractor::extract`], of the methods, and of `finished`.
pub fn run(
    job: &Job,
    methods: &[Box<dyn Method>],
    finished: &mut dyn FnMut(Finished) -> Result<()>,
) -> Result<()> {
    let val_outputs = distinct(methods.iter().map(|method| method.val()));
    let train_outputs = distinct(methods.iter().filter_map(|method| method.train()));
    if val_outputs.is_empty() {
        return Ok(());
    }
    // The split that is likelier to hold a mistake is the larger one; val comes first anyway, as
    // a mistake in it should not cost an extraction of train.
    let val = job.subset(Split::Val)?;
    let train = match train_outputs.as_slice() {
        [] => None,
        _ => Some(job.subset(Split::Train)?),
    };
    let splits = Splits {
        val: job.extractor.extract(&val, &val_outputs)?,
        train: train
            .map(|train| job.extractor.extract(&train, &train_outputs))
            .transpose()?,
    };
    for method in methods {
        for outcome in method.classify(job, &splits)? {
            finished(outcome)?;
        }
    }
    Ok(())
}

fn distinct<'a>(outputs: impl Iterator<Item = &'a Output>) -> Vec<Output> {
    let mut distinct: Vec<Output> = Vec::new();
    for output in outputs {
        if !distinct.contains(output) {
            distinct.push(output.clone());
        }
    }
    distinct
}

impl Job<'_> {
    /// The val images in use.
    pub fn val_indices(&self) -> Result<Vec<usize>> {
        Ok(evenly_spread(self.data.need_val()?.len(), self.limit))
    }

    /// The train images in use.
    pub fn train_indices(&self) -> Result<Vec<usize>> {
        let source = self.data.need_train()?;
        match self.train_limit {
            None => Ok((0..source.len()).collect()),
            Some(limit) => first_of_each_class(source.as_ref(), self.data.classes.len(), limit),
        }
    }

    fn subset(&self, split: Split) -> Result<Subset<'_>> {
        let (source, indices) = match split {
            Split::Val => (self.data.need_val()?, self.val_indices()?),
            Split::Train => (self.data.need_train()?, self.train_indices()?),
        };
        Ok(Subset {
            name: &self.data.name,
            path: self.data.path.display().to_string(),
            split: split.name(),
            source,
            indices,
        })
    }

    /// The summary of `adaptor`, or an error where the model has no such adaptor.
    pub fn summary(&self, adaptor: Option<&str>) -> Result<Output> {
        let info = self.extractor.model.backbone.info();
        adaptor.map_or(Ok(()), |name| info.check_adaptor(name))?;
        Ok(Output::summary(adaptor))
    }

    /// Numbers per image of `output`, found out with a blank image.
    pub fn width(&self, output: &Output) -> Result<usize> {
        let network = self.extractor.model.backbone.as_ref();
        let (height, width) = self.resolution;
        let (height, width) = network.info().nearest_resolution(height, width);
        let device = self.extractor.runtime.device;
        let blank = Tensor::f_zeros([1, 3, height, width], (Kind::Float, device))?;
        let request = Request::adaptors(output.adaptor.as_deref());
        let features = backbone::run_unread(network, &blank, &request)?;
        Ok(output.select(&features)?.numel())
    }

    /// A record of `task` with what is known before it runs.
    pub fn record(&self, task: &str, adaptor: Option<&str>) -> RecordBuilder {
        let extractor = &self.extractor;
        let mut record = RecordBuilder::new(
            task,
            extractor.part.clone(),
            extractor.runtime,
            self.resolution,
        )
        .adaptor(adaptor)
        .benchmark(benchmark(self.data))
        .option("limit", self.limit)
        .stage("load", self.load_s);
        let (height, width) = self.resolution;
        if let Some(tokens) = extractor.model.backbone.code_length(height, width) {
            record = record.option(plot::tokens::CODE_TOKENS, tokens);
        }
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
pub fn with_features(record: RecordBuilder, features: &FeatureRows) -> RecordBuilder {
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
pub fn images_per_s(features: &[&FeatureRows]) -> Option<f64> {
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

/// The outcome with this record.
pub fn finished(record: RecordBuilder, indices: &[usize], rankings: Vec<Vec<u32>>) -> Finished {
    Finished {
        predictions: Some(Predictions {
            indices: indices.to_vec(),
            rankings,
        }),
        ..Finished::record(record.build())
    }
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
