//! Features of a data set's images, computed once and kept on disk.
//!
//! The cache is keyed by everything that decides the values; an extraction that was stopped at any
//! moment goes on from the last committed batch, with the same batches, and so gives the same
//! bytes as one that was not. Memory does not grow with the data set: rows go to disk as they come
//! and are mapped, not read, afterwards.

pub mod rows;
mod store;
mod window;

pub use rows::Rows;
pub use store::Skipped;

use crate::data::Source;
use crate::data::fingerprint::fingerprint;
use crate::data::loader::{self, Batch, LoaderOptions};
use crate::data::transform::Transform;
use crate::hash::sha256;
use crate::models::{Request, Resolved, backbone};
use crate::report::{DataPart, ModelPart, environment};
use crate::runtime::{Runtime, home, progress};
use crate::{Error, Result};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Mapped, Store};
use tch::{Device, Kind};
use window::Windows;

/// How often finished rows are made to survive a crash, after the first batch.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// Which features of a model, and how to compute them.
pub struct Extractor<'a> {
    pub model: &'a Resolved,
    /// What records say about it; its SHA-256 keys the cache.
    pub part: &'a ModelPart,
    /// Whose summary: this adaptor's, or the backbone's own.
    pub adaptor: Option<&'a str>,
    pub transform: Transform,
    pub runtime: &'a Runtime,
    pub batch_size: usize,
    pub skip_bad: usize,
    /// Whether to show a progress bar.
    pub progress: bool,
}

/// One split of a data set, or a part of it.
pub struct Subset<'a> {
    /// Data set name and path, for records.
    pub name: &'a str,
    pub path: String,
    pub split: &'a str,
    pub source: &'a Arc<dyn Source>,
    /// Samples in use.
    pub indices: Vec<usize>,
}

/// Features of a subset: one row per sample that could be read, in the order of the indices.
pub struct Extracted {
    mapped: Mapped,
    /// Samples that have a row, in the order of rows.
    pub indices: Vec<usize>,
    pub skipped: Vec<Skipped>,
    /// What a record says about the subset.
    pub data: DataPart,
    /// Images computed in this run, and the seconds that took; zero when the cache had them all.
    pub computed: usize,
    pub seconds: f64,
}

impl Extracted {
    pub fn rows(&self) -> Result<Rows<'_>> {
        self.mapped.rows()
    }
}

impl Extractor<'_> {
    /// The summaries of `subset`, from the cache as far as it has them.
    ///
    /// # Errors
    /// More than `skip_bad` unreadable images (the error names the file), a resolution or an
    /// adaptor the model does not take, features that are not finite, a cache that cannot be
    /// written, or an interruption; what was finished is kept.
    pub fn summaries(&self, subset: &Subset) -> Result<Extracted> {
        let started = Instant::now();
        let fingerprint = fingerprint(subset.source.as_ref(), &subset.indices);
        let key = self.key(&fingerprint);
        let folder = home().join("cache/features").join(sha256(key.to_string()));
        let mut store = Store::open(&folder, key, subset.indices.len())?;
        let before = store.header.done;
        if store.is_complete() {
            tracing::info!("{}:{}: features from the cache", subset.name, subset.split);
        } else {
            if before > 0 {
                tracing::info!(
                    "{}:{}: going on from image {before}",
                    subset.name,
                    subset.split
                );
            }
            // Also where it fails: what is finished is kept.
            let outcome = self.fill(&mut store, subset);
            store.commit()?;
            outcome?;
        }
        self.check_skipped(subset, &store.header.skipped)?;

        let skipped = store.header.skipped.clone();
        let computed = store.header.done - before;
        let indices = without(&subset.indices, &skipped);
        Ok(Extracted {
            data: DataPart {
                name: subset.name.to_string(),
                path: subset.path.clone(),
                split: subset.split.to_string(),
                samples: indices.len() as u64,
                fingerprint,
                skipped: skipped.len() as u64,
                transform: self.transform.describe(),
            },
            mapped: store.map()?,
            indices,
            skipped,
            computed,
            seconds: started.elapsed().as_secs_f64(),
        })
    }

    /// Everything that decides the values, down to the last bit.
    fn key(&self, fingerprint: &str) -> Value {
        json!({
            "tool": [env!("CARGO_PKG_VERSION"), environment::GIT_REVISION, environment::LIBTORCH_VERSION],
            "model": self.part.name,
            "weights": self.part.sha256.as_deref().unwrap_or(&self.part.weights),
            "settings": self.part.settings,
            "features": "summary",
            "adaptor": self.adaptor,
            "data": fingerprint,
            "transform": self.transform.describe(),
            "precision": self.runtime.precision,
            "device": environment::device_name(self.runtime.device),
            // The order of sums depends on both.
            "threads": tch::get_num_threads(),
            "batch_size": self.batch_size,
        })
    }

    fn fill(&self, store: &mut Store, subset: &Subset) -> Result<()> {
        let before = store.header.done;
        let left = subset.indices[before..].to_vec();
        let label = format!("{} {}:{}", self.part.name, subset.name, subset.split);
        let bar = progress::bar(
            self.progress,
            &label,
            "images",
            subset.indices.len() as u64,
            before as u64,
        );
        let request = Request::adaptors(self.adaptor);
        let mut windows = Windows::new(&left, self.batch_size);
        let mut batches = loader::load(
            subset.source.clone(),
            left.clone(),
            self.transform,
            LoaderOptions {
                batch_size: self.batch_size,
                workers: self.runtime.workers,
                skip_bad: self.skip_bad.saturating_sub(store.header.skipped.len()),
                device: self.runtime.device,
                ..LoaderOptions::default()
            },
        );
        let mut committed: Option<Instant> = None;
        let mut told = 0;
        loop {
            let batch = batches.next().transpose()?;
            // A window's skipped images are told before, or without, its batches.
            for skipped in &batches.skipped()[told..] {
                windows.skip(skipped.into())?;
            }
            told = batches.skipped().len();
            let ended = batch.is_none();
            let mut dim = store.header.dim;
            if let Some(batch) = batch {
                let values = self.run(subset, &batch, &request)?;
                dim = values.len() / batch.indices.len();
                windows.add(&batch.indices, &values, dim)?;
            }
            while let Some((values, skipped)) = windows.next_complete() {
                store.append(&values, dim, skipped)?;
                bar.set_position(store.header.done as u64);
            }
            if ended {
                break;
            }
            if committed.is_none_or(|at| at.elapsed() > COMMIT_EVERY) {
                store.commit()?;
                committed = Some(Instant::now());
            }
        }
        bar.finish_and_clear();
        if !store.is_complete() {
            return Err(Error::model("the loader ended before the last image"));
        }
        Ok(())
    }

    /// The summaries of a batch, [b, dim] row-major in fp32.
    fn run(&self, subset: &Subset, batch: &Batch, request: &Request) -> Result<Vec<f32>> {
        // The rows are checked below, where an image has a name.
        let network = self.model.backbone.as_ref();
        let features = backbone::run_unread(network, &batch.pixels, request)?;
        let summary = features
            .summary_of(self.adaptor)?
            .f_to_kind(Kind::Float)?
            .f_to_device(Device::Cpu)?;
        let (_, dim) = summary.size2()?;
        let values = Vec::<f32>::try_from(summary.f_reshape([-1])?)?;
        let bad = values
            .chunks_exact((dim as usize).max(1))
            .zip(&batch.indices)
            .find(|(row, _)| row.iter().any(|v| !v.is_finite()));
        match bad {
            None => Ok(values),
            Some((_, &index)) => Err(Error::model(format!(
                "{} gives features that are not finite in {} for {}; try --precision bf16 or fp32",
                self.part.name,
                self.runtime.precision.name(),
                subset.source.key(index)
            ))),
        }
    }

    /// The cache may hold more skipped images than this run allows.
    fn check_skipped(&self, subset: &Subset, skipped: &[Skipped]) -> Result<()> {
        match skipped.get(self.skip_bad) {
            None => Ok(()),
            Some(first) => Err(Error::file(
                std::path::Path::new(&subset.source.describe()).join(&first.key),
                format!(
                    "{}; --skip-bad N leaves out up to N unreadable images ({} here)",
                    first.reason,
                    skipped.len()
                ),
            )),
        }
    }
}

/// `indices` without the skipped ones, which are in the same order.
fn without(indices: &[usize], skipped: &[Skipped]) -> Vec<usize> {
    let mut left = skipped.iter().map(|s| s.index).peekable();
    indices
        .iter()
        .copied()
        .filter(|index| left.next_if_eq(index).is_none())
        .collect()
}
