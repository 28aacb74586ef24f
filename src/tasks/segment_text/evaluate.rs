//! The val split through the network, into counts that are kept on disk picture by picture, so
//! that a stopped run goes on.

use super::decide::{Below, Decision, decide};
use super::prepare::Prepared;
use super::segmenter::{Seconds, Seen};
use crate::data::Source;
use crate::data::augment::resize;
use crate::data::image::RgbImage;
use crate::data::pipeline::{Ordered, Panicked, ordered};
use crate::data::pixels;
use crate::data::segmentation::{PairSet, WideLabelMap};
use crate::hash::sha256;
use crate::metrics::segmentation::{Confusion, ImageAreas};
use crate::runtime::{Runtime, home, interrupt, progress};
use crate::store::{Column, Dtype, Reader, Row, Share, Writer, part_folder};
use crate::tasks::pictures::Predictions;
use crate::{Error, Result};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Column of (label, prediction, pixels) of every pair that occurs in a picture.
const PAIRS: &str = "pairs";
/// Column of the numbers of [`Facts`].
const FACTS: &str = "facts";
/// How often finished pictures are made to survive a crash, after the first.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// One pass over a split.
pub struct Evaluation<'a> {
    pub prepared: &'a Prepared<'a>,
    pub set: &'a PairSet,
    pub below: Below,
    pub runtime: &'a Runtime,
    pub predictions: Option<&'a Predictions>,
    pub show: bool,
}

/// What a picture was like, besides its labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Facts {
    pixels: u64,
    /// Pixels below the threshold.
    below: u64,
    /// Classes removed.
    removed: u64,
    /// 1 where no class was left.
    empty: u64,
    /// Height and width that were fed.
    fed: (u64, u64),
    windows: u64,
}

/// The whole split.
pub struct Counted {
    pub confusion: Confusion,
    /// Per picture, for the interval.
    pub images: Vec<ImageAreas>,
    pub pixels: u64,
    pub below: u64,
    pub removed: u64,
    /// Pictures in which no class was left.
    pub empty: usize,
    /// Pictures by the size that was fed, `HxW`.
    pub fed: BTreeMap<String, u64>,
    pub windows: u64,
}

/// What this run computed, without what an earlier one had.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spent {
    pub images: usize,
    pub wall: f64,
    pub seconds: Seconds,
    /// Enlarging scores and choosing labels.
    pub labels: f64,
}

impl Evaluation<'_> {
    /// `key`: everything that decides the counts.
    pub fn run(&self, key: Value, restart: bool) -> Result<(Counted, Spent)> {
        let folder = home()
            .join("cache/segment-text")
            .join(sha256(key.to_string()));
        let total = self.set.len();
        let mut writer = Writer::open(&part_folder(&folder, Share::ALL), key, total)?;
        if restart || !self.has_pictures(writer.done()) {
            writer.reset()?;
        }
        writer.declare(&[
            Column::ragged(PAIRS, Dtype::I64, &[3]),
            Column::fixed(FACTS, Dtype::I64, &[7]),
        ])?;
        match writer.done() {
            0 => {}
            n if n == total => tracing::info!("{}: labels from the cache", self.set.describe()),
            n => tracing::info!("{}: going on from image {n}", self.set.describe()),
        }
        let mut spent = Spent::default();
        let outcome = self.fill(&mut writer, &mut spent);
        // Also where it failed: what is finished is kept.
        let kept = writer.commit();
        outcome.and(kept)?;
        let reader = Reader::new(vec![writer.finish()?]);
        Ok((self.count(&reader)?, spent))
    }

    /// Whether the pictures of what is done lie where the user wants them.
    fn has_pictures(&self, done: usize) -> bool {
        let predictions = self.predictions;
        predictions.is_none_or(|p| (0..done).all(|index| p.has(self.set, index)))
    }

    fn fill(&self, writer: &mut Writer, spent: &mut Spent) -> Result<()> {
        let before = writer.done();
        let label = format!(
            "{} {}",
            self.prepared.segmenter.model.name,
            self.set.describe()
        );
        let total = self.set.len();
        let bar = progress::bar(self.show, &label, "images", total as u64, before as u64);
        let started = Instant::now();
        let mut committed: Option<Instant> = None;
        for (index, loaded) in (before..total).zip(self.load(before..total)?) {
            interrupt::check()?;
            let (image, labels) = loaded
                .map_err(|Panicked(reason)| Error::file(self.set.image_path(index), reason))??;
            let row = self.row(index, &image, &labels, spent)?;
            writer.append(&[row], Vec::new())?;
            bar.inc(1);
            if committed.is_none_or(|at| at.elapsed() > COMMIT_EVERY) {
                writer.commit()?;
                committed = Some(Instant::now());
            }
        }
        bar.finish_and_clear();
        spent.images = total - before;
        spent.wall = started.elapsed().as_secs_f64();
        Ok(())
    }

    /// Pictures as they are fed, and their labels, in order, from other threads.
    fn load(
        &self,
        range: std::ops::Range<usize>,
    ) -> Result<Ordered<Result<(RgbImage, WideLabelMap)>>> {
        let set = self.set.clone();
        let settings = &self.prepared.segmenter.settings;
        let scale = (settings.long_side, settings.short_side);
        let workers = self.runtime.workers;
        let load = move |index: usize| {
            let (image, labels) = set.wide_pair(index)?;
            let image = resize::test_time(&image, scale)
                .map_err(|reason| Error::file(set.image_path(index), reason))?;
            Ok((image, labels))
        };
        ordered(range, workers, 2 * workers, load).map_err(|e| {
            Error::model(format!(
                "no thread to read pictures with could be started ({e})"
            ))
        })
    }

    fn row(
        &self,
        index: usize,
        image: &RgbImage,
        labels: &WideLabelMap,
        spent: &mut Spent,
    ) -> Result<Row> {
        let size = (labels.height as i64, labels.width as i64);
        let (seen, decision, seconds) =
            segment(self.prepared, image, size, self.below, self.runtime).map_err(|error| {
                match error {
                    Error::Model(reason) => Error::file(self.set.image_path(index), reason),
                    other => other,
                }
            })?;
        spent.seconds.backbone += seen.seconds.backbone;
        spent.seconds.aggregation += seen.seconds.aggregation;
        spent.seconds.head += seen.seconds.head;
        spent.labels += seconds;
        if let Some(predictions) = self.predictions {
            predictions.save(self.set, index, &labels.labels, &decision.labels)?;
        }
        let facts = Facts {
            pixels: decision.labels.len() as u64,
            below: decision.below,
            removed: decision.removed.iter().filter(|removed| **removed).count() as u64,
            empty: u64::from(decision.is_empty()),
            fed: (seen.fed.0 as u64, seen.fed.1 as u64),
            windows: seen.windows as u64,
        };
        let pairs = pairs(
            &labels.labels,
            &decision.labels,
            self.prepared.names.classes,
        );
        let pairs = pairs.iter().flat_map(|(&(label, prediction), &n)| {
            [u64::from(label), u64::from(prediction), n].map(u64::to_le_bytes)
        });
        Ok(Row {
            cells: vec![pairs.flatten().collect(), facts.bytes()],
        })
    }

    /// Adds up what the rows hold.
    fn count(&self, reader: &Reader) -> Result<Counted> {
        let classes = self.prepared.names.classes;
        let mut counted = Counted {
            confusion: Confusion::new(classes),
            images: Vec::with_capacity(self.set.len()),
            pixels: 0,
            below: 0,
            removed: 0,
            empty: 0,
            fed: BTreeMap::new(),
            windows: 0,
        };
        let (pairs, facts) = (reader.column(PAIRS)?, reader.column(FACTS)?);
        for row in 0..reader.rows() {
            interrupt::check()?;
            let damaged = || Error::model("a store of labels ends before its rows do");
            let cell = pairs.row(row).ok_or_else(damaged)?;
            let triples = cell.as_chunks::<24>().0.iter().map(|triple| {
                let numbers = triple.as_chunks::<8>().0;
                [0, 1, 2].map(|i| u64::from_le_bytes(numbers[i]))
            });
            let triples: Vec<(usize, usize, u64)> = triples
                .map(|[label, prediction, n]| (label as usize, prediction as usize, n))
                .collect();
            for &(label, prediction, n) in &triples {
                counted.confusion.add_pixels(label, prediction, n);
            }
            counted.images.push(ImageAreas::from_pairs(&triples));
            let facts = Facts::read(facts.row(row).ok_or_else(damaged)?);
            counted.pixels += facts.pixels;
            counted.below += facts.below;
            counted.removed += facts.removed;
            counted.empty += facts.empty as usize;
            let fed = format!("{}x{}", facts.fed.0, facts.fed.1);
            *counted.fed.entry(fed).or_default() += 1;
            counted.windows += facts.windows;
        }
        Ok(counted)
    }
}

/// One resized picture to labels of `size` (height, width); and the seconds that the last step took.
pub fn segment(
    prepared: &Prepared,
    image: &RgbImage,
    size: (i64, i64),
    below: Below,
    runtime: &Runtime,
) -> Result<(Seen, Decision, f64)> {
    let staged = pixels::stage(std::slice::from_ref(image), runtime.device)?;
    let pixels = pixels::place(staged, runtime.device)?;
    let seen = prepared.segmenter.see(&pixels)?;
    let started = Instant::now();
    let decision = decide(&seen.scores, size, &prepared.rules(below))?;
    Ok((seen, decision, started.elapsed().as_secs_f64()))
}

/// Pixels by (label, prediction), of labels that are a class.
fn pairs(labels: &[u16], predictions: &[u16], classes: usize) -> BTreeMap<(u16, u16), u64> {
    let mut pairs = BTreeMap::new();
    // Runs of equal pairs are long.
    let mut run: Option<((u16, u16), u64)> = None;
    for (&label, &prediction) in labels.iter().zip(predictions) {
        if usize::from(label) >= classes {
            continue;
        }
        match &mut run {
            Some((pair, n)) if *pair == (label, prediction) => *n += 1,
            _ => {
                if let Some((pair, n)) = run.replace(((label, prediction), 1)) {
                    *pairs.entry(pair).or_default() += n;
                }
            }
        }
    }
    if let Some((pair, n)) = run {
        *pairs.entry(pair).or_default() += n;
    }
    pairs
}

impl Facts {
    fn bytes(self) -> Vec<u8> {
        let numbers = [
            self.pixels,
            self.below,
            self.removed,
            self.empty,
            self.fed.0,
            self.fed.1,
            self.windows,
        ];
        numbers.into_iter().flat_map(u64::to_le_bytes).collect()
    }

    fn read(bytes: &[u8]) -> Self {
        let numbers = bytes.as_chunks::<8>().0;
        let number = |i: usize| numbers.get(i).map_or(0, |n| u64::from_le_bytes(*n));
        Facts {
            pixels: number(0),
            below: number(1),
            removed: number(2),
            empty: number(3),
            fed: (number(4), number(5)),
            windows: number(6),
        }
    }
}

impl Counted {
    /// Sentences about pictures in which denoising left nothing.
    pub fn warnings(&self) -> Option<String> {
        (self.empty > 0).then(|| {
            format!(
                "in {} of {} pictures no class reached the denoising threshold: all their pixels are the first class",
                self.empty,
                self.images.len()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::segmentation::WIDE_IGNORE;

    #[test]
    fn pairs_are_those_of_a_confusion_matrix() {
        let labels = [0, 0, 1, 1, WIDE_IGNORE, 0];
        let predictions = [0, 0, 0, 1, 1, 0];
        let found = pairs(&labels, &predictions, 2);
        let mut confusion = Confusion::new(2);
        confusion.add(&labels, &predictions);
        let found: Vec<(usize, usize, u64)> = found
            .into_iter()
            .map(|((label, prediction), n)| (label.into(), prediction.into(), n))
            .collect();
        assert!(confusion.entries().eq(found.iter().copied()));
        assert_eq!(
            ImageAreas::from_pairs(&found),
            ImageAreas::from_confusion(&confusion)
        );
    }

    #[test]
    fn facts_survive_the_disk() {
        let facts = Facts {
            pixels: 5,
            below: 1,
            removed: 2,
            empty: 0,
            fed: (64, 96),
            windows: 6,
        };
        assert_eq!(Facts::read(&facts.bytes()), facts);
    }
}
