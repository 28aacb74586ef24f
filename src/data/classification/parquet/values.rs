//! Values of a column, null where a row has none.

use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;

/// Most rows to make room for before they are read: a damaged file may claim any number.
const ROOM: usize = 1 << 16;

/// The classes of one row group.
pub enum Classes {
    Numbers(Vec<Option<i64>>),
    Words(Vec<Option<String>>),
}

/// Reads a class column; `None` where it holds neither integers nor text.
pub fn classes(reader: ColumnReader, rows: usize) -> Result<Option<Classes>, ParquetError> {
    Ok(match reader {
        ColumnReader::Int64ColumnReader(reader) => Some(Classes::Numbers(column(reader, rows)?)),
        ColumnReader::Int32ColumnReader(reader) => {
            let numbers = column(reader, rows)?.into_iter();
            Some(Classes::Numbers(
                numbers.map(|n| n.map(i64::from)).collect(),
            ))
        }
        ColumnReader::ByteArrayColumnReader(reader) => {
            let mut words = Vec::new();
            for value in column(reader, rows)? {
                words.push(match value {
                    Some(bytes) => Some(bytes.as_utf8()?.to_string()),
                    None => None,
                });
            }
            Some(Classes::Words(words))
        }
        _ => None,
    })
}

/// Reads a column of bytes.
pub fn bytes(reader: ColumnReader, rows: usize) -> Result<Vec<Option<ByteArray>>, ParquetError> {
    match reader {
        ColumnReader::ByteArrayColumnReader(reader) => column(reader, rows),
        _ => Err(ParquetError::General(
            "the image column holds no bytes".into(),
        )),
    }
}

/// One value per row of a column that is no list.
fn column<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    rows: usize,
) -> Result<Vec<Option<T::T>>, ParquetError> {
    let mut all = Vec::with_capacity(rows.min(ROOM));
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    while all.len() < rows {
        values.clear();
        levels.clear();
        let wanted = (rows - all.len()).min(ROOM);
        let (records, _, _) = reader.read_records(wanted, Some(&mut levels), None, &mut values)?;
        if records == 0 {
            return Err(ParquetError::General(format!(
                "it ends after {} of {rows} rows",
                all.len()
            )));
        }
        // Without nulls there are no levels. A row whose level is lower than the highest is null;
        // values are there for the others only.
        if levels.is_empty() || values.len() == records {
            all.extend(values.drain(..).map(Some));
            continue;
        }
        let highest = levels.iter().copied().max().unwrap_or(0);
        let mut present = values.drain(..);
        let nulls = present.len() == 0;
        for &level in &levels {
            all.push(match level == highest && !nulls {
                true => present.next(),
                false => None,
            });
        }
    }
    Ok(all)
}
