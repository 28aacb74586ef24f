//! Samples with class labels: what every classification layout ends up as.

use super::content::Stamp;
use super::source::Source;
use super::tree::FileTree;
use crate::Result;
use std::sync::Arc;

/// Encoded images by index, without labels.
pub trait EncodedImages: Send + Sync {
    fn len(&self) -> usize;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn key(&self, index: usize) -> &str;

    /// Encoded size in bytes.
    fn size(&self, index: usize) -> u64;

    fn read(&self, index: usize) -> Result<Vec<u8>>;

    /// See [`Source::stamp`].
    fn stamp(&self, index: usize) -> Option<Stamp>;
}

/// Some files of a [`FileTree`].
pub struct TreeImages {
    tree: Arc<FileTree>,
    files: Vec<u32>,
}

impl TreeImages {
    /// `files`: indices into `tree`, ascending.
    pub fn new(tree: Arc<FileTree>, files: Vec<u32>) -> Self {
        TreeImages { tree, files }
    }
}

impl EncodedImages for TreeImages {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn key(&self, index: usize) -> &str {
        self.tree.name(self.files[index] as usize)
    }

    fn size(&self, index: usize) -> u64 {
        self.tree.size(self.files[index] as usize)
    }

    fn read(&self, index: usize) -> Result<Vec<u8>> {
        self.tree.read(self.files[index] as usize)
    }

    fn stamp(&self, index: usize) -> Option<Stamp> {
        self.tree.stamp(self.files[index] as usize)
    }
}

/// Samples and their labels as a [`Source`].
pub struct LabelledSet {
    description: String,
    samples: Box<dyn EncodedImages>,
    labels: Vec<Option<u32>>,
}

impl LabelledSet {
    /// `labels`: one per sample.
    pub fn new(
        description: String,
        samples: Box<dyn EncodedImages>,
        labels: Vec<Option<u32>>,
    ) -> Self {
        LabelledSet {
            description,
            samples,
            labels,
        }
    }
}

impl Source for LabelledSet {
    fn describe(&self) -> String {
        self.description.clone()
    }

    fn len(&self) -> usize {
        self.samples.len()
    }

    fn key(&self, index: usize) -> &str {
        self.samples.key(index)
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.labels[index]
    }

    fn read(&self, index: usize) -> Result<Vec<u8>> {
        self.samples.read(index)
    }

    fn size(&self, index: usize) -> u64 {
        self.samples.size(index)
    }

    fn stamp(&self, index: usize) -> Option<Stamp> {
        self.samples.stamp(index)
    }
}
