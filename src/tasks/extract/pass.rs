//! One pass of images through the network, into a store.

use super::output::{Output, row_bytes};
use super::window::Windows;
use super::{Extractor, Subset};
use crate::data::content::Hashed;
use crate::data::loader::{self, Batch, LoaderOptions};
use crate::models::{Request, backbone};
use crate::runtime::progress;
use crate::store::{Column, Row, Writer};
use crate::tasks::contents;
use crate::{Error, Result};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tch::Tensor;

/// How often finished rows are made to survive a crash, after the first batch.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// What is computed, of which images.
pub struct Pass<'a> {
    pub extractor: &'a Extractor<'a>,
    pub subset: &'a Subset<'a>,
    pub outputs: &'a [Output],
    /// The images of this process.
    pub indices: &'a [usize],
}

impl Pass<'_> {
    /// Goes on from what `writer` has, to the end. Every image goes through the network once,
    /// whatever the number of outputs.
    ///
    /// # Errors
    /// Those of [`Extractor::extract`]; what was finished is kept.
    pub fn fill(&self, writer: &mut Writer) -> Result<()> {
        let outcome = self.run(writer);
        // Also where it failed: what is finished is kept.
        let kept = writer.commit();
        outcome.and(kept)
    }

    fn run(&self, writer: &mut Writer) -> Result<()> {
        let (extractor, subset) = (self.extractor, self.subset);
        let before = writer.done();
        let left = self.indices[before..].to_vec();
        let label = format!("{} {}:{}", extractor.part.name, subset.name, subset.split);
        let bar = progress::bar(
            extractor.progress,
            &label,
            "images",
            self.indices.len() as u64,
            before as u64,
        );
        let source = Arc::new(Hashed::new(subset.source.clone()));
        let request = self.request();
        let mut windows = Windows::new(&left, extractor.batch_size);
        let mut batches = loader::load(
            source.clone(),
            left.clone(),
            extractor.transform,
            LoaderOptions {
                batch_size: extractor.batch_size,
                workers: extractor.runtime.workers,
                skip_bad: extractor.skip_bad.saturating_sub(writer.skipped().count()),
                device: extractor.runtime.device,
                padding: extractor.padding,
                ..LoaderOptions::default()
            },
        );
        let mut committed: Option<Instant> = None;
        let mut seen = 0;
        loop {
            let batch = batches.next().transpose()?;
            // A window's skipped images are told before, or without, its batches.
            for bad in &batches.skipped()[seen..] {
                let content = source.take(bad.index);
                windows.skip(contents::skipped(
                    bad.index,
                    &bad.key,
                    &bad.reason,
                    &content,
                ))?;
            }
            seen = batches.skipped().len();
            let ended = batch.is_none();
            if let Some(batch) = batch {
                let (columns, rows) = self.compute(&batch, &request, &source)?;
                writer.declare(&columns)?;
                for (&index, row) in batch.indices.iter().zip(rows) {
                    windows.add(index, row)?;
                }
            }
            while let Some((rows, skipped)) = windows.next_complete() {
                writer.append(&rows, skipped)?;
                bar.set_position(writer.done() as u64);
            }
            if ended {
                break;
            }
            if committed.is_none_or(|at| at.elapsed() > COMMIT_EVERY) {
                writer.commit()?;
                committed = Some(Instant::now());
            }
        }
        bar.finish_and_clear();
        if writer.done() < self.indices.len() {
            return Err(Error::model("the loader ended before the last image"));
        }
        Ok(())
    }

    /// What the network is asked for.
    fn request(&self) -> Request {
        let mut adaptors: Vec<&str> = Vec::new();
        for output in self.outputs {
            if let Some(adaptor) = output.adaptor.as_deref()
                && !adaptors.contains(&adaptor)
            {
                adaptors.push(adaptor);
            }
        }
        Request::adaptors(adaptors)
    }

    /// The columns, and the rows of a batch.
    fn compute(
        &self,
        batch: &Batch,
        request: &Request,
        source: &Hashed,
    ) -> Result<(Vec<Column>, Vec<Row>)> {
        let network = self.extractor.model.backbone.as_ref();
        // The outputs in use are checked below, where an image has a name.
        let features = backbone::run_unread(network, &batch.pixels, request)?;
        let mut columns = contents::columns().to_vec();
        let mut cells = Vec::new();
        for output in self.outputs {
            let tensor = output.select(&features)?;
            self.check_finite(&tensor, output, batch)?;
            columns.push(output.column(&tensor));
            cells.push(row_bytes(&tensor).into_iter());
        }
        let mut rows = Vec::with_capacity(batch.indices.len());
        for &index in &batch.indices {
            let content = source.take(index);
            let content = contents::cells(&content, source, index)?;
            let features = cells.iter_mut().filter_map(Iterator::next);
            rows.push(contents::row(content, features));
        }
        Ok((columns, rows))
    }

    fn check_finite(&self, tensor: &Tensor, output: &Output, batch: &Batch) -> Result<()> {
        let finite = tensor.f_isfinite()?.f_flatten(1, -1)?.f_all_dim(1, false)?;
        let finite = Vec::<bool>::try_from(finite)?;
        let Some(bad) = finite.iter().position(|finite| !finite) else {
            return Ok(());
        };
        Err(Error::model(format!(
            "{} gives features (`{}`) that are not finite in {} for {}; try --precision bf16 or fp32",
            self.extractor.part.name,
            output.name(),
            self.extractor.runtime.precision.name(),
            self.subset.source.key(batch.indices[bad])
        )))
    }
}
