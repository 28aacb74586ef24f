//! Hugging Face parquet files: a struct column with the encoded image (`image.bytes`) and an
//! integer class (`label`), whose names the file's metadata carries.

use super::classes::Class;
use super::draft::{Draft, Labels};
use crate::data::content::Stamp;
use crate::data::labelled::Samples;
use crate::{Error, Result};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType, DataType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;
use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Columns that hold the class where the metadata does not say.
const LABELS: [&str; 6] = ["label", "labels", "fine_label", "cls", "class", "target"];
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

/// The images of one row group.
type Block = Arc<Vec<ByteArray>>;
/// A block that the first thread to want it decodes while others wait.
type Slot = Arc<Mutex<Option<Block>>>;

struct ParquetSamples {
    shards: Vec<Shard>,
    /// (shard, row group, row in it)
    rows: Vec<(u32, u32, u32)>,
    keys: Vec<String>,
    kept: Mutex<VecDeque<((u32, u32), Slot)>>,
}

/// Reads parquet files as one split, in the order given.
pub fn draft(paths: &[PathBuf], pattern: &Path) -> Result<Draft> {
    let mut samples = ParquetSamples {
        shards: Vec::new(),
        rows: Vec::new(),
        keys: Vec::new(),
        kept: Mutex::default(),
    };
    let (mut labels, mut classes) = (Vec::new(), None);
    for path in paths {
        let shard = samples.shards.len() as u32;
        let (opened, found, names) = open(path)?;
        labels.extend(found);
        classes = classes.or(names);
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
    let labels = match labels.len() {
        0 => Labels::None,
        n if n == samples.rows.len() => Labels::Indices(labels),
        _ => {
            return Err(Error::file(
                pattern,
                "some of the files have no label column",
            ));
        }
    };
    Ok(Draft {
        path: pattern.to_path_buf(),
        samples: Box::new(samples),
        labels,
        classes,
    })
}

/// Opens one file: its shard, its labels (none where it has no such column) and class names.
fn open(path: &Path) -> Result<(Shard, Vec<u32>, Option<Vec<Class>>)> {
    let damaged =
        |e: ParquetError| Error::file(path, format!("is not a readable parquet file ({e})"));
    let file = File::open(path).map_err(|e| Error::file(path, e))?;
    let reader = SerializedFileReader::new(file).map_err(damaged)?;
    let metadata = reader.metadata();
    let schema = metadata.file_metadata().schema_descr();
    let columns: Vec<String> = schema.columns().iter().map(|c| c.path().string()).collect();
    let images = columns
        .iter()
        .position(|c| c.ends_with(".bytes"))
        .filter(|&c| schema.column(c).physical_type() == ByteArrayType::get_physical_type())
        .ok_or_else(|| {
            Error::file(
                path,
                format!(
                    "has no image column (a struct with `bytes`); its columns are {}",
                    columns.join(", ")
                ),
            )
        })?;
    let features = features(metadata.file_metadata().key_value_metadata());
    let named = features.as_ref().and_then(class_label);
    let label = match &named {
        Some((name, _)) => columns.iter().position(|c| c == name),
        None => LABELS
            .iter()
            .find_map(|name| columns.iter().position(|c| c == name)),
    };
    let groups: Vec<usize> = metadata
        .row_groups()
        .iter()
        .map(|g| g.num_rows() as usize)
        .collect();
    let mut labels = Vec::new();
    if let Some(column) = label {
        for (group, &rows) in groups.iter().enumerate() {
            let values = reader
                .get_row_group(group)
                .and_then(|g| g.get_column_reader(column))
                .map_err(damaged)?;
            let values = integers(values, rows).map_err(damaged)?;
            labels.extend(values.ok_or_else(|| {
                Error::file(
                    path,
                    format!(
                        "column `{}` must hold one integer class per row",
                        columns[column]
                    ),
                )
            })?);
        }
    }
    let shard = Shard {
        path: path.to_path_buf(),
        reader: Mutex::new(reader),
        images,
        groups,
    };
    Ok((shard, labels, named.map(|(_, classes)| classes)))
}

/// `info.features` of the metadata that the `datasets` library writes.
fn features(metadata: Option<&Vec<parquet::file::metadata::KeyValue>>) -> Option<Value> {
    let text = metadata?
        .iter()
        .find(|kv| kv.key == "huggingface")?
        .value
        .as_ref()?;
    let parsed: Value = serde_json::from_str(text).ok()?;
    parsed.pointer("/info/features").cloned()
}

/// The first column of type ClassLabel and its names.
fn class_label(features: &Value) -> Option<(String, Vec<Class>)> {
    let (column, feature) = features
        .as_object()?
        .iter()
        .find(|(_, f)| f["_type"] == "ClassLabel")?;
    let names = feature["names"].as_array()?;
    let class = |name: &Value| -> Option<Class> {
        let id = name.as_str()?;
        // ImageNet's names carry their synonyms: `tench, Tinca tinca`.
        Some(match id.contains(", ") {
            false => Class::from_id(id),
            true => Class {
                id: id.to_string(),
                names: id.split(", ").map(str::to_string).collect(),
            },
        })
    };
    Some((
        column.clone(),
        names.iter().map(class).collect::<Option<_>>()?,
    ))
}

/// Class numbers of one row group; `None` where one is missing, negative or no integer. Hugging
/// Face writes -1 for the classes of a test set that keeps them secret.
fn integers(reader: ColumnReader, rows: usize) -> Result<Option<Vec<u32>>, ParquetError> {
    fn convert<T: Copy + TryInto<u32>>(values: Vec<T>) -> Option<Vec<u32>> {
        values.into_iter().map(|v| v.try_into().ok()).collect()
    }
    let values = match reader {
        ColumnReader::Int64ColumnReader(reader) => convert(values(reader, rows)?),
        ColumnReader::Int32ColumnReader(reader) => convert(values(reader, rows)?),
        _ => None,
    };
    Ok(values.filter(|v| v.len() == rows))
}

/// All values of a column chunk; fewer than `rows` where some are null.
fn values<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    rows: usize,
) -> Result<Vec<T::T>, ParquetError> {
    let mut values = Vec::with_capacity(rows);
    let (mut levels, mut repetition) = (Vec::new(), Vec::new());
    let mut read = 0;
    while read < rows {
        let (records, _, _) = reader.read_records(
            rows - read,
            Some(&mut levels),
            Some(&mut repetition),
            &mut values,
        )?;
        if records == 0 {
            break;
        }
        read += records;
    }
    Ok(values)
}

impl Shard {
    fn decode(&self, group: u32) -> Result<Block> {
        let rows = self.groups[group as usize];
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || {
            let reader = reader.get_row_group(group as usize)?;
            match reader.get_column_reader(self.images)? {
                ColumnReader::ByteArrayColumnReader(reader) => values(reader, rows),
                _ => Err(ParquetError::General(
                    "the image column holds no bytes".into(),
                )),
            }
        };
        let images = read().map_err(|e| {
            Error::file(
                &self.path,
                format!("row group {group} cannot be read ({e})"),
            )
        })?;
        if images.len() != rows {
            return Err(Error::file(
                &self.path,
                format!(
                    "row group {group} has {rows} rows but {} images; images must be inside the file, not only named",
                    images.len()
                ),
            ));
        }
        Ok(Arc::new(images))
    }
}

impl ParquetSamples {
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

impl Samples for ParquetSamples {
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
        Ok(self.block(shard, group)?[row as usize].data().to_vec())
    }

    fn stamp(&self, index: usize) -> Option<Stamp> {
        let (shard, group, row) = self.rows[index];
        let path = &self.shards[shard as usize].path;
        let file = std::fs::metadata(path).ok()?;
        Stamp::new(path, &file, &[u64::from(group), u64::from(row)])
    }
}
