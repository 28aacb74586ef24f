//! What a column holds.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use tch::Kind;

/// Number format of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    F32,
    F16,
    Bf16,
    I64,
    U8,
}

impl Dtype {
    /// Bytes of one number.
    pub fn bytes(self) -> usize {
        match self {
            Dtype::U8 => 1,
            Dtype::F16 | Dtype::Bf16 => 2,
            Dtype::F32 => 4,
            Dtype::I64 => 8,
        }
    }

    pub fn kind(self) -> Kind {
        match self {
            Dtype::F32 => Kind::Float,
            Dtype::F16 => Kind::Half,
            Dtype::Bf16 => Kind::BFloat16,
            Dtype::I64 => Kind::Int64,
            Dtype::U8 => Kind::Uint8,
        }
    }
}

/// One column of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// `summary`, `spatial`, `clip.summary`, ...
    pub name: String,
    pub dtype: Dtype,
    /// Shape of a row; where rows are ragged, of one token of a row: a row is `[n, shape]` with an
    /// n of its own.
    pub shape: Vec<usize>,
    /// Whether rows differ in their number of tokens.
    #[serde(default)]
    pub ragged: bool,
}

impl Column {
    /// A column whose rows all have `shape`.
    pub fn fixed(name: &str, dtype: Dtype, shape: &[usize]) -> Self {
        Column {
            name: name.to_string(),
            dtype,
            shape: shape.to_vec(),
            ragged: false,
        }
    }

    /// A column whose rows are any number of tokens of `shape`.
    pub fn ragged(name: &str, dtype: Dtype, shape: &[usize]) -> Self {
        Column {
            ragged: true,
            ..Column::fixed(name, dtype, shape)
        }
    }

    /// Bytes of a row, or of one token of a ragged row.
    pub fn unit_bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.bytes()
    }

    /// File of the values in the part's `folder`.
    pub(super) fn values_path(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.values", file_stem(&self.name)))
    }

    /// File of a ragged column's offsets: for each row the number of tokens up to its end, i64.
    pub(super) fn ends_path(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.ends", file_stem(&self.name)))
    }
}

/// A column's name as a file name: what a file name may not have becomes `%XX`.
fn file_stem(name: &str) -> String {
    let mut stem = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                stem.push(char::from(byte));
            }
            _ => stem.push_str(&format!("%{byte:02X}")),
        }
    }
    stem
}
