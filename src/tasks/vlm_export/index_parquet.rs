//! The index as a parquet file, a row group per shard.

use super::shard::IndexEntry;
use crate::files::AtomicFile;
use crate::{Error, Result};
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Text columns, then whole numbers: the fields of [`IndexEntry`].
/// A column and its value of an entry.
type Text = (&'static str, fn(&IndexEntry) -> &str);
type Number = (&'static str, fn(&IndexEntry) -> i64);

const TEXTS: [Text; 3] = [
    ("key", |e| &e.key),
    ("shard", |e| &e.shard),
    ("sha256", |e| &e.sha256),
];
const NUMBERS: [Number; 12] = [
    ("view", |e| e.view),
    ("views", |e| e.views),
    ("token", |e| e.token),
    ("tokens", |e| e.tokens),
    ("grid_h", |e| e.grid_h),
    ("grid_w", |e| e.grid_w),
    ("tiles_x", |e| e.tiles_x),
    ("tiles_y", |e| e.tiles_y),
    ("view_h", |e| e.view_h),
    ("view_w", |e| e.view_w),
    ("source_h", |e| e.source_h),
    ("source_w", |e| e.source_w),
];

pub struct Index {
    path: PathBuf,
    writer: SerializedFileWriter<AtomicFile>,
}

impl Index {
    pub fn create(path: &Path) -> Result<Self> {
        let texts = TEXTS.map(|(name, _)| format!("REQUIRED BYTE_ARRAY {name} (UTF8);"));
        let numbers = NUMBERS.map(|(name, _)| format!("REQUIRED INT64 {name};"));
        let message = format!(
            "message index {{ {} {} }}",
            texts.join(" "),
            numbers.join(" ")
        );
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by("radio-eval".to_string())
            .build();
        let started = parse_message_type(&message).and_then(|schema| {
            let file =
                AtomicFile::create(path).map_err(|e| ParquetError::General(e.to_string()))?;
            SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties))
        });
        Ok(Index {
            writer: started.map_err(|e| Error::file(path, e))?,
            path: path.to_path_buf(),
        })
    }

    /// Appends a row group.
    pub fn append(&mut self, entries: &[IndexEntry]) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let write = || -> Result<(), ParquetError> {
            let mut group = self.writer.next_row_group()?;
            for (_, text) in TEXTS {
                let values: Vec<ByteArray> = entries.iter().map(|e| text(e).into()).collect();
                if let Some(mut column) = group.next_column()? {
                    let typed = column.typed::<ByteArrayType>();
                    typed.write_batch(&values, None, None)?;
                    column.close()?;
                }
            }
            for (_, number) in NUMBERS {
                let values: Vec<i64> = entries.iter().map(number).collect();
                if let Some(mut column) = group.next_column()? {
                    column
                        .typed::<Int64Type>()
                        .write_batch(&values, None, None)?;
                    column.close()?;
                }
            }
            group.close()?;
            Ok(())
        };
        let mut write = write;
        write().map_err(|e| Error::file(&self.path, e))
    }

    pub fn commit(self) -> Result<()> {
        let file = self
            .writer
            .into_inner()
            .map_err(|e| Error::file(&self.path, e))?;
        file.commit()
    }
}
