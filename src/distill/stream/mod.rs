//! Pictures for training: which one is where in the run follows from the seed and its position
//! alone, so that a run goes on at the very sample where it stopped, whatever the batches.

mod augment;
mod mixture;

pub use augment::View;
pub use mixture::Mixture;

use super::config::{AugmentConfig, DistillConfig};
use crate::data::decode::{Limits, decode_part};
use crate::data::image::RgbImage;
use crate::data::pipeline::{Ordered, ordered};
use crate::data::pixels;
use crate::rng::Rng;
use crate::runtime::interrupt;
use crate::{Error, Result};
use augment::Crop;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use tch::{Device, Kind, Tensor};

/// The streams of random numbers, out of a seed's.
const AUGMENTATION: u64 = 21;
const REPLACEMENT: u64 = 22;
/// Pictures tried in the place of one that cannot be read.
const REPLACEMENTS: u64 = 8;
/// Steps that the workers may be ahead.
const STEPS_AHEAD: usize = 3;

/// How the pictures of a step are divided and shown; the same for all steps of a stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// Per partition: pictures, and the sizes at which each is shown, the student's first.
    pub partitions: Vec<(usize, Vec<View>)>,
}

impl Layout {
    /// Pictures of a step.
    pub fn images(&self) -> usize {
        self.partitions.iter().map(|(count, _)| count).sum()
    }

    /// The partition of the picture `i` of a step.
    fn partition_of(&self, mut i: usize) -> usize {
        for (partition, (count, _)) in self.partitions.iter().enumerate() {
            if i < *count {
                return partition;
            }
            i -= count;
        }
        0
    }
}

/// The pictures of one partition of a step.
pub struct PartitionPixels {
    /// Their positions in the run.
    pub positions: Vec<usize>,
    /// Their crops' numbers, where crops are fixed.
    pub slots: Vec<usize>,
    /// By the layout's views; the student's is whole.
    pub views: Vec<ViewPixels>,
}

/// Pictures at one size: all of a partition, or those that some teacher has yet to see.
pub struct ViewPixels {
    /// Which of the partition's pictures these are, ascending.
    pub rows: Vec<usize>,
    /// `[rows,3,H,W]` fp32 in `[0,1]`, on the device.
    pub pixels: Tensor,
}

impl ViewPixels {
    /// Those of the partition's pictures `wanted` that are here: which, and their pixels.
    pub fn rows(&self, wanted: &Range<usize>) -> Result<(&[usize], Tensor)> {
        let first = self.rows.partition_point(|row| *row < wanted.start);
        let end = self.rows.partition_point(|row| *row < wanted.end);
        let length = (end - first) as i64;
        let pixels = self.pixels.f_narrow(0, first as i64, length)?;
        Ok((&self.rows[first..end], pixels))
    }
}

/// Fixed crops: how many of each picture, and what of them is still asked for.
#[derive(Clone)]
pub struct FixedCrops {
    pub crops: usize,
    /// Whether some teacher has yet to see a slot at a view (by partition and view).
    pub wanted: Arc<dyn Fn(usize, (usize, usize)) -> bool + Send + Sync>,
}

/// Everything that makes a picture.
struct Maker {
    mixture: Mixture,
    augment: AugmentConfig,
    layout: Layout,
    /// Position of the stage's first picture.
    first: usize,
    seed: u64,
    /// Pictures that could not be read, by position.
    skipped: Mutex<BTreeMap<usize, String>>,
    allowed: usize,
    fixed: Option<FixedCrops>,
}

/// One picture at the sizes that are asked for, and the number of its crop.
struct Shown {
    slot: usize,
    images: Vec<Option<RgbImage>>,
}

/// The steps of a stage, in order.
pub struct Stream {
    maker: Arc<Maker>,
    samples: Ordered<Result<Shown>>,
    position: usize,
    device: Device,
}

/// Opens the sources of a configuration.
pub fn open(config: &DistillConfig) -> Result<Mixture> {
    Mixture::open(&config.data, config.run.seed)
}

impl Stream {
    /// Positions `positions` of the run, of which `first` is the stage's first.
    pub fn new(
        mixture: Mixture,
        config: &DistillConfig,
        layout: Layout,
        (first, positions): (usize, Range<usize>),
        fixed: Option<FixedCrops>,
        (workers, device): (usize, Device),
    ) -> Result<Self> {
        let ahead = layout.images().saturating_mul(STEPS_AHEAD);
        let maker = Arc::new(Maker {
            mixture,
            augment: config.augment.clone(),
            layout,
            first,
            seed: config.run.seed,
            skipped: Mutex::default(),
            allowed: config.run.skip_bad,
            fixed,
        });
        let worker = Arc::clone(&maker);
        let start = positions.start;
        let samples = ordered(positions, workers, ahead, move |position| {
            worker.make(position)
        })
        .map_err(|e| {
            Error::model(format!(
                "the system gives no thread to load images with ({e})"
            ))
        })?;
        Ok(Stream {
            maker,
            samples,
            position: start,
            device,
        })
    }

    /// The next step's pictures, by partition.
    ///
    /// # Errors
    /// A picture cannot be read and no more may be replaced.
    pub fn next_step(&mut self) -> Result<Vec<PartitionPixels>> {
        let layout = self.maker.layout.clone();
        let mut step = Vec::with_capacity(layout.partitions.len());
        for (count, views) in &layout.partitions {
            let mut shown: Vec<(Vec<usize>, Vec<RgbImage>)> =
                views.iter().map(|_| Default::default()).collect();
            let (first, mut slots) = (self.position, Vec::with_capacity(*count));
            for row in 0..*count {
                interrupt::check()?;
                let sample = self.sample()?;
                slots.push(sample.slot);
                for ((rows, images), image) in shown.iter_mut().zip(sample.images) {
                    if let Some(image) = image {
                        rows.push(row);
                        images.push(image);
                    }
                }
            }
            let views = shown.into_iter().zip(views).map(|((rows, images), view)| {
                let pixels = match images.is_empty() {
                    true => {
                        let shape = [0, 3, view.height as i64, view.width as i64];
                        Tensor::f_zeros(shape, (Kind::Float, self.device))?
                    }
                    false => pixels::place(pixels::stage(&images, self.device)?, self.device)?,
                };
                Ok(ViewPixels { rows, pixels })
            });
            step.push(PartitionPixels {
                positions: (first..self.position).collect(),
                slots,
                views: views.collect::<Result<_>>()?,
            });
        }
        Ok(step)
    }

    fn sample(&mut self) -> Result<Shown> {
        let sample = (self.samples.next())
            .ok_or_else(|| Error::model("the loading of pictures ended before the run did"))?;
        self.position += 1;
        sample.map_err(|panic| {
            Error::model(format!(
                "loading failed inside radio-eval: {}; please report this",
                panic.0
            ))
        })?
    }

    /// Pictures replaced up to now in this session: position and reason.
    pub fn skipped(&self) -> BTreeMap<usize, String> {
        let skipped = self.maker.skipped.lock();
        skipped.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Maker {
    /// The picture at `position`; one that cannot be read is replaced by another, drawn from the
    /// position alone.
    fn make(&self, position: usize) -> Result<Shown> {
        let mut rng = Rng::new(&[self.seed, REPLACEMENT, position as u64]);
        let mut chosen = self.mixture.at(position);
        for _ in 0..REPLACEMENTS {
            let (source, index) = chosen;
            match self.show(position, source, index) {
                Ok(shown) => return Ok(shown),
                Err(reason) => self.skip(position, self.mixture.key(source, index), reason)?,
            }
            chosen = (source, rng.below(self.mixture.len(source)));
        }
        Err(Error::model(format!(
            "{REPLACEMENTS} pictures in the place of one that cannot be read could not be read either"
        )))
    }

    fn skip(&self, position: usize, key: String, reason: String) -> Result<()> {
        let mut skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        skipped.insert(position, format!("{key}: {reason}"));
        if skipped.len() > self.allowed {
            let hint = match self.allowed {
                0 => "; run.skip_bad = N (--skip-bad N) replaces up to N".to_string(),
                n => format!("; {n} were replaced before it (skip_bad = {n})"),
            };
            return Err(Error::file(key, format!("{reason}{hint}")));
        }
        tracing::warn!("replaced {key}: {reason}");
        Ok(())
    }

    /// The augmented picture at every size that is asked for, or why it cannot be read.
    fn show(&self, position: usize, source: usize, index: usize) -> Result<Shown, String> {
        let bytes = self
            .mixture
            .read(source, index)
            .map_err(|e| e.to_string())?;
        let i = (position - self.first) % self.layout.images();
        let partition = self.layout.partition_of(i);
        let (_, views) = &self.layout.partitions[partition];
        let (slot, rng) = self.draws(position, source, index);
        let crop = |height: usize, width: usize| {
            Crop::draw(&self.augment, (height, width), views[0], &mut rng.clone())
        };
        let limits = Limits::default();
        let part = decode_part(&bytes, &limits, |height, width| crop(height, width).region)?;
        let crop = crop(part.height, part.width);
        let image = crop.cut(&part);
        let wanted = |view: usize| match &self.fixed {
            Some(fixed) => view == 0 || (fixed.wanted)(slot, (partition, view)),
            None => true,
        };
        let images = views.iter().enumerate();
        Ok(Shown {
            slot,
            images: images
                .map(|(number, view)| wanted(number).then(|| view.show(&image)))
                .collect(),
        })
    }

    /// The number of a picture's crop, and the random numbers that draw it: of its position in the
    /// run, or, where crops are fixed, of the picture and the crop.
    fn draws(&self, position: usize, source: usize, index: usize) -> (usize, Rng) {
        let Some(fixed) = &self.fixed else {
            return (0, Rng::new(&[self.seed, AUGMENTATION, position as u64]));
        };
        let picture = self.mixture.number(source, index);
        let crop = self.mixture.pass(position) % fixed.crops;
        let seeds = [self.seed, AUGMENTATION, picture as u64, crop as u64];
        (picture * fixed.crops + crop, Rng::new(&seeds))
    }
}
