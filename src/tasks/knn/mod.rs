//! The weighted k-nearest-neighbour classifier on frozen features (spec/radio.md §5.4): L2-
//! normalised summaries, cosine similarity to every train image, the k nearest vote for their
//! class with weight exp(similarity / temperature).

mod scan;
pub mod search;
mod select;
pub mod topk;

use super::classify::{self, Job, Outcome, RANKED};
use crate::metrics::accuracy::{KNN_TOP1, KNN_TOP5};
use crate::metrics::vote::vote;
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
    /// Train images per class; all by default.
    pub train_limit: Option<usize>,
}

/// One outcome per k and temperature, in the order given.
///
/// # Errors
/// A data set without train split, val split or labels, a k beyond the train images, and those of
/// [`super::extract::Extractor::summaries`].
pub fn run(job: &Job, options: &Options) -> Result<Vec<Outcome>> {
    let record = job.record(TASK).option("train_limit", options.train_limit);
    // The split that is likelier to hold a mistake is the larger one; val is checked first anyway,
    // as a missing val split should not cost an extraction of train.
    job.data.need_train()?;
    let val = job.val(&job.extractor)?;
    let train = job.train(&job.extractor, options.train_limit)?;
    let val_labels = classify::labels(job.data.need_val()?.as_ref(), &val.indices)?;
    let train_labels = classify::labels(job.data.need_train()?.as_ref(), &train.indices)?;
    let largest = options.k.iter().copied().max().unwrap_or(0);
    if largest > train_labels.len() {
        return Err(Error::usage(format!(
            "--k {largest} needs as many train images; there are {}",
            train_labels.len()
        )));
    }

    let started = Instant::now();
    let (queries, keys) = (val.rows()?, train.rows()?);
    let bar = progress::bar(
        job.extractor.progress,
        "kNN search",
        "pairs",
        queries.len() as u64 * keys.len() as u64,
        0,
    );
    let device = job.extractor.runtime.device;
    let top = search::search(queries, keys, largest, device, &mut |pairs| bar.inc(pairs))?;
    bar.finish_and_clear();

    let record = classify::with_features(record, &train);
    let record = classify::with_features(record, &val)
        .images_per_s(classify::images_per_s(&[&train, &val]))
        .stage("search", started.elapsed().as_secs_f64());
    let mut outcomes = Vec::new();
    for &k in &options.k {
        for &temperature in &options.temperatures {
            let rankings = rank(&top, k, temperature, &train_labels);
            let record = record
                .clone()
                .option("k", k)
                .option("temperature", temperature);
            let seed = job.extractor.runtime.seed;
            let record = classify::with_accuracy(
                record,
                [&KNN_TOP1, &KNN_TOP5],
                &rankings,
                &val_labels,
                seed,
            );
            outcomes.push(Outcome {
                record: record.build(),
                indices: val.indices.clone(),
                rankings,
            });
        }
    }
    Ok(outcomes)
}

/// The classes of each query by the votes of its `k` nearest.
fn rank(top: &TopK, k: usize, temperature: f64, labels: &[u32]) -> Vec<Vec<u32>> {
    (0..top.queries())
        .into_par_iter()
        .map(|query| {
            let nearest = top.of(query).iter().take(k);
            let votes = nearest.map(|n| (n.similarity, labels[n.key as usize]));
            vote(votes, temperature, RANKED)
        })
        .collect()
}
