//! The weighted k-nearest-neighbour classifier on frozen features (spec/radio.md §5.4): L2-
//! normalised summaries, cosine similarity to every train image, the k nearest vote for their
//! class with weight exp(similarity / temperature).

mod scan;
pub mod search;
mod select;
pub mod topk;

use super::classify::{self, Job, Method, RANKED, Splits};
use super::extract::Output;
use super::finished::Finished;
use crate::metrics::accuracy::{KNN_TOP1, KNN_TOP5};
use crate::metrics::vote::vote;
use crate::report::RecordBuilder;
use crate::runtime::progress;
use crate::{Error, Result};
use rayon::prelude::*;
use std::time::Instant;
use topk::TopK;

/// Name of the task in records.
pub const TASK: &str = "knn";

/// Lists of settings, all served from one extraction and one search.
#[derive(Debug, Clone)]
pub struct Options {
    pub k: Vec<usize>,
    pub temperatures: Vec<f64>,
    /// Whether val images of classes without a train image are no error.
    pub unseen_classes: bool,
}

/// kNN on one job, checked.
pub struct Knn {
    options: Options,
    summary: Output,
    record: RecordBuilder,
}

impl Knn {
    /// # Errors
    /// A data set without train split, val split or labels, val images of a class that train does
    /// not have, a k beyond the train images, or an adaptor that the model has not.
    pub fn prepare(job: &Job, options: &Options) -> Result<Self> {
        let summary = job.summary(job.adaptor)?;
        let (train, val) = (job.data.need_train()?, job.data.need_val()?);
        let train_labels = classify::labels(train.as_ref(), &job.train_indices()?)?;
        let val_labels = classify::labels(val.as_ref(), &job.val_indices()?)?;
        check_k(&options.k, train_labels.len())?;
        let mut record = job
            .record(TASK, job.adaptor)
            .option("train_limit", job.train_limit);
        if let Some(unseen) = unseen_classes(job, &train_labels, &val_labels) {
            if !options.unseen_classes {
                return Err(Error::file(
                    &job.data.path,
                    format!(
                        "{unseen}: kNN can only be wrong about them. Look at --train-data, --mapping and the class folders' names, or measure it so with --unseen-classes"
                    ),
                ));
            }
            record = record.warning(unseen);
        }
        Ok(Knn {
            options: options.clone(),
            summary,
            record,
        })
    }
}

fn check_k(k: &[usize], train_images: usize) -> Result<()> {
    match k.iter().copied().max() {
        Some(largest) if largest > train_images => Err(Error::usage(format!(
            "--k {largest} needs as many train images; there are {train_images}"
        ))),
        _ => Ok(()),
    }
}

/// A sentence about the classes of val images in use that no train image in use has.
fn unseen_classes(job: &Job, train: &[u32], val: &[u32]) -> Option<String> {
    let classes = &job.data.classes;
    let mut seen = vec![false; classes.len()];
    for &label in train {
        seen[label as usize] = true;
    }
    let mut counts = vec![0; classes.len()];
    for &label in val.iter().filter(|&&label| !seen[label as usize]) {
        counts[label as usize] += 1;
    }
    let unseen = || (0..classes.len()).filter(|&class| counts[class] > 0);
    let first = unseen().next()?;
    Some(format!(
        "{} of {} val images are of {} classes without a train image (the first is {})",
        counts.iter().sum::<usize>(),
        val.len(),
        unseen().count(),
        classes[first].id
    ))
}

impl Method for Knn {
    fn val(&self) -> &Output {
        &self.summary
    }

    fn train(&self) -> Option<&Output> {
        Some(&self.summary)
    }

    fn classify(&self, job: &Job, splits: &Splits) -> Result<Vec<Finished>> {
        let (val, train) = (&splits.val, splits.train()?);
        let val_labels = classify::labels(job.data.need_val()?.as_ref(), &val.indices)?;
        let train_labels = classify::labels(job.data.need_train()?.as_ref(), &train.indices)?;
        // Unreadable train images were left out since.
        check_k(&self.options.k, train_labels.len())?;
        let largest = self.options.k.iter().copied().max().unwrap_or(0);

        let started = Instant::now();
        let (queries, keys) = (val.rows(&self.summary)?, train.rows(&self.summary)?);
        let bar = progress::bar(
            job.extractor.progress,
            "kNN search",
            "pairs",
            queries.len() as u64 * keys.len() as u64,
            0,
        );
        let device = job.extractor.runtime.device;
        let top = search::search(&queries, &keys, largest, device, &mut |pairs| {
            bar.inc(pairs)
        })?;
        bar.finish_and_clear();

        let record = classify::with_features(self.record.clone(), train);
        let record = classify::with_features(record, val)
            .images_per_s(classify::images_per_s(&[train, val]))
            .stage("search", started.elapsed().as_secs_f64());
        let mut outcomes = Vec::new();
        for &k in &self.options.k {
            for &temperature in &self.options.temperatures {
                let rankings = rank(&top, k, temperature, &train_labels);
                let record = record
                    .clone()
                    .option("k", k)
                    .option("temperature", temperature);
                let record = classify::with_accuracy(
                    record,
                    [&KNN_TOP1, &KNN_TOP5],
                    &rankings,
                    &val_labels,
                    job.extractor.runtime.seed,
                );
                outcomes.push(classify::finished(record, &val.indices, rankings));
            }
        }
        Ok(outcomes)
    }
}

/// The classes of each query by the votes of its `k` nearest.
fn rank(top: &TopK, k: usize, temperature: f64, labels: &[u32]) -> Vec<Vec<u32>> {
    (0..top.queries())
        .into_par_iter()
        .map(|query| {
            let nearest = top.neighbours(query).iter().take(k);
            let votes = nearest.map(|n| (n.similarity, labels[n.key as usize]));
            vote(votes, temperature, RANKED)
        })
        .collect()
}
