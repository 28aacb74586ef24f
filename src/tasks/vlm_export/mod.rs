//! Visual tokens for the trainer of a vision-language model (LLaVA-1.5), in safetensors shards
//! with an index.
//!
//! Everything that decides the bytes is settled in a plan before the first picture is decoded:
//! which views a picture has, in which shard its rows lie, and with which other pictures it goes
//! through the network. So a shard's bytes depend neither on who writes it nor on what was
//! interrupted before; a shard counts once its description lies beside it.

mod batches;
pub mod framing;
mod index_parquet;
pub mod manifest;
pub mod merge;
pub mod outputs;
mod plan;
pub mod shard;
mod statistics;
pub mod verify;
mod writer;

pub use framing::{Framing, Preset};
pub use manifest::{Export, Manifest};
pub use outputs::{Layer, Norm, Wanted};

use crate::data::pictures::Pictures;
use crate::data::pixels;
use crate::data::source::size_of;
use crate::models::Resolved;
use crate::report::{ModelPart, environment};
use crate::runtime::launcher::Share;
use crate::runtime::{Precision, Runtime, disk, interrupt, progress};
use crate::{Error, Result};
use framing::ViewSize;
use outputs::{Output, Unit};
use plan::{Plan, Weight};
use shard::{Filling, Finished, Left};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tch::{Kind, Tensor};
use writer::Writer;

/// What to export, and how.
#[derive(Debug, Clone)]
pub struct Options {
    pub out: PathBuf,
    pub framing: Framing,
    pub wanted: Wanted,
    /// Type of the stored values.
    pub format: Precision,
    /// Bytes of a shard; one picture may exceed it.
    pub shard_bytes: u64,
    /// Views per forward pass.
    pub batch_size: usize,
    pub skip_bad: usize,
    /// This process's part of the shards.
    pub share: Share,
    /// Throw an earlier export in the folder away.
    pub restart: bool,
    /// State what would be done, and do nothing.
    pub dry_run: bool,
    /// Show a progress bar.
    pub show: bool,
    /// Say on stderr what is about to be done.
    pub state: bool,
}

/// What is about to be done, stated before it is.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Estimate {
    pub pictures: usize,
    pub tokens: u64,
    pub bytes: u64,
    pub shards: usize,
    /// Of these, finished by earlier runs.
    pub finished: usize,
    /// Shards of this process that are left, and their bytes.
    pub mine: usize,
    pub mine_bytes: u64,
    /// From the time of one pass; without reading pictures.
    pub seconds: f64,
}

/// How it ended.
pub enum Outcome {
    Stated(Estimate),
    Done(Box<Manifest>),
    /// This process's part is done; these shards of others are not there yet.
    Part(Vec<usize>),
}

/// Exports the features of `pictures`; goes on from the shards that are there.
///
/// # Errors
/// Settings that do not go together or with the network, an export of other settings in the
/// folder, a disk without room, more than `skip_bad` unreadable pictures, values that the format
/// cannot hold, or an interruption; finished shards are kept.
pub fn run(
    model: &Resolved,
    pictures: &Pictures,
    options: &Options,
    runtime: &Runtime,
) -> Result<Outcome> {
    options.framing.check()?;
    let prepared = Prepared::new(model, pictures, options, runtime)?;
    let identity = prepared.export.identity()?;
    if options.restart && !options.dry_run {
        forget(&options.out)?;
    }
    let survey = prepared.survey(options, &identity)?;
    let estimate = prepared.estimate(options, &survey)?;
    if options.state && !options.dry_run {
        state(&estimate, options);
    }
    if options.dry_run {
        return Ok(Outcome::Stated(estimate));
    }
    std::fs::create_dir_all(&options.out).map_err(|e| Error::file(&options.out, e))?;
    let free = disk::free_bytes(&options.out)?;
    if estimate.mine_bytes > free {
        return Err(Error::file(
            &options.out,
            format!(
                "the shards that are left take {} MiB, the disk has room for {} MiB; choose another --out, --format fp16, or --merge",
                estimate.mine_bytes >> 20,
                free >> 20
            ),
        ));
    }
    prepared.export.write(&options.out)?;
    prepared.work(options, runtime, &identity, &survey)?;
    match manifest::finish(&options.out, &prepared.export)? {
        Ok(manifest) => Ok(Outcome::Done(Box::new(manifest))),
        Err(missing) => Ok(Outcome::Part(missing)),
    }
}

/// What earlier runs and other processes left in the folder.
#[derive(Default)]
struct Survey {
    /// Shards that are there.
    finished: usize,
    /// Pictures that these leave out.
    left_out: usize,
    /// Shards of this process that are still to be made.
    left: Vec<usize>,
}

/// What an export is, before its first pass.
struct Prepared<'a> {
    model: &'a Resolved,
    pictures: &'a Pictures,
    plan: Plan,
    outputs: Vec<Output>,
    weight: Weight,
    export: Export,
    device: tch::Device,
}

impl<'a> Prepared<'a> {
    fn new(
        model: &'a Resolved,
        pictures: &'a Pictures,
        options: &Options,
        runtime: &Runtime,
    ) -> Result<Self> {
        let network = model.backbone.as_ref();
        let info = network.info();
        let wanted = &options.wanted;
        let probe = |size: ViewSize| {
            let (height, width) = (size.height as i64, size.width as i64);
            info.check_resolution(height, width)?;
            let blank = Tensor::f_zeros([1, 3, height, width], (Kind::Float, runtime.device))?;
            wanted.probe(network, &blank)
        };
        let first = first_view(pictures, &options.framing)?;
        let (outputs, grid) = probe(first)?;
        // Where tokens lie on a regular grid, the first view tells the grids of all others.
        let stride = |size: usize, cells: i64| {
            let size = size as i64;
            (cells > 0 && size % cells == 0).then(|| size / cells)
        };
        let strides = stride(first.height, grid.0).zip(stride(first.width, grid.1));
        let regular = strides.filter(|(y, x)| y == x).map(|(stride, _)| stride);
        let grid_of = |size: ViewSize| match regular {
            Some(stride) => {
                let (height, width) = (size.height as i64, size.width as i64);
                info.check_resolution(height, width)?;
                Ok((height / stride, width / stride))
            }
            None => Ok(probe(size)?.1),
        };
        let (items, unreadable) =
            plan::items(&pictures.source, &options.framing, grid_of, runtime.workers)?;
        let kind = options.format.kind();
        let bytes = |unit: Unit| -> u64 {
            let of_unit = outputs.iter().filter(|o| o.unit == unit);
            let values: i64 = of_unit.map(|o| o.rows_per_unit * o.channels).sum();
            values as u64 * kind.elt_size_in_bytes() as u64
        };
        let weight = Weight {
            token: bytes(Unit::Token),
            view: bytes(Unit::View),
        };
        if unreadable.len() > options.skip_bad
            && let Some(bad) = unreadable.get(options.skip_bad)
        {
            return Err(refused(pictures, &bad.key, &bad.reason, options.skip_bad));
        }
        let source = pictures.source.as_ref();
        let plan = Plan::new(source, items, unreadable, weight, options.shard_bytes);
        if plan.items.is_empty() {
            return Err(Error::file(
                &pictures.path,
                "holds no picture that can be read",
            ));
        }
        let part = ModelPart::for_model(model)?;
        let export = Export {
            schema_version: Export::SCHEMA,
            tool: [
                env!("CARGO_PKG_VERSION").to_string(),
                environment::GIT_REVISION.to_string(),
                environment::LIBTORCH_VERSION.to_string(),
            ],
            precision: runtime.precision.name().to_string(),
            device: environment::device_name(runtime.device),
            threads: usize::try_from(tch::get_num_threads()).unwrap_or(1),
            batch_size: options.batch_size,
            dataset: pictures.name.clone(),
            pictures: pictures.counts,
            framing: options.framing.describe(),
            wanted: wanted.clone(),
            format: options.format.name().to_string(),
            outputs: outputs.clone(),
            prefix_tokens_left_out: info.prefix_tokens,
            shards: plan.shards.len(),
            shard_bytes: options.shard_bytes,
            plan: plan.digest.clone(),
            unreadable: (plan.unreadable.iter())
                .map(|bad| Left {
                    key: bad.key.clone(),
                    reason: bad.reason.clone(),
                })
                .collect(),
            model: part,
        };
        Ok(Prepared {
            model,
            pictures,
            plan,
            outputs,
            weight,
            export,
            device: runtime.device,
        })
    }

    /// Reads which shards are there, once: their descriptions are large.
    fn survey(&self, options: &Options, identity: &str) -> Result<Survey> {
        let Share { index, count } = options.share;
        let mut survey = Survey::default();
        for shard in 0..self.plan.shards.len() {
            match Finished::find(&options.out, shard, identity)? {
                Some(finished) => {
                    survey.finished += 1;
                    survey.left_out += finished.left_out.len();
                }
                None if shard % count == index => survey.left.push(shard),
                None => {}
            }
        }
        Ok(survey)
    }

    fn estimate(&self, options: &Options, survey: &Survey) -> Result<Estimate> {
        let bytes = |shard: usize| -> u64 {
            let items = &self.plan.items[self.plan.shards[shard].clone()];
            items.iter().map(|item| self.weight.bytes(item)).sum()
        };
        let views = |shard: &usize| -> u64 {
            let items = &self.plan.items[self.plan.shards[*shard].clone()];
            items.iter().map(|item| item.views.count() as u64).sum()
        };
        let left = &survey.left;
        let mine_views: u64 = left.iter().map(views).sum();
        let seconds = match mine_views {
            0 => 0.0,
            views => views as f64 * self.seconds_per_view(options)?,
        };
        Ok(Estimate {
            pictures: self.plan.items.len(),
            tokens: self.plan.items.iter().map(|item| item.tokens()).sum(),
            bytes: (0..self.plan.shards.len()).map(bytes).sum(),
            shards: self.plan.shards.len(),
            finished: survey.finished,
            mine: left.len(),
            mine_bytes: left.iter().map(|&shard| bytes(shard)).sum(),
            seconds,
        })
    }

    /// By one pass over a blank batch of the first view's size, after one that warms up.
    fn seconds_per_view(&self, options: &Options) -> Result<f64> {
        let size = self.plan.items[0].views.size;
        let views = options.batch_size.min(8) as i64;
        let shape = [views, 3, size.height as i64, size.width as i64];
        let blank = Tensor::f_zeros(shape, (Kind::Float, self.device))?;
        let network = self.model.backbone.as_ref();
        options.wanted.run(network, &blank.f_narrow(0, 0, 1)?)?;
        let started = Instant::now();
        options.wanted.run(network, &blank)?;
        Ok(started.elapsed().as_secs_f64() / views as f64)
    }

    fn work(
        &self,
        options: &Options,
        runtime: &Runtime,
        identity: &str,
        survey: &Survey,
    ) -> Result<()> {
        let left = &survey.left;
        let mut skipped = self.plan.unreadable.len() + survey.left_out;
        let total: usize = left
            .iter()
            .map(|&shard| self.plan.shards[shard].len())
            .sum();
        let label = format!("{} {}", self.export.model.name, self.pictures.name);
        let bar = progress::bar(options.show, &label, "pictures", total as u64, 0);
        let batches = batches::start(
            &self.pictures.source,
            &options.framing,
            &self.plan,
            left,
            options.batch_size,
            runtime.workers,
            runtime.device,
        )?;
        let mut writer = Writer::new(&options.out, identity);
        let mut filling: Option<(usize, Filling)> = None;
        let mut done = 0;
        for batch in batches {
            interrupt::check()?;
            let batch = batch
                .map_err(|panic| Error::model(format!("a loader thread failed: {}", panic.0)))??;
            let shard = match filling.take() {
                Some((shard, full)) if shard != batch.shard => {
                    writer.write(full)?;
                    None
                }
                other => other,
            };
            let (shard, mut filling_shard) = shard.unwrap_or_else(|| {
                let kind = options.format.kind();
                (batch.shard, Filling::new(batch.shard, &self.outputs, kind))
            });
            for (at, key, reason) in batch.unreadable {
                skipped += 1;
                if skipped > options.skip_bad {
                    writer.join()?;
                    return Err(refused(self.pictures, &key, &reason, options.skip_bad));
                }
                tracing::warn!("left out {key}: {reason}");
                filling_shard.leave_out(at, key, reason);
                done += 1;
            }
            if let Some(staged) = batch.staged {
                let pixels = pixels::place(staged, runtime.device)?;
                let made = self.pass(options, &pixels, &batch.pictures)?;
                done += batch.pictures.len();
                filling_shard.add(&batch.pictures, &made)?;
            }
            bar.set_position(done as u64);
            filling = Some((shard, filling_shard));
        }
        if let Some((_, full)) = filling {
            writer.write(full)?;
        }
        writer.join()?;
        bar.finish_and_clear();
        if done != total {
            return Err(Error::model("the loader ended before the last picture"));
        }
        Ok(())
    }

    /// The outputs of a batch, in the plan's order and with its grids.
    fn pass(
        &self,
        options: &Options,
        pixels: &Tensor,
        pictures: &[shard::Picture],
    ) -> Result<Vec<Tensor>> {
        let made = options.wanted.run(self.model.backbone.as_ref(), pixels)?;
        let planned = pictures.first().map(|p| p.item.grid);
        let grid = made.iter().find_map(|(_, _, grid)| *grid);
        if grid.is_some() && grid != planned {
            return Err(Error::model(format!(
                "the network gave a token grid of {grid:?} where {planned:?} was planned"
            )));
        }
        Ok(made.into_iter().map(|(_, tensor, _)| tensor).collect())
    }
}

/// The view size that the first readable picture has.
fn first_view(pictures: &Pictures, framing: &Framing) -> Result<ViewSize> {
    if framing.is_fixed() {
        return Ok(framing.views(1, 1).size);
    }
    let source = pictures.source.as_ref();
    let mut sizes = (0..source.len()).filter_map(|i| size_of(source, i).ok()?);
    let (width, height) = sizes
        .next()
        .ok_or_else(|| Error::file(&pictures.path, "holds no picture that can be read"))?;
    Ok(framing.views(height, width).size)
}

fn refused(pictures: &Pictures, key: &str, reason: &str, allowed: usize) -> Error {
    let more = match allowed {
        0 => "--skip-bad N leaves out up to N unreadable pictures".to_string(),
        n => format!("{n} unreadable pictures were left out before it (--skip-bad {n})"),
    };
    Error::file(pictures.path.join(key), format!("{reason}; {more}"))
}

fn state(estimate: &Estimate, options: &Options) {
    let Share { index, count } = options.share;
    let part = match count {
        1 => String::new(),
        _ => format!("part {index}/{count}: "),
    };
    eprintln!(
        "{} pictures, {} tokens, {} MiB in {} shards, {} of them finished; {part}{} shards of {} MiB to make, about {}",
        estimate.pictures,
        estimate.tokens,
        estimate.bytes >> 20,
        estimate.shards,
        estimate.finished,
        estimate.mine,
        estimate.mine_bytes >> 20,
        indicatif::HumanDuration(Duration::from_secs_f64(estimate.seconds)),
    );
}

/// Removes what an earlier export left in `folder`, and nothing else.
fn forget(folder: &Path) -> Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Error::file(folder, e)),
    };
    for entry in entries {
        let entry = entry.map_err(|e| Error::file(folder, e))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let shard = name.starts_with("shard-")
            && (name.ends_with(".json") || name.ends_with(".safetensors"));
        let rest = [
            "manifest.json",
            "export.json",
            "index.jsonl",
            "index.parquet",
        ];
        if shard || rest.contains(&name.as_str()) {
            std::fs::remove_file(entry.path()).map_err(|e| Error::file(entry.path(), e))?;
        }
    }
    Ok(())
}
