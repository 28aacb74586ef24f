//! A data set as indexed, encoded and annotated images.

use super::annotation::Annotation;
use super::content::{ContentHash, Stamp};
use crate::Result;
use sha2::{Digest, Sha256};

/// Random access to the images of a split, in one fixed order that does not depend on the order
/// of files on disk. Shared by worker threads.
pub trait Source: Send + Sync {
    /// `NAME:SPLIT` or the path, for messages.
    fn describe(&self) -> String;

    fn len(&self) -> usize;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Name within the data set (`val/n01440764/ILSVRC2012_val_00000293.JPEG`), for errors,
    /// per-image outputs and the fingerprint.
    fn key(&self, index: usize) -> &str;

    /// Class index, where the data set has one class per image. Reads nothing.
    fn label(&self, _index: usize) -> Option<u32> {
        None
    }

    /// What the data set says about the image. Never reads the image; a mask is read from its own
    /// file, and everything else is known since the data set was opened.
    fn annotation(&self, index: usize) -> Result<Annotation> {
        Ok(self
            .label(index)
            .map_or(Annotation::None, Annotation::Class))
    }

    /// The image's file, still encoded.
    fn read(&self, index: usize) -> Result<Vec<u8>>;

    /// Encoded size in bytes, for the fingerprint.
    fn size(&self, index: usize) -> u64;

    /// A sign of the image's bytes (and its mask's) that costs no reading: while it is the same,
    /// so are they. `None` where there is none.
    fn stamp(&self, _index: usize) -> Option<Stamp> {
        None
    }

    /// SHA-256 of the image's encoded bytes (and its mask's); reads them.
    fn content_hash(&self, index: usize) -> Result<ContentHash> {
        Ok(Sha256::digest(self.read(index)?).into())
    }
}
