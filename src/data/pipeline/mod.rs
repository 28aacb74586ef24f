//! The one way from samples to tensors on the device: prepare, collate, place.
//!
//! Worker threads prepare single samples (read, decode, transform; [`Prepare`]); one more thread
//! puts them together into batches; the reader gets these in order, whatever the number of
//! threads, and puts them on the device. A pass over the data is a range of positions, which may
//! begin anywhere, so that a job that was stopped goes on at the sample where it stopped.

mod collate;
mod ordered;

pub use ordered::{Ordered, Panicked, ordered};

use super::annotation::Annotation;
use super::image::RgbImage;
use super::pixels;
use super::transform::Placement;
use crate::runtime::{guard, interrupt};
use crate::{Error, Result};
use collate::{Collator, Stop};
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tch::{Device, Tensor};

/// Batches that are ready and not yet asked for.
const READY: usize = 2;
/// How often a waiting reader looks whether the user wants to stop.
const PATIENCE: Duration = Duration::from_millis(50);

/// Makes samples ready for the network, in worker threads.
pub trait Prepare: Send + Sync + 'static {
    /// The data set and split, for messages.
    fn describe(&self) -> String;

    /// Which sample of the data set stands at `position` of the pass.
    fn index(&self, position: usize) -> usize;

    /// The name of sample `index` within the data set.
    fn key(&self, index: usize) -> String;

    /// Reads, decodes and transforms sample `index`, which stands at `position`.
    fn prepare(&self, position: usize, index: usize) -> Result<Prepared, Unusable>;
}

/// A sample as it goes into a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    pub image: RgbImage,
    /// What is known about `image`, in its own pixels where [`Prepare`] transformed it too.
    pub annotation: Annotation,
    /// Where `image` shows the image as stored.
    pub placement: Placement,
}

/// Why a sample does not go into a batch.
#[derive(Debug)]
pub enum Unusable {
    /// It cannot be read or decoded: a sentence without the file's name. [`Options::skip_bad`]
    /// such samples may be left out.
    Unreadable(String),
    /// Nothing goes on after this.
    Failed(Error),
}

impl From<Error> for Unusable {
    fn from(error: Error) -> Self {
        Unusable::Failed(error)
    }
}

/// How to load.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Consecutive positions per batch; a batch of several image sizes is handed out in parts.
    pub batch_size: usize,
    /// Threads that prepare samples.
    pub workers: usize,
    /// Unreadable samples that may be left out before loading fails.
    pub skip_bad: usize,
    /// Where the pixels go.
    pub device: Device,
    /// Red, green and blue in `[0,1]` of pixels that show nothing of the image. Black, or the mean
    /// that the network subtracts, for networks that pad after normalising (SAM).
    pub padding: [f64; 3],
}

/// Samples of one image size.
#[derive(Debug)]
pub struct Batch {
    /// Which samples of the data set these are.
    pub indices: Vec<usize>,
    /// `[b,3,H,W]` fp32 in `[0,1]`, on the options' device.
    pub pixels: Tensor,
    /// One per sample.
    pub annotations: Vec<Annotation>,
    /// One per sample.
    pub placements: Vec<Placement>,
}

/// A sample left out because it could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedSample {
    pub index: usize,
    /// Name within the data set.
    pub key: String,
    pub reason: String,
}

/// Iterator over batches; ends after the first error.
pub struct Pipeline {
    // Declared before `collator`, so that it is dropped first and the thread's send fails.
    messages: Option<Receiver<Message>>,
    collator: Option<std::thread::JoinHandle<()>>,
    skipped: Vec<SkippedSample>,
    described: String,
    device: Device,
    padding: [f64; 3],
    /// What was wrong before anything was loaded.
    unstarted: Option<Error>,
}

/// From the collating thread. Its pixels are as [`pixels::stage`] gives them.
enum Message {
    Batch(Batch),
    Skipped(SkippedSample),
    Failed(Error),
    End,
}

/// Starts loading the samples at `positions` of a pass.
///
/// Batches are cut at multiples of `options.batch_size`, counted from position 0: a pass that is
/// taken up anywhere has, after the rest of the batch it was in, the batches of an uninterrupted
/// one. Where images of one such batch differ in size, there is one [`Batch`] per size, in the
/// order in which the sizes first appear. At most a few batches are held in memory.
///
/// # Errors
/// The iterator yields one error and ends: the first unreadable sample beyond
/// `options.skip_bad` (naming the data set and the sample), any other failure of `prepare`, its
/// panic (naming the sample), or [`Error::Interrupted`].
pub fn start(prepare: impl Prepare, positions: Range<usize>, options: Options) -> Pipeline {
    let prepare = Arc::new(prepare);
    // The workers may be one batch ahead of the one that is being put together.
    let ahead = options.batch_size.max(options.workers).saturating_mul(2);
    let mut pipeline = Pipeline {
        messages: None,
        collator: None,
        skipped: Vec::new(),
        described: prepare.describe(),
        device: options.device,
        padding: options.padding,
        unstarted: None,
    };
    let worker = Arc::clone(&prepare);
    let samples = ordered(positions.clone(), options.workers, ahead, move |position| {
        worker.prepare(position, worker.index(position))
    });
    let (sender, messages) = bounded(READY);
    let described = pipeline.described.clone();
    let started = samples.and_then(|samples| {
        let collator = Collator { prepare, options };
        let collate = move || {
            let send = |message| sender.send(message).map_err(|_| Stop::ReaderGone);
            let last = match guard::catch(|| collator.run(positions, samples, &send)) {
                Ok(Ok(())) => Message::End,
                Ok(Err(Stop::Failed(error))) => Message::Failed(error),
                Ok(Err(Stop::ReaderGone)) => return,
                Err(panic) => Message::Failed(broken(&described, &panic)),
            };
            // The reader may be gone too; then nobody waits for the message.
            let _ = sender.send(last);
        };
        std::thread::Builder::new()
            .name("collator".into())
            .spawn(collate)
    });
    match started {
        Ok(collator) => {
            pipeline.messages = Some(messages);
            pipeline.collator = Some(collator);
        }
        Err(error) => {
            pipeline.unstarted = Some(Error::model(format!(
                "the system gives no thread to load images with ({error}); end other programs, or raise the limit on processes"
            )));
        }
    }
    pipeline
}

/// The error for a panic, which no input should be able to cause: `at` says over what.
fn broken(at: impl AsRef<Path>, panic: &str) -> Error {
    Error::file(
        at,
        format!("loading it failed inside radio-eval: {panic}; please report this"),
    )
}

impl Pipeline {
    /// Samples left out up to now, in order; complete once the iterator has ended.
    pub fn skipped(&self) -> &[SkippedSample] {
        &self.skipped
    }

    /// Waits for the next message.
    fn receive(&self, messages: &Receiver<Message>) -> Message {
        loop {
            if let Err(error) = interrupt::check() {
                return Message::Failed(error);
            }
            match messages.recv_timeout(PATIENCE) {
                Ok(message) => return message,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let ended = "the collating thread ended before the last sample";
                    return Message::Failed(broken(&self.described, ended));
                }
            }
        }
    }
}

impl Iterator for Pipeline {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Result<Batch>> {
        if let Some(error) = self.unstarted.take() {
            return Some(Err(error));
        }
        loop {
            match self.receive(self.messages.as_ref()?) {
                Message::Batch(batch) => return Some(batch.place(self.device, self.padding)),
                Message::Skipped(skipped) => {
                    tracing::warn!("left out {}: {}", skipped.key, skipped.reason);
                    self.skipped.push(skipped);
                }
                Message::Failed(error) => {
                    self.messages = None;
                    return Some(Err(error));
                }
                Message::End => self.messages = None,
            }
        }
    }
}

impl Batch {
    /// Puts staged pixels on the device.
    fn place(self, device: Device, padding: [f64; 3]) -> Result<Self> {
        let pixels = pixels::place(self.pixels, device)?;
        pixels::fill_padding(&pixels, &self.placements, padding)?;
        Ok(Batch { pixels, ..self })
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.messages = None;
        if let Some(collator) = self.collator.take() {
            // Its panics were caught and sent.
            let _ = collator.join();
        }
    }
}
