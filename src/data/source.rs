//! A data set as indexed, encoded samples.

use crate::Result;

/// One encoded image.
pub struct Sample {
    /// Name within the data set (`val/n01440764/ILSVRC2012_val_00000293.JPEG`), for errors,
    /// per-sample outputs and the fingerprint.
    pub key: String,
    /// The file's bytes, still encoded.
    pub bytes: Vec<u8>,
    /// Class index, where the data set has labels.
    pub label: Option<u32>,
}

/// Random access to the samples of a split, in one fixed order that does not depend on the
/// order of files on disk. Shared by worker threads.
pub trait Source: Send + Sync {
    /// `NAME:SPLIT` or the path, for messages.
    fn describe(&self) -> String;

    fn len(&self) -> usize;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Key and label without reading the image.
    fn key(&self, index: usize) -> &str;

    fn label(&self, index: usize) -> Option<u32>;

    fn read(&self, index: usize) -> Result<Sample>;

    /// Encoded size in bytes, for the fingerprint.
    fn size(&self, index: usize) -> u64;
}
