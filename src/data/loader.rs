//! Batches of pixels, read and prepared ahead of the network.
//!
//! Worker threads read, decode and resize single images; one more thread puts them together into
//! tensors; the reader gets batches in the order of `indices`, whatever the number of threads.

use super::decode::{self, Limits};
use super::image::RgbImage;
use super::ordered::{Ordered, ordered};
use super::pixels;
use super::source::Source;
use super::transform::Transform;
use crate::runtime::interrupt;
use crate::{Error, Result};
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use std::sync::Arc;
use std::time::Duration;
use tch::{Device, Tensor};

/// How to load.
#[derive(Debug, Clone, Copy)]
pub struct LoaderOptions {
    /// Consecutive indices per batch; a batch of several image sizes is handed out in parts.
    pub batch_size: usize,
    /// Threads that read, decode and resize.
    pub workers: usize,
    /// Unreadable images that may be left out before loading fails.
    pub skip_bad: usize,
    /// Where the pixels go.
    pub device: Device,
    pub limits: Limits,
}

impl Default for LoaderOptions {
    fn default() -> Self {
        LoaderOptions {
            batch_size: 32,
            workers: std::thread::available_parallelism().map_or(1, |n| n.get()),
            skip_bad: 0,
            device: Device::Cpu,
            limits: Limits::default(),
        }
    }
}

/// Images of one size.
#[derive(Debug)]
pub struct Batch {
    /// Which samples of the source these are.
    pub indices: Vec<usize>,
    /// `[b,3,H,W]` fp32 in `[0,1]`, on the loader's device.
    pub pixels: Tensor,
}

/// An image left out because it could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    pub index: usize,
    /// Name within the data set.
    pub key: String,
    pub reason: String,
}

/// Iterator over batches; ends after the first error.
pub struct Loader {
    // Declared before `collator`, so that it is dropped first and the thread's send fails.
    messages: Option<Receiver<Message>>,
    collator: Option<std::thread::JoinHandle<()>>,
    skipped: Vec<Skipped>,
    device: Device,
}

enum Message {
    /// Samples and their pixels, as [`pixels::stage`] gives them.
    Images(Vec<usize>, Tensor),
    Skipped(Skipped),
    Failed(Error),
}

/// Starts loading samples `indices` of `source`.
///
/// The iterator yields the batches of `options.batch_size` consecutive indices in order; where
/// images of one such batch differ in size after `transform`, one [`Batch`] per size, in the order
/// in which the sizes first appear. At most a few batches are held in memory.
///
/// # Errors
/// The iterator yields one error and ends: the first unreadable image beyond
/// `options.skip_bad` (naming the data set and the file), or [`Error::Interrupted`].
pub fn load(
    source: Arc<dyn Source>,
    indices: Vec<usize>,
    transform: Transform,
    options: LoaderOptions,
) -> Loader {
    let batch_size = options.batch_size.max(1);
    // The workers may be one batch ahead of the one that is being put together.
    let ahead = 2 * batch_size;
    let samples = indices.clone();
    let described = source.describe();
    let images = ordered(indices.len(), options.workers, ahead, move |item| {
        prepare(source.as_ref(), samples[item], &transform, &options.limits)
    });
    let (sender, messages) = bounded(2);
    let collator = std::thread::spawn(move || {
        let collator = Collator {
            described,
            skip_bad: options.skip_bad,
            device: options.device,
        };
        let sent = collator.run(&indices, batch_size, images, |message| {
            sender.send(message).map_err(|_| Stop::ReaderGone)
        });
        if let Err(Stop::Failed(error)) = sent {
            // The reader may be gone too; then nobody waits for the error.
            let _ = sender.send(Message::Failed(error));
        }
    });
    Loader {
        messages: Some(messages),
        collator: Some(collator),
        skipped: Vec::new(),
        device: options.device,
    }
}

/// One sample, ready for its batch, or its key and why not.
type Prepared = std::result::Result<RgbImage, (String, String)>;

fn prepare(source: &dyn Source, index: usize, transform: &Transform, limits: &Limits) -> Prepared {
    let bad = |reason: String| (source.key(index).to_string(), reason);
    let bytes = source.read(index).map_err(|e| bad(e.to_string()))?;
    let needed = |height, width| transform.reads(height, width);
    let part = decode::decode_part(&bytes, limits, needed).map_err(bad)?;
    transform.apply(part).map_err(bad)
}

enum Stop {
    ReaderGone,
    Failed(Error),
}

struct Collator {
    described: String,
    skip_bad: usize,
    device: Device,
}

impl Collator {
    fn run(
        &self,
        indices: &[usize],
        batch_size: usize,
        mut images: Ordered<Prepared>,
        send: impl Fn(Message) -> std::result::Result<(), Stop>,
    ) -> std::result::Result<(), Stop> {
        let mut skipped = 0;
        for batch in indices.chunks(batch_size) {
            let mut groups: Vec<(Vec<usize>, Vec<RgbImage>)> = Vec::new();
            for &index in batch {
                let prepared = images.next().ok_or_else(|| {
                    Stop::Failed(Error::file(
                        &self.described,
                        "a loader thread ended unexpectedly",
                    ))
                })?;
                match prepared {
                    Ok(image) => {
                        let same = |group: &&mut (Vec<usize>, Vec<RgbImage>)| {
                            (group.1[0].width, group.1[0].height) == (image.width, image.height)
                        };
                        match groups.iter_mut().find(same) {
                            Some(group) => {
                                group.0.push(index);
                                group.1.push(image);
                            }
                            None => groups.push((vec![index], vec![image])),
                        }
                    }
                    Err((key, reason)) => {
                        skipped += 1;
                        if skipped > self.skip_bad {
                            return Err(Stop::Failed(self.refuse(&key, &reason)));
                        }
                        send(Message::Skipped(Skipped { index, key, reason }))?;
                    }
                }
            }
            for (indices, images) in groups {
                let pixels = pixels::stage(&images, self.device).map_err(Stop::Failed)?;
                send(Message::Images(indices, pixels))?;
            }
        }
        Ok(())
    }

    fn refuse(&self, key: &str, reason: &str) -> Error {
        let reason = match self.skip_bad {
            0 => format!("{reason}; --skip-bad N leaves out up to N unreadable images"),
            n => {
                format!("{reason}; {n} unreadable images were left out before it (--skip-bad {n})")
            }
        };
        Error::file(std::path::Path::new(&self.described).join(key), reason)
    }
}

impl Loader {
    /// Images left out up to now, in order; complete once the iterator has ended.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// Waits for the next message; `None` at the end.
    fn receive(&self) -> Option<Message> {
        let messages = self.messages.as_ref()?;
        loop {
            if let Err(error) = interrupt::check() {
                return Some(Message::Failed(error));
            }
            match messages.recv_timeout(Duration::from_millis(50)) {
                Ok(message) => return Some(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }
}

impl Iterator for Loader {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Result<Batch>> {
        loop {
            match self.receive()? {
                Message::Images(indices, pixels) => {
                    let pixels = pixels::place(pixels, self.device);
                    return Some(pixels.map(|pixels| Batch { indices, pixels }));
                }
                Message::Skipped(skipped) => {
                    tracing::warn!("left out {}: {}", skipped.key, skipped.reason);
                    self.skipped.push(skipped);
                }
                Message::Failed(error) => {
                    self.messages = None;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.messages = None;
        if let Some(collator) = self.collator.take() {
            // Its panics were already seen as a closed channel.
            let _ = collator.join();
        }
    }
}
