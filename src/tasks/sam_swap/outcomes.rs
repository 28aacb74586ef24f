//! What came of every instance, kept on disk image by image: a stopped run goes on where it was, and
//! the same run again reads it all back.

use super::judge::{Outcome, Target};
use super::size::original_size;
use crate::data::Source;
use crate::data::coco::{CocoSet, mask};
use crate::data::pipeline::{Panicked, ordered};
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

/// An image's place in the frame, and its instances.
type Prepared = Result<(Placement, Vec<Target>)>;

/// The outcomes of each image's instances of an area of one pixel at least, in the file's order;
/// `judge` is given the position among the images and what was prepared. And the images that took.
pub fn outcomes(
    images: &Images,
    key: Value,
    mut judge: impl FnMut(usize, &Placement, &[Target]) -> Result<Vec<Outcome>>,
) -> Result<(Vec<Vec<Outcome>>, usize)> {
    let folder = home().join("cache/sam_swap").join(sha256(key.to_string()));
    let total = images.indices.len();
    let mut writer = Writer::open(&part_folder(&folder, Share::ALL), key, total)?;
    writer.declare(&[
        Column::ragged(COUNTS, Dtype::I64, &[3]),
        Column::ragged(PREDICTED, Dtype::F32, &[]),
    ])?;
    let before = writer.done();
    let mut fill = || -> Result<()> {
        let label = format!("prompting {}", images.set.describe());
        let bar = progress::bar(images.show, &label, "images", total as u64, before as u64);
        let mut committed = Instant::now();
        for (position, prepared) in (before..).zip(prepare(images, before)?) {
            let (placement, targets) = prepared.map_err(|Panicked(panic)| {
                let path = images.set.image_path(images.indices[position]);
                Error::file(path, format!("preparing its instances failed: {panic}"))
            })??;
            let outcomes = judge(position, &placement, &targets)?;
            writer.append(&[row(&outcomes)], Vec::new())?;
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
    let reader = Reader::new(vec![writer.finish()?]);
    Ok((read(&reader, total)?, total - before))
}

/// Placements and targets from image `first` on, made in worker threads.
fn prepare(
    images: &Images,
    first: usize,
) -> Result<impl Iterator<Item = std::result::Result<Prepared, Panicked>>> {
    let (set, indices) = (images.set.clone(), images.indices.to_vec());
    let (transform, total) = (images.transform, indices.len());
    ordered(first..total, images.workers, 2 * images.workers, move |position| {
        let index = indices[position];
        let fail = |reason: String| Error::file(set.image_path(index), reason);
        let (height, width) = original_size(&set, index)?;
        let placement = transform.placement(height, width).map_err(fail)?;
        let target = |instance| -> Result<Target> {
            let runs = mask::runs(instance, height, width).map_err(fail)?;
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
        let targets = super::counted(set.instances(index)).map(target);
        Ok((placement, targets.collect::<Result<_>>()?))
    })
    .map_err(|e| {
        Error::model(format!(
            "the system gives no thread to prepare instances with ({e}); end other programs, or raise the limit on processes"
        ))
    })
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
            "holds damaged outcomes; radio-eval cache --clear",
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
