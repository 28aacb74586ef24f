//! Augmented batches of training images, drawn and put together ahead of the network.

use super::recipe::Recipe;
use crate::data::Source;
use crate::data::augment::{LabelledImage, TrainPipeline};
use crate::data::image::RgbImage;
use crate::data::ordered::{Ordered, ordered};
use crate::data::pixels;
use crate::data::rng::Rng;
use crate::data::segmentation::PairSet;
use crate::runtime::Runtime;
use crate::runtime::device::upload;
use crate::{Error, Result};
use crossbeam_channel::{Receiver, bounded};
use std::thread::JoinHandle;
use tch::{Device, Tensor};

/// Streams of random numbers that a seed is split into.
const ORDER: u64 = 1;
const AUGMENTATION: u64 = 2;

/// The images of iterations `first..end`, in order: one shuffled pass over the split after the
/// other (mmengine's `InfiniteSampler`). A function of the seed alone, so that a resumed run sees
/// the images that an uninterrupted one sees.
fn order(n: usize, batch: usize, first: u64, end: u64, seed: u64) -> Vec<u32> {
    let (first, end) = (first as usize * batch, end as usize * batch);
    let mut order = Vec::with_capacity(end - first);
    for pass in first / n..end.div_ceil(n) {
        let mut shuffled: Vec<u32> = (0..n as u32).collect();
        let mut rng = Rng::new(&[seed, ORDER, pass as u64]);
        for i in (1..n).rev() {
            shuffled.swap(i, rng.below(i + 1));
        }
        let from = first.saturating_sub(pass * n);
        let to = (end - pass * n).min(n);
        order.extend(&shuffled[from..to]);
    }
    order
}

/// What worker threads do.
struct TrainImages {
    set: PairSet,
    pipeline: TrainPipeline,
    /// Image of each sample.
    order: Vec<u32>,
    /// Number of the first sample within the run.
    first: u64,
    seed: u64,
}

impl TrainImages {
    fn sample(&self, item: usize) -> Result<LabelledImage> {
        let (image, labels) = self.set.pair(self.order[item] as usize)?;
        let sample = LabelledImage { image, labels };
        let mut rng = Rng::new(&[self.seed, AUGMENTATION, self.first + item as u64]);
        Ok(self.pipeline.apply(&sample, &mut rng))
    }
}

/// Pixels as [`pixels::stage`] gives them and labels uint8 [B,side,side], on the CPU.
type Staged = (Tensor, Tensor);

/// Iterator over the batches of the iterations that are left.
pub struct TrainBatches {
    // `None` while being dropped, so that the collator's send fails.
    staged: Option<Receiver<Result<Staged>>>,
    collator: Option<JoinHandle<()>>,
    device: Device,
}

impl TrainBatches {
    /// Batches from iteration `first` on, of images padded to `side`.
    pub fn start(
        set: &PairSet,
        recipe: &Recipe,
        seed: u64,
        first: u64,
        side: i64,
        runtime: &Runtime,
    ) -> Self {
        let (crop, side, batch) = (recipe.crop() as usize, side as usize, recipe.batch_size);
        let images = TrainImages {
            set: set.clone(),
            pipeline: TrainPipeline {
                scale: recipe.scale.into(),
                ratio: recipe.ratio.into(),
                crop: (crop, crop),
                cat_max_ratio: recipe.cat_max_ratio,
                photometric: recipe.photometric,
                pad: (side, side),
            },
            order: order(set.len(), batch, first, recipe.iterations, seed),
            first: first * batch as u64,
            seed,
        };
        let device = runtime.device;
        let count = images.order.len();
        let samples = ordered(count, runtime.workers, 2 * batch, move |i| images.sample(i));
        let described = set.describe();
        let (sender, staged) = bounded(1);
        let collator = std::thread::spawn(move || {
            let mut samples = samples;
            for _ in 0..count / batch {
                let next = collate(&mut samples, batch, device, &described);
                let failed = next.is_err();
                if sender.send(next).is_err() || failed {
                    return;
                }
            }
        });
        TrainBatches {
            staged: Some(staged),
            collator: Some(collator),
            device,
        }
    }

    /// Pixels [B,3,side,side] in [0,1] and labels uint8 [B,side,side], on the device.
    fn place(&self, (pixels, labels): Staged) -> Result<(Tensor, Tensor)> {
        Ok((
            pixels::place(pixels, self.device)?,
            upload(labels, self.device)?,
        ))
    }
}

impl Iterator for TrainBatches {
    type Item = Result<(Tensor, Tensor)>;

    fn next(&mut self) -> Option<Self::Item> {
        let staged = self.staged.as_ref()?.recv().ok()?;
        Some(staged.and_then(|staged| self.place(staged)))
    }
}

impl Drop for TrainBatches {
    fn drop(&mut self) {
        self.staged = None;
        if let Some(collator) = self.collator.take() {
            // Its panics were already seen as a closed channel.
            let _ = collator.join();
        }
    }
}

fn collate(
    samples: &mut Ordered<Result<LabelledImage>>,
    batch: usize,
    device: Device,
    described: &str,
) -> Result<Staged> {
    let mut labels = Vec::new();
    let mut images: Vec<RgbImage> = Vec::with_capacity(batch);
    for sample in samples.take(batch) {
        let sample = sample?;
        labels.extend(sample.labels.labels);
        images.push(sample.image);
    }
    let (Some(image), true) = (images.first(), images.len() == batch) else {
        return Err(Error::file(described, "a loader thread ended unexpectedly"));
    };
    let shape = [batch as i64, image.height as i64, image.width as i64];
    let labels = Tensor::f_from_slice(&labels)?.f_view(shape)?;
    Ok((pixels::stage(&images, device)?, labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pass_shuffles_all_images_and_a_resumed_run_goes_on() {
        let whole = order(5, 2, 0, 10, 3);
        assert_eq!(whole.len(), 20);
        for pass in whole.chunks(5) {
            let mut sorted = pass.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4]);
        }
        assert_ne!(whole[..5], whole[5..10]);
        assert_eq!(order(5, 2, 4, 10, 3), whole[8..]);
        assert_ne!(order(5, 2, 0, 10, 4), whole);
    }
}
