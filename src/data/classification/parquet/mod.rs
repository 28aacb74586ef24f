//! Hugging Face parquet files: a column with the encoded image (`image.bytes`) and one with the
//! class, a number whose name the file's metadata carries, or a word.

mod columns;
mod pages;
mod values;

use super::OpenOptions;
use super::classes::Class;
use super::draft::{Draft, Interner, Labels};
use crate::data::content::Stamp;
use crate::data::labelled::EncodedImages;
use crate::data::tree::LeftOut;
use crate::runtime::guard;
use crate::{Error, Result};
use columns::{Columns, Label};
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, KeyValue, ParquetMetaData};
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;
use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use values::Classes;

/// Decoded row groups kept: the one being read in order, and the next that another worker is
/// ahead in. Memory is bounded by this many row groups, whatever the number of rows.
const KEPT: usize = 3;

struct Shard {
    path: PathBuf,
    reader: Mutex<SerializedFileReader<File>>,
    images: usize,
    /// Rows of each row group.
    groups: Vec<usize>,
}

/// The images of one row group; `None` where the row has none.
type Block = Arc<Vec<Option<ByteArray>>>;
/// A block that the first thread to want it decodes while others wait.
type Slot = Arc<Mutex<Option<Block>>>;

struct ParquetImages {
    shards: Vec<Shard>,
    /// (shard, row group, row in it)
    rows: Vec<(u32, u32, u32)>,
    keys: Vec<String>,
    kept: Mutex<VecDeque<((u32, u32), Slot)>>,
}

/// Reads parquet files as one split, in the order given.
pub fn draft(paths: &[PathBuf], pattern: &Path, options: &OpenOptions) -> Result<Draft> {
    let mut samples = ParquetImages {
        shards: Vec::new(),
        rows: Vec::new(),
        keys: Vec::new(),
        kept: Mutex::default(),
    };
    let mut labels = Collected::default();
    let mut classes = None;
    for path in paths {
        let shard = samples.shards.len() as u32;
        let (opened, named) = guard::catch(|| open(path, options, &mut labels))
            .unwrap_or_else(|panic| Err(gave_up(path, &panic)))?;
        classes = classes.or(named);
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let mut row_in_file = 0;
        for (group, &rows) in opened.groups.iter().enumerate() {
            for row in 0..rows {
                samples.rows.push((shard, group as u32, row as u32));
                samples.keys.push(format!("{stem}/{row_in_file:08}"));
                row_in_file += 1;
            }
        }
        samples.shards.push(opened);
    }
    Ok(Draft {
        path: pattern.to_path_buf(),
        labels: labels.finish(pattern, samples.rows.len())?,
        samples: Box::new(samples),
        classes,
        left_out: LeftOut::default(),
        notes: Vec::new(),
    })
}

/// Classes as they come, all numbers or all words.
#[derive(Default)]
struct Collected {
    numbers: Vec<u32>,
    words: Interner,
    worded: usize,
}

impl Collected {
    /// Adds one row group's; `row` is the number of its first row in the file.
    fn push(&mut self, classes: Classes, row: usize, label: &Label, path: &Path) -> Result<()> {
        let fault = |at: usize, what: String| {
            Error::file(
                path,
                format!(
                    "row {}: column `{}` {what}; every row needs a class (another split, or another --label-column?)",
                    row + at,
                    label.name
                ),
            )
        };
        match classes {
            Classes::Numbers(numbers) => {
                for (at, number) in numbers.into_iter().enumerate() {
                    // Hugging Face writes -1 for the classes of a test set that keeps them secret.
                    let number = number.ok_or_else(|| fault(at, "is null".into()))?;
                    let class = u32::try_from(number)
                        .map_err(|_| fault(at, format!("holds {number}, which is no class")))?;
                    self.numbers.push(class);
                }
            }
            Classes::Words(words) => {
                for (at, word) in words.into_iter().enumerate() {
                    let word = word.ok_or_else(|| fault(at, "is null".into()))?;
                    self.words.push(&word);
                    self.worded += 1;
                }
            }
        }
        Ok(())
    }

    fn finish(self, path: &Path, rows: usize) -> Result<Labels> {
        match (self.numbers.len(), self.worded) {
            (0, 0) => Ok(Labels::None),
            (n, 0) if n == rows => Ok(Labels::Indices(self.numbers)),
            (0, n) if n == rows => Ok(self.words.labels()),
            (0, _) | (_, 0) => Err(Error::file(
                path,
                "some of the files have no label column; name it with --label-column",
            )),
            _ => Err(Error::file(
                path,
                "some of the files have numbers as classes, others words; make them equal",
            )),
        }
    }
}

/// The parquet crate asserts what a damaged file may break.
fn gave_up(path: &Path, panic: &str) -> Error {
    Error::file(
        path,
        format!("is not a readable parquet file; its reader gave up ({panic})"),
    )
}

/// Opens one file, adds its labels and returns its class names.
fn open(
    path: &Path,
    options: &OpenOptions,
    labels: &mut Collected,
) -> Result<(Shard, Option<Vec<Class>>)> {
    let damaged =
        |e: ParquetError| Error::file(path, format!("is not a readable parquet file ({e})"));
    let file = File::open(path).map_err(|e| Error::file(path, e))?;
    let bytes = file.metadata().map_err(|e| Error::file(path, e))?.len();
    let reader = SerializedFileReader::new(file).map_err(damaged)?;
    let metadata = reader.metadata();
    let schema = metadata.file_metadata().schema_descr();
    let features = features(metadata.file_metadata().key_value_metadata());
    let Columns { image, label } = columns::choose(schema, features.as_ref(), options, path)?;
    for column in label.iter().map(|l| l.column).chain([image]) {
        if schema.column(column).max_rep_level() > 0 {
            let name = schema.column(column).path().string();
            let reason =
                format!("column `{name}` is a list; one image and one class per row are read");
            return Err(Error::file(path, reason));
        }
    }
    let groups = row_counts(metadata, image, bytes).map_err(|reason| Error::file(path, reason))?;
    if let Some(label) = &label {
        let mut row = 0;
        for (group, &rows) in groups.iter().enumerate() {
            let values = reader
                .get_row_group(group)
                .and_then(|group| pages::column_reader(group.as_ref(), label.column))
                .and_then(|values| values::classes(values, rows))
                .map_err(damaged)?;
            let values = values.ok_or_else(|| {
                Error::file(
                    path,
                    format!(
                        "column `{}` holds neither numbers nor words, so no classes",
                        label.name
                    ),
                )
            })?;
            labels.push(values, row, label, path)?;
            row += rows;
        }
    }
    let shard = Shard {
        path: path.to_path_buf(),
        reader: Mutex::new(reader),
        images: image,
        groups,
    };
    Ok((shard, label.and_then(|label| label.classes)))
}

/// Rows of each row group, where the numbers can be true: no more than values of the image
/// column, nor than 8 for every byte of the file (a repeated image may take less than a byte).
fn row_counts(metadata: &ParquetMetaData, image: usize, bytes: u64) -> Result<Vec<usize>, String> {
    let mut groups = Vec::new();
    let mut left = bytes.saturating_mul(8);
    for (number, group) in metadata.row_groups().iter().enumerate() {
        if !group
            .columns()
            .iter()
            .all(|column| lies_within(column, bytes))
        {
            return Err(format!(
                "row group {number} has a column that does not lie inside the file; the file is damaged"
            ));
        }
        let rows = group.num_rows();
        let column = group.columns().get(image);
        let values = column.map_or(0, |column| column.num_values());
        let believable = u64::try_from(rows).ok().filter(|&rows| {
            rows <= left && rows <= u64::from(u32::MAX) && i64::try_from(rows) == Ok(values)
        });
        let Some(rows) = believable else {
            return Err(format!(
                "row group {number} claims {rows} rows with {values} images, which cannot be; the file is damaged"
            ));
        };
        left -= rows;
        groups.push(rows as usize);
    }
    Ok(groups)
}

/// Whether a column's pages are where a file of `bytes` bytes can have them: the parquet crate
/// takes that for granted.
fn lies_within(column: &ColumnChunkMetaData, bytes: u64) -> bool {
    let start = column
        .dictionary_page_offset()
        .unwrap_or(column.data_page_offset());
    let (start, len) = (
        u64::try_from(start),
        u64::try_from(column.compressed_size()),
    );
    let end = start
        .ok()
        .zip(len.ok())
        .and_then(|(start, len)| start.checked_add(len));
    end.is_some_and(|end| end <= bytes) && column.num_values() >= 0
}

/// `info.features` of the metadata that the `datasets` library writes.
fn features(metadata: Option<&Vec<KeyValue>>) -> Option<Value> {
    let text = metadata?
        .iter()
        .find(|kv| kv.key == "huggingface")?
        .value
        .as_ref()?;
    let parsed: Value = serde_json::from_str(text).ok()?;
    parsed.pointer("/info/features").cloned()
}

impl Shard {
    fn decode(&self, group: u32) -> Result<Block> {
        let rows = self.groups[group as usize];
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || {
            reader
                .get_row_group(group as usize)
                .and_then(|group| pages::column_reader(group.as_ref(), self.images))
                .and_then(|column| values::bytes(column, rows))
        };
        let images = guard::catch(read)
            .map_err(|panic| gave_up(&self.path, &panic))?
            .map_err(|e| {
                Error::file(
                    &self.path,
                    format!("row group {group} cannot be read ({e})"),
                )
            })?;
        Ok(Arc::new(images))
    }
}

impl ParquetImages {
    fn block(&self, shard: u32, group: u32) -> Result<Block> {
        let slot = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let place = kept.iter().position(|(id, _)| *id == (shard, group));
            let entry = place
                .and_then(|place| kept.remove(place))
                .unwrap_or_else(|| ((shard, group), Slot::default()));
            let slot = entry.1.clone();
            kept.push_back(entry);
            if kept.len() > KEPT {
                kept.pop_front();
            }
            slot
        };
        let mut block = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(block) = block.as_ref() {
            return Ok(block.clone());
        }
        let decoded = self.shards[shard as usize].decode(group)?;
        *block = Some(decoded.clone());
        Ok(decoded)
    }
}

impl EncodedImages for ParquetImages {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn key(&self, index: usize) -> &str {
        &self.keys[index]
    }

    /// The mean over the row group: single sizes are known only after decoding it.
    fn size(&self, index: usize) -> u64 {
        let (shard, group, _) = self.rows[index];
        let shard = &self.shards[shard as usize];
        let reader = shard.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let chunk = reader
            .metadata()
            .row_group(group as usize)
            .column(shard.images);
        chunk.uncompressed_size() as u64 / shard.groups[group as usize].max(1) as u64
    }

    fn read(&self, index: usize) -> Result<Vec<u8>> {
        let (shard, group, row) = self.rows[index];
        let block = self.block(shard, group)?;
        match &block[row as usize] {
            Some(image) => Ok(image.data().to_vec()),
            None => Err(Error::file(
                self.shards[shard as usize]
                    .path
                    .with_file_name(&self.keys[index]),
                "has no image: it is null, or only named and not inside the file",
            )),
        }
    }

    fn stamp(&self, index: usize) -> Option<Stamp> {
        let (shard, group, row) = self.rows[index];
        let path = &self.shards[shard as usize].path;
        let file = std::fs::metadata(path).ok()?;
        Stamp::new(path, &file, &[u64::from(group), u64::from(row)])
    }
}
