//! What every task gives: one finished cell.

use crate::Result;
use crate::files::write_atomically;
use crate::report::{Record, write_record};
use crate::weights::safetensors;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use tch::Tensor;

/// A record, and what belongs to it.
pub struct Finished {
    pub record: Record,
    /// Files that lie beside the record.
    pub beside: Vec<Beside>,
    /// What was predicted for each image, where that is one class.
    pub predictions: Option<Predictions>,
}

/// A file that is named after the record's, with an ending of its own.
pub struct Beside {
    /// `classes.csv`, `head.safetensors`
    pub ending: String,
    pub contents: Contents,
}

pub enum Contents {
    Text(String),
    /// Named tensors and string metadata, as safetensors.
    Tensors(Vec<(String, Tensor)>, HashMap<String, String>),
}

/// Ranked classes of val images.
pub struct Predictions {
    /// Images, in the order of `rankings`.
    pub indices: Vec<usize>,
    /// Classes of each image, best first, at most five.
    pub rankings: Vec<Vec<u32>>,
}

impl Finished {
    /// A record that nothing else belongs to.
    pub fn record(record: Record) -> Self {
        Finished {
            record,
            beside: Vec::new(),
            predictions: None,
        }
    }

    /// Writes the record into `folder`, and what belongs beside it; returns the record's path.
    pub fn write(&self, folder: &Path) -> Result<PathBuf> {
        let path = write_record(folder, &self.record)?;
        for file in &self.beside {
            let place = path.with_extension(&file.ending);
            match &file.contents {
                Contents::Text(text) => write_atomically(&place, text.as_bytes())?,
                Contents::Tensors(tensors, metadata) => {
                    let tensors = tensors.iter().map(|(name, t)| (name.as_str(), t));
                    safetensors::write(&place, tensors, metadata.clone())?;
                }
            }
        }
        Ok(path)
    }
}
