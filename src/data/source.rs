//! A data set as indexed, encoded and annotated images.

use super::annotation::Annotation;
use super::content::{ContentHash, Stamp};
use super::decode::image_size;
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

    /// The first `most` bytes of the image's file, where its header lies; all of a shorter file.
    fn read_start(&self, index: usize, most: usize) -> Result<Vec<u8>> {
        let mut bytes = self.read(index)?;
        bytes.truncate(most);
        Ok(bytes)
    }

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

/// Bytes in which the header of nearly every image lies.
const HEADER: usize = 1 << 16;

/// (width, height) of image `index` by its header; `None` where that is not understood.
pub fn size_of(source: &dyn Source, index: usize) -> Result<Option<(usize, usize)>> {
    let size = |bytes: &[u8]| image_size(bytes).filter(|&(w, h)| w > 0 && h > 0);
    match size(&source.read_start(index, HEADER)?) {
        Some(size) => Ok(Some(size)),
        // A long thumbnail or profile may stand before it.
        None => Ok(size(&source.read(index)?)),
    }
}
