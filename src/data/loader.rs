//! Images of a data set through a [`Transform`], in batches.

use super::annotation::Annotation;
use super::decode::{self, Limits};
use super::pipeline::{self, Pipeline, Prepare, Prepared, Unusable};
use super::source::Source;
use super::transform::Transform;
use crate::runtime::Runtime;
use std::sync::Arc;
use tch::Device;

pub use super::pipeline::{Batch, SkippedSample};

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
    /// Whether batches carry annotations, in pixels of the image as stored; else they are
    /// [`Annotation::None`], and no mask is read.
    pub annotated: bool,
    /// Colour of padding; see [`pipeline::Options::padding`].
    pub padding: [f64; 3],
}

impl Default for LoaderOptions {
    fn default() -> Self {
        let runtime = Runtime::cpu();
        LoaderOptions {
            batch_size: 32,
            workers: runtime.workers,
            skip_bad: 0,
            device: runtime.device,
            limits: Limits::default(),
            annotated: false,
            padding: [0.0; 3],
        }
    }
}

/// Starts loading samples `indices` of `source`; see [`pipeline::start`].
pub fn load(
    source: Arc<dyn Source>,
    indices: Vec<usize>,
    transform: Transform,
    options: LoaderOptions,
) -> Pipeline {
    let positions = 0..indices.len();
    let images = Images {
        source,
        indices,
        transform,
        limits: options.limits,
        annotated: options.annotated,
    };
    let options = pipeline::Options {
        batch_size: options.batch_size,
        workers: options.workers,
        skip_bad: options.skip_bad,
        device: options.device,
        padding: options.padding,
    };
    pipeline::start(images, positions, options)
}

struct Images {
    source: Arc<dyn Source>,
    indices: Vec<usize>,
    transform: Transform,
    limits: Limits,
    annotated: bool,
}

impl Prepare for Images {
    fn describe(&self) -> String {
        self.source.describe()
    }

    fn index(&self, position: usize) -> usize {
        self.indices[position]
    }

    fn key(&self, index: usize) -> String {
        self.source.key(index).to_string()
    }

    fn prepare(&self, _position: usize, index: usize) -> Result<Prepared, Unusable> {
        let bytes = self
            .source
            .read(index)
            .map_err(|e| Unusable::Unreadable(e.to_string()))?;
        let needed = |height, width| self.transform.reads(height, width);
        let part =
            decode::decode_part(&bytes, &self.limits, needed).map_err(Unusable::Unreadable)?;
        let placement = self
            .transform
            .placement(part.height, part.width)
            .map_err(Unusable::Unreadable)?;
        Ok(Prepared {
            image: self.transform.apply(part).map_err(Unusable::Unreadable)?,
            annotation: match self.annotated {
                true => self.source.annotation(index)?,
                false => Annotation::None,
            },
            placement,
        })
    }
}
