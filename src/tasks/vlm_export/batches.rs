//! Batches of views, read and prepared ahead of the network: a worker makes a whole batch.

use super::framing::Framing;
use super::plan::{Item, Plan};
use super::shard::Picture;
use crate::data::Source;
use crate::data::decode::{Limits, decode};
use crate::data::image::RgbImage;
use crate::data::pipeline::{Ordered, ordered};
use crate::data::pixels;
use crate::hash;
use crate::{Error, Result};
use std::sync::Arc;
use tch::{Device, Tensor};

/// A batch of one shard.
pub struct Batch {
    pub shard: usize,
    /// As [`pixels::stage`] gives them; `None` where no picture could be read.
    pub staged: Option<Tensor>,
    /// In the order of their views.
    pub pictures: Vec<Picture>,
    /// (place in the plan, name, reason)
    pub unreadable: Vec<(usize, String, String)>,
}

/// Which pictures go through the network together.
pub struct BatchPlan {
    pub shard: usize,
    /// Places in the plan.
    pub members: Vec<usize>,
}

struct Worker {
    source: Arc<dyn Source>,
    framing: Framing,
    items: Vec<Item>,
    batches: Vec<BatchPlan>,
    device: Device,
}

/// Starts preparing the batches of `shards`, in order.
pub fn start(
    source: &Arc<dyn Source>,
    framing: &Framing,
    plan: &Plan,
    shards: &[usize],
    views: usize,
    workers: usize,
    device: Device,
) -> Result<Ordered<Result<Batch>>> {
    let batches: Vec<BatchPlan> = (shards.iter())
        .flat_map(|&shard| {
            let members = plan.batches(shard, views).into_iter();
            members.map(move |members| BatchPlan { shard, members })
        })
        .collect();
    let worker = Worker {
        source: source.clone(),
        framing: framing.clone(),
        items: plan.items.clone(),
        batches,
        device,
    };
    let count = worker.batches.len();
    ordered(0..count, workers, workers + 2, move |batch| {
        worker.prepare(batch)
    })
    .map_err(no_thread)
}

impl Worker {
    fn prepare(&self, batch: usize) -> Result<Batch> {
        let BatchPlan { shard, members } = &self.batches[batch];
        let (mut images, mut pictures, mut unreadable) = (Vec::new(), Vec::new(), Vec::new());
        for &at in members {
            let key = self.source.key(self.items[at].picture).to_string();
            match self.picture(at, &key) {
                Ok((picture, views)) => {
                    pictures.push(picture);
                    images.extend(views);
                }
                Err(reason) => unreadable.push((at, key, reason)),
            }
        }
        let staged = match images.is_empty() {
            true => None,
            false => Some(pixels::stage(&images, self.device)?),
        };
        Ok(Batch {
            shard: *shard,
            staged,
            pictures,
            unreadable,
        })
    }

    fn picture(&self, at: usize, key: &str) -> Result<(Picture, Vec<RgbImage>), String> {
        let mut item = self.items[at];
        let bytes = self.source.read(item.picture).map_err(reason)?;
        let image = decode(&bytes, &Limits::default())?;
        let size = (image.height as u32, image.width as u32);
        if item.source_size != (0, 0) && item.source_size != size {
            return Err(format!(
                "its header says {}x{} pixels, it has {}x{}",
                item.source_size.1, item.source_size.0, size.1, size.0
            ));
        }
        item.source_size = size;
        let views = self.framing.apply(&image);
        let picture = Picture {
            at,
            item,
            key: key.to_string(),
            sha256: hash::sha256(&bytes),
        };
        Ok((picture, views))
    }
}

/// The system gives no thread.
pub fn no_thread(error: std::io::Error) -> Error {
    Error::model(format!(
        "the system gives no thread to read pictures with ({error}); use fewer --workers"
    ))
}

/// The sentence behind the file's name, which the caller puts there.
fn reason(error: Error) -> String {
    match error {
        Error::File { reason, .. } => reason,
        other => other.to_string(),
    }
}
