//! Features on disk: a store is a table of named columns, one row per image, that survives a crash
//! at any moment and is read without being held in memory.
//!
//! A store is a folder with one folder per writing process (`part-RANK-of-WORLD`). In a part each
//! column is one file of raw little-endian rows (and one of offsets where rows differ in length);
//! `header.json` says what the columns are and how many rows count. Rows are appended, synced, and
//! only then counted in the header, which is replaced as a whole: after a crash, or on a full disk,
//! the header describes rows that are there, and what lies beyond them is cut off.
//!
//! Nothing that another process may have mapped is ever shortened below what its header counts:
//! rows that became worthless are unlinked, and new ones go to new files.

mod column;
mod header;
mod lock;
mod parts;
mod reader;
mod writer;

pub use column::{Column, Dtype};
pub use header::{Header, MissingRow};
pub use parts::{
    Share, complete, complete_parts, examine, folders, key, part_folder, parts, remove,
};
pub use reader::{ColumnRows, Reader, StorePart};
pub use writer::{Row, Writer};

use crate::Error;
use std::path::Path;

fn store_error(path: &Path, error: std::io::Error) -> Error {
    Error::file(
        path,
        format!(
            "{error}; features are kept under $RADIO_EVAL_HOME/cache, which must be writable and have room"
        ),
    )
}

#[cfg(test)]
mod tests;
