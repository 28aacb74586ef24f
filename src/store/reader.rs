//! Rows that count, mapped into memory and read from disk as they are needed.

use super::column::{Column, Dtype};
use super::header::{Header, MissingRow};
use super::lock::{Access, lock};
use super::store_error;
use crate::files::MappedFile;
use crate::{Error, Result};
use serde_json::Value;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use tch::Tensor;

/// What one process wrote.
pub struct StorePart {
    header: Header,
    /// Of each column: values, and offsets where it is ragged.
    maps: Vec<(Option<MappedFile>, Option<MappedFile>)>,
}

impl StorePart {
    /// The part in `folder`, if it is complete and of `key`.
    pub(super) fn complete(folder: &Path, key: &Value) -> Result<Option<Self>> {
        if !Header::path(folder).is_file() {
            return Ok(None);
        }
        let _lock = lock(folder, Access::Read)?;
        let Ok(header) = Header::read(folder) else {
            return Ok(None);
        };
        let usable =
            header.is_complete() && header.key == *key && check_lengths(folder, &header).is_ok();
        usable.then(|| StorePart::map(folder, header)).transpose()
    }

    pub(super) fn map(folder: &Path, header: Header) -> Result<Self> {
        let mut maps = Vec::with_capacity(header.columns.len());
        for column in &header.columns {
            let (values, ends) = lengths(folder, column, header.rows())
                .map_err(|reason| Error::file(folder, format!("is damaged: {reason}")))?;
            let values = map(&column.values_path(folder), values)?;
            let ends = match ends {
                None => None,
                Some(length) => map(&column.ends_path(folder), length)?,
            };
            maps.push((values, ends));
        }
        Ok(StorePart { header, maps })
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    fn segment(&self, name: &str) -> Option<(&Column, Segment<'_>)> {
        let at = self.header.columns.iter().position(|c| c.name == name)?;
        let column = &self.header.columns[at];
        let (values, ends) = &self.maps[at];
        let values: &[u8] = values.as_deref().unwrap_or_default();
        let ends = match (column.ragged, ends) {
            (false, _) => None,
            (true, None) => Some(&[][..]),
            (true, Some(map)) => Some(map.as_chunks::<8>().0),
        };
        let segment = Segment {
            values,
            ends,
            unit: column.unit_bytes(),
            rows: self.header.rows(),
        };
        Some((column, segment))
    }
}

/// Maps the first `length` bytes; an empty file cannot be mapped.
fn map(path: &Path, length: u64) -> Result<Option<MappedFile>> {
    if length == 0 {
        return Ok(None);
    }
    let file = File::open(path).map_err(|e| store_error(path, e))?;
    let length = usize::try_from(length).map_err(|e| Error::file(path, e))?;
    // This tool never shortens a file below what its header counts (the store's writer unlinks
    // instead).
    let map = MappedFile::map_front(path, &file, length);
    map.map(Some).map_err(|e| store_error(path, e))
}

/// Bytes that the rows take in the files of a column: values, and offsets where it is ragged.
fn lengths(folder: &Path, column: &Column, rows: usize) -> Result<(u64, Option<u64>), String> {
    let unit = column.unit_bytes() as u64;
    let overflow = || format!("`{}` is larger than any file", column.name);
    if !column.ragged {
        let values = unit.checked_mul(rows as u64).ok_or_else(overflow)?;
        return Ok((values, None));
    }
    let length = 8 * rows as u64;
    if rows == 0 {
        return Ok((0, Some(0)));
    }
    let path = column.ends_path(folder);
    let mut last = [0; 8];
    File::open(&path)
        .and_then(|file| file.read_exact_at(&mut last, length - 8))
        .map_err(|e| format!("{}: {e}", path.display()))?;
    let tokens = u64::try_from(i64::from_le_bytes(last))
        .map_err(|_| format!("{} holds a negative offset", path.display()))?;
    let values = unit.checked_mul(tokens).ok_or_else(overflow)?;
    Ok((values, Some(length)))
}

/// Whether every file is as long as the rows that the header counts.
pub(super) fn check_lengths(folder: &Path, header: &Header) -> Result<(), String> {
    for column in &header.columns {
        let (values, ends) = lengths(folder, column, header.rows())?;
        let files = [
            (column.values_path(folder), Some(values)),
            (column.ends_path(folder), ends),
        ];
        for (path, expected) in files {
            let Some(expected) = expected else { continue };
            let length = std::fs::metadata(&path).map_or(0, |m| m.len());
            if length < expected {
                return Err(format!(
                    "{} has {length} bytes, the header counts {expected}",
                    path.display()
                ));
            }
        }
    }
    Ok(())
}

/// A whole store: its parts one after the other.
pub struct Reader {
    parts: Vec<StorePart>,
}

impl Reader {
    /// `parts`: in the order of their ranks.
    pub fn new(parts: Vec<StorePart>) -> Self {
        Reader { parts }
    }

    pub fn rows(&self) -> usize {
        self.parts.iter().map(|part| part.header.rows()).sum()
    }

    /// Images without a row, in order.
    pub fn skipped(&self) -> impl Iterator<Item = &MissingRow> {
        self.parts.iter().flat_map(|part| &part.header.skipped)
    }

    /// The column `name`.
    ///
    /// # Errors
    /// A store without rows, or without such a column.
    pub fn column(&self, name: &str) -> Result<ColumnRows<'_>> {
        let parts = self.parts.iter().filter(|part| part.header.rows() > 0);
        let mut segments = Vec::new();
        let mut known: Option<&Column> = None;
        for part in parts {
            let (column, segment) = part
                .segment(name)
                .ok_or_else(|| Error::model(format!("the feature store has no column `{name}`")))?;
            if known.is_some_and(|known| known != column) {
                return Err(Error::model(format!(
                    "the parts of the feature store disagree about `{name}`"
                )));
            }
            known = Some(column);
            segments.push(segment);
        }
        match known {
            Some(column) => Ok(ColumnRows { column, segments }),
            None => Err(Error::model(
                "no image could be read; there are no features",
            )),
        }
    }
}

/// The rows of one column.
pub struct ColumnRows<'a> {
    column: &'a Column,
    segments: Vec<Segment<'a>>,
}

/// The rows of one part.
struct Segment<'a> {
    values: &'a [u8],
    /// Of a ragged column: little-endian i64.
    ends: Option<&'a [[u8; 8]]>,
    unit: usize,
    rows: usize,
}

impl<'a> ColumnRows<'a> {
    pub fn column(&self) -> &'a Column {
        self.column
    }

    pub fn len(&self) -> usize {
        self.segments.iter().map(|segment| segment.rows).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of a row; `None` beyond the last, or where offsets are damaged.
    pub fn row(&self, mut row: usize) -> Option<&'a [u8]> {
        for segment in &self.segments {
            if row < segment.rows {
                return segment.row(row);
            }
            row -= segment.rows;
        }
        None
    }

    /// A copy of all rows, of one length, in memory: [rows, ...] on the CPU.
    pub fn tensor(&self) -> Result<Tensor> {
        let column = self.column;
        if column.ragged {
            return Err(Error::model(format!(
                "the rows of the column `{}` have no common length",
                column.name
            )));
        }
        let shape: Vec<i64> = column.shape.iter().map(|&n| n as i64).collect();
        let parts = self.segments.iter().map(|segment| {
            let bytes = &segment.values[..segment.rows * segment.unit];
            let size: Vec<i64> = [&[segment.rows as i64], shape.as_slice()].concat();
            Ok(Tensor::f_from_data_size(bytes, &size, column.dtype.kind())?)
        });
        let parts = parts.collect::<Result<Vec<_>>>()?;
        match parts.as_slice() {
            [one] => Ok(one.shallow_clone()),
            parts => Ok(Tensor::f_cat(parts, 0)?),
        }
    }

    /// All values as fp32 numbers, part by part.
    pub fn floats(&self) -> Result<Vec<&'a [f32]>> {
        if self.column.dtype != Dtype::F32 || self.column.ragged {
            return Err(Error::model(format!(
                "the feature column `{}` holds no fp32 rows of one length",
                self.column.name
            )));
        }
        let floats = self.segments.iter().map(|segment| {
            let bytes = &segment.values[..segment.rows * segment.unit];
            // SAFETY: any four bytes are an f32, in the order of a little-endian machine, as every
            // machine that libtorch runs on; a mapping is aligned to pages, which is checked.
            let (before, floats, after) = unsafe { bytes.align_to::<f32>() };
            match before.is_empty() && after.is_empty() {
                true => Ok(floats),
                false => Err(Error::model("a mapped feature file is not aligned")),
            }
        });
        floats.collect()
    }
}

impl<'a> Segment<'a> {
    fn row(&self, row: usize) -> Option<&'a [u8]> {
        let units = match self.ends {
            None => row..row + 1,
            Some(ends) => {
                let end = |row: usize| usize::try_from(i64::from_le_bytes(*ends.get(row)?)).ok();
                match row {
                    0 => 0..end(0)?,
                    _ => end(row - 1)?..end(row)?,
                }
            }
        };
        let at = |units: usize| units.checked_mul(self.unit);
        self.values.get(at(units.start)?..at(units.end)?)
    }
}
