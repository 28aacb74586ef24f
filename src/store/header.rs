//! What `header.json` says of a part.

use super::column::Column;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Raised when files of older versions can no longer be read.
pub(super) const VERSION: u32 = 2;

/// An image that could not be read and has no row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingRow {
    pub index: usize,
    pub key: String,
    pub reason: String,
    /// Hex of the stamp and of the SHA-256 of the bytes that could not be decoded; `None` where
    /// not even bytes were to be had.
    #[serde(default)]
    pub stamp: Option<String>,
    #[serde(default)]
    pub content: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    pub version: u32,
    /// Everything that decides the values.
    pub key: Value,
    /// Empty until the first row is there.
    pub columns: Vec<Column>,
    /// Images done: rows and skipped ones.
    pub done: usize,
    /// Images in all.
    pub total: usize,
    pub skipped: Vec<MissingRow>,
}

/// Why a header cannot be used.
pub(super) enum Unusable {
    /// There is none: a new store.
    Absent,
    /// It is of other settings or of another version, and in good order.
    Other,
    Damaged(String),
}

impl Header {
    pub(super) fn new(key: Value, total: usize) -> Self {
        Header {
            version: VERSION,
            key,
            columns: Vec::new(),
            done: 0,
            total,
            skipped: Vec::new(),
        }
    }

    pub fn rows(&self) -> usize {
        self.done - self.skipped.len()
    }

    pub fn is_complete(&self) -> bool {
        self.done == self.total
    }

    pub(super) fn path(folder: &Path) -> PathBuf {
        folder.join("header.json")
    }

    /// The header of `folder`, whoever's it is.
    pub(super) fn read(folder: &Path) -> Result<Self, Unusable> {
        let text = match std::fs::read(Header::path(folder)) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(Unusable::Absent),
            Err(e) => return Err(Unusable::Damaged(format!("header.json: {e}"))),
        };
        let damaged = |reason: String| Unusable::Damaged(format!("header.json {reason}"));
        let json: Value =
            serde_json::from_slice(&text).map_err(|e| damaged(format!("is not JSON ({e})")))?;
        if json["version"] != VERSION {
            return Err(Unusable::Other);
        }
        let header: Header =
            serde_json::from_value(json).map_err(|e| damaged(format!("is incomplete ({e})")))?;
        if header.skipped.len() > header.done || header.done > header.total {
            return Err(damaged("counts more images than there are".into()));
        }
        if header.rows() > 0 && header.columns.is_empty() {
            return Err(damaged("counts rows of no column".into()));
        }
        Ok(header)
    }
}
