//! Samples in order, put together into batches.

use super::{
    Batch, Message, Options, Ordered, Panicked, Prepare, Prepared, SkippedSample, Unusable, broken,
};
use crate::data::image::RgbImage;
use crate::data::pixels;
use crate::{Error, Result};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the collating thread does.
pub struct Collator<P> {
    pub prepare: Arc<P>,
    pub options: Options,
}

/// Why it ends early.
pub enum Stop {
    ReaderGone,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Failed(error)
    }
}

/// Samples of one image size.
struct Group {
    indices: Vec<usize>,
    samples: Vec<Prepared>,
}

impl<P: Prepare> Collator<P> {
    /// Takes what the workers make of `positions` out of `samples` and sends it on as batches.
    pub fn run(
        &self,
        positions: Range<usize>,
        mut samples: Ordered<Result<Prepared, Unusable>>,
        send: &impl Fn(Message) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let batch_size = self.options.batch_size.max(1);
        let mut left_out = 0;
        let mut position = positions.start;
        while position < positions.end {
            let boundary = (position / batch_size + 1).saturating_mul(batch_size);
            let end = boundary.min(positions.end);
            let mut groups: Vec<Group> = Vec::new();
            for (position, sample) in (position..end).zip(&mut samples) {
                let index = self.prepare.index(position);
                match self.usable(index, sample)? {
                    Ok(sample) => add(&mut groups, index, sample),
                    Err(reason) => {
                        let key = self.prepare.key(index);
                        left_out += 1;
                        if left_out > self.options.skip_bad {
                            return Err(self.refuse(index, &reason).into());
                        }
                        send(Message::Skipped(SkippedSample { index, key, reason }))?;
                    }
                }
            }
            for group in groups {
                send(Message::Batch(self.stage(group)?))?;
            }
            position = end;
        }
        Ok(())
    }

    /// The sample, or why it cannot be read.
    fn usable(
        &self,
        index: usize,
        sample: Result<Result<Prepared, Unusable>, Panicked>,
    ) -> Result<Result<Prepared, String>> {
        match sample {
            Ok(Ok(sample)) => Ok(Ok(sample)),
            Ok(Err(Unusable::Unreadable(reason))) => Ok(Err(reason)),
            Ok(Err(Unusable::Failed(error))) => Err(error),
            Err(Panicked(message)) => Err(broken(self.path(index), &message)),
        }
    }

    fn path(&self, index: usize) -> PathBuf {
        Path::new(&self.prepare.describe()).join(self.prepare.key(index))
    }

    fn refuse(&self, index: usize, reason: &str) -> Error {
        let reason = match self.options.skip_bad {
            0 => format!("{reason}; --skip-bad N leaves out up to N unreadable images"),
            n => {
                format!("{reason}; {n} unreadable images were left out before it (--skip-bad {n})")
            }
        };
        Error::file(self.path(index), reason)
    }

    fn stage(&self, group: Group) -> Result<Batch> {
        let count = group.samples.len();
        let mut images = Vec::with_capacity(count);
        let mut annotations = Vec::with_capacity(count);
        let mut placements = Vec::with_capacity(count);
        for sample in group.samples {
            images.push(sample.image);
            annotations.push(sample.annotation);
            placements.push(sample.placement);
        }
        Ok(Batch {
            indices: group.indices,
            pixels: pixels::stage(&images, self.options.device)?,
            annotations,
            placements,
        })
    }
}

/// Puts a sample with those of its size.
fn add(groups: &mut Vec<Group>, index: usize, sample: Prepared) {
    let size = |image: &RgbImage| (image.width, image.height);
    let alike = |group: &&mut Group| {
        group
            .samples
            .first()
            .is_some_and(|first| size(&first.image) == size(&sample.image))
    };
    match groups.iter_mut().find(alike) {
        Some(group) => {
            group.indices.push(index);
            group.samples.push(sample);
        }
        None => groups.push(Group {
            indices: vec![index],
            samples: vec![sample],
        }),
    }
}
