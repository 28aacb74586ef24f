//! What came of every instance, kept on disk image by image: a stopped run goes on where it was, and
//! the same run again reads it all back.

use super::judge::{Outcome, Target};
use super::size::original_size;
use crate::data::Source;
use crate::data::annotation::Instance;
use crate::data::coco::{CocoSet, mask};
use crate::data::pipeline::{Ordered, Panicked, ordered};
use crate::data::transform::{Placement, Transform};
use crate::hash::sha256;
use crate::runtime::{home, progress};
use crate::store::{Column, Dtype, Reader, Row, Share, Writer, part_folder};
use crate::{Error, Result};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const COUNTS: &str = "counts";
const PREDICTED: &str = "predicted_iou";

/// How often what is finished is made to survive a crash.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// The images to be judged, and how they came to the network.
pub struct Images<'a> {
    pub set: &'a Arc<CocoSet>,
    /// In the order of the embeddings.
    pub indices: &'a [usize],
    pub transform: Transform,
    pub workers: usize,
    pub show: bool,
}

impl Images<'_> {
    /// A row per image, from the store of `key` as far as it has them; `prepare` makes what an
    /// image of an index and a size needs, in worker threads, and `judge` makes the row of the image
    /// at a position. And the images that took.
    pub fn judged<P: Send + 'static>(
        &self,
        key: Value,
        columns: &[Column],
        prepare: impl Fn(&CocoSet, usize, (usize, usize)) -> Result<P> + Send + Sync + 'static,
        mut judge: impl FnMut(usize, &Placement, P) -> Result<Row>,
    ) -> Result<(Reader, usize)> {
        let folder = home().join("cache/sam_swap").join(sha256(key.to_string()));
        let total = self.indices.len();
        let mut writer = Writer::open(&part_folder(&folder, Share::ALL), key, total)?;
        writer.declare(columns)?;
        let before = writer.done();
        let fill = || -> Result<()> {
            let label = format!("prompting {}", self.set.describe());
            let bar = progress::bar(self.show, &label, "images", total as u64, before as u64);
            let mut committed = Instant::now();
            for (position, prepared) in (before..).zip(self.prepare(before, prepare)?) {
                let (placement, prepared) = prepared.map_err(|Panicked(panic)| {
                    let path = self.set.image_path(self.indices[position]);
                    Error::file(path, format!("preparing its prompts failed: {panic}"))
                })??;
                writer.append(&[judge(position, &placement, prepared)?], Vec::new())?;
                bar.set_position(writer.done() as u64);
                if committed.elapsed() > COMMIT_EVERY {
                    writer.commit()?;
                    committed = Instant::now();
                }
            }
            bar.finish_and_clear();
            Ok(())
        };
        let filled = fill();
        // Also where it failed: what is finished is kept.
        let kept = writer.commit();
        filled.and(kept)?;
        Ok((Reader::new(vec![writer.finish()?]), total - before))
    }

    /// What images from `first` on need, with their places in the frame.
    fn prepare<P: Send + 'static>(
        &self,
        first: usize,
        prepare: impl Fn(&CocoSet, usize, (usize, usize)) -> Result<P> + Send + Sync + 'static,
    ) -> Result<Ordered<Result<(Placement, P)>>> {
        let (set, indices) = (self.set.clone(), self.indices.to_vec());
        let (transform, total) = (self.transform, indices.len());
        ordered(first..total, self.workers, 2 * self.workers, move |position| {
            let index = indices[position];
            let (height, width) = original_size(&set, index)?;
            let placement = transform.placement(height, width);
            let placement =
                placement.map_err(|reason| Error::file(set.image_path(index), reason))?;
            Ok((placement, prepare(&set, index, (height, width))?))
        })
        .map_err(|e| {
            Error::model(format!(
                "the system gives no thread to prepare prompts with ({e}); end other programs, or raise the limit on processes"
            ))
        })
    }
}

/// The outcomes of each image's instances of an area of one pixel at least, in the file's order;
/// `judge` is given the position among the images and its targets. And the images that took.
pub fn outcomes(
    images: &Images,
    key: Value,
    mut judge: impl FnMut(usize, &Placement, &[Target]) -> Result<Vec<Outcome>>,
) -> Result<(Vec<Vec<Outcome>>, usize)> {
    let columns = [
        Column::ragged(COUNTS, Dtype::I64, &[3]),
        Column::ragged(PREDICTED, Dtype::F32, &[]),
    ];
    let judge = |position: usize, placement: &Placement, targets: Vec<Target>| {
        Ok(row(&judge(position, placement, &targets)?))
    };
    let (reader, judged) = images.judged(key, &columns, targets, judge)?;
    Ok((read(&reader, images.indices.len())?, judged))
}

/// The instances of an image of `size` (height, width).
fn targets(set: &CocoSet, index: usize, (height, width): (usize, usize)) -> Result<Vec<Target>> {
    let target = |instance: &Instance| -> Result<Target> {
        let runs = mask::runs(instance, height, width)
            .map_err(|reason| Error::file(set.image_path(index), reason))?;
        let runs = runs.ok_or_else(|| {
            Error::file(
                &set.annotations_path,
                format!("annotation {} has no mask to compare with", instance.id),
            )
        })?;
        Ok(Target {
            bounds: instance.bounds,
            runs,
        })
    };
    super::counted(set.instances(index)).map(target).collect()
}

fn row(outcomes: &[Outcome]) -> Row {
    let counts = outcomes.iter().flat_map(|outcome| {
        let counts = [outcome.intersection, outcome.union, u64::from(outcome.mask)];
        counts.into_iter().flat_map(u64::to_le_bytes)
    });
    let predicted = outcomes.iter().flat_map(|o| o.predicted_iou.to_le_bytes());
    Row {
        cells: vec![counts.collect(), predicted.collect()],
    }
}

fn read(reader: &Reader, images: usize) -> Result<Vec<Vec<Outcome>>> {
    let damaged = || {
        let folder = home().join("cache/sam_swap");
        Error::file(
            Path::new(&folder),
            "holds damaged outcomes; take them away with radio-eval cache prune",
        )
    };
    if images == 0 {
        return Ok(Vec::new());
    }
    let (counts, predicted) = (reader.column(COUNTS)?, reader.column(PREDICTED)?);
    let image = |at: usize| {
        let counts = counts.row(at).ok_or_else(damaged)?;
        let predicted = predicted.row(at).ok_or_else(damaged)?;
        let (counts, _) = counts.as_chunks::<8>();
        let (predicted, _) = predicted.as_chunks::<4>();
        let outcome = |(counts, predicted): (&[[u8; 8]], &[u8; 4])| Outcome {
            intersection: u64::from_le_bytes(counts[0]),
            union: u64::from_le_bytes(counts[1]),
            mask: u64::from_le_bytes(counts[2]) as u8,
            predicted_iou: f32::from_le_bytes(*predicted),
        };
        Ok(counts.chunks_exact(3).zip(predicted).map(outcome).collect())
    };
    (0..images).map(image).collect()
}
