//! A part being filled by this process alone.

use super::column::Column;
use super::header::{Header, MissingRow, Unusable};
use super::lock::{Access, lock};
use super::reader::{self, StorePart};
use super::store_error;
use crate::files::write_atomically;
use crate::{Error, Result};
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// One image's values: the bytes of each column, in the order of the columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub cells: Vec<Vec<u8>>,
}

/// Appends rows; see the module's description of what survives.
pub struct Writer {
    folder: PathBuf,
    files: Vec<ColumnFiles>,
    /// What is on disk and synced.
    committed: Header,
    /// What has been appended since, not yet synced.
    rows: usize,
    skipped: Vec<MissingRow>,
    /// Held until the writer is dropped.
    _lock: File,
}

struct ColumnFiles {
    column: Column,
    values: Appended,
    /// Offsets of a ragged column, and the tokens before the next row.
    ends: Option<(Appended, i64)>,
}

/// A file and the length of what was wholly appended to it.
struct Appended {
    path: PathBuf,
    file: File,
    length: u64,
    /// Bytes behind it of rows that are being appended.
    unkept: u64,
}

impl Writer {
    /// Opens the part in `folder` for `total` images, or makes it. Waits while another process
    /// fills it. What is there of another key is thrown away; what is damaged too, with a warning
    /// that names it.
    pub fn open(folder: &Path, key: Value, total: usize) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|e| store_error(folder, e))?;
        let lock = lock(folder, Access::Write)?;
        let usable = Header::read(folder).and_then(|header| {
            if header.key != key || header.total != total {
                return Err(Unusable::Other);
            }
            reader::check_lengths(folder, &header).map_err(Unusable::Damaged)?;
            Ok(header)
        });
        let (committed, drop_files) = match usable {
            Ok(header) => (header, false),
            Err(reason) => {
                if let Unusable::Damaged(reason) = reason {
                    tracing::warn!(
                        "the feature store {} is damaged ({reason}); it is dropped and made anew",
                        folder.display()
                    );
                }
                (Header::new(key, total), true)
            }
        };
        let mut writer = Writer {
            folder: folder.to_path_buf(),
            files: Vec::new(),
            committed,
            rows: 0,
            skipped: Vec::new(),
            _lock: lock,
        };
        if drop_files {
            writer.unlink()?;
        }
        let columns = writer.committed.columns.clone();
        writer.open_columns(&columns)?;
        Ok(writer)
    }

    /// What counts: rows that are on disk.
    pub fn header(&self) -> &Header {
        &self.committed
    }

    /// Images done, those included that are appended and not yet committed.
    pub fn done(&self) -> usize {
        self.committed.done + self.rows + self.skipped.len()
    }

    pub fn is_complete(&self) -> bool {
        self.committed.is_complete()
    }

    /// Images skipped up to now.
    pub fn skipped(&self) -> impl Iterator<Item = &MissingRow> {
        self.committed.skipped.iter().chain(&self.skipped)
    }

    /// Throws away every row, to start afresh. Files that others have mapped stay theirs.
    pub fn reset(&mut self) -> Result<()> {
        self.files.clear();
        self.rows = 0;
        self.skipped.clear();
        self.committed = Header::new(self.committed.key.clone(), self.committed.total);
        self.unlink()
    }

    /// Says what the columns of the next rows are; the same in every call of a store's life.
    pub fn declare(&mut self, columns: &[Column]) -> Result<()> {
        let known: Vec<&Column> = self.files.iter().map(|f| &f.column).collect();
        if known.is_empty() {
            return self.open_columns(columns);
        }
        if known.iter().copied().eq(columns) {
            return Ok(());
        }
        let changed = columns.iter().zip(known).find(|(new, old)| new != old);
        Err(Error::model(match changed {
            Some((new, old)) => format!(
                "the features `{}` changed from {:?} {:?} to {:?} {:?} within one data set",
                new.name, old.dtype, old.shape, new.dtype, new.shape
            ),
            None => "the number of feature columns changed within one data set".to_string(),
        }))
    }

    /// Appends the rows of the next images, and says which of those had none.
    ///
    /// # Errors
    /// A row that does not fit the columns, or a disk that is full: what was appended before
    /// stays, and [`Writer::commit`] still counts it.
    pub fn append(&mut self, rows: &[Row], skipped: Vec<MissingRow>) -> Result<()> {
        for row in rows {
            self.check_row(row)?;
        }
        if let Err(error) = self.write(rows) {
            self.cut_back()?;
            return Err(error);
        }
        for files in &mut self.files {
            files.keep();
        }
        self.rows += rows.len();
        self.skipped.extend(skipped);
        Ok(())
    }

    /// Makes what was appended survive a crash, and counts it.
    pub fn commit(&mut self) -> Result<()> {
        if self.rows == 0 && self.skipped.is_empty() && self.committed.done > 0 {
            return Ok(());
        }
        for file in self.files.iter().flat_map(ColumnFiles::each) {
            file.file
                .sync_data()
                .map_err(|e| store_error(&file.path, e))?;
        }
        let mut header = self.committed.clone();
        header.columns = self.files.iter().map(|f| f.column.clone()).collect();
        header.done = self.done();
        header.skipped.extend(self.skipped.iter().cloned());
        let path = Header::path(&self.folder);
        let text = serde_json::to_vec_pretty(&header).map_err(|e| Error::file(&path, e))?;
        write_atomically(&path, &text)?;
        self.committed = header;
        self.rows = 0;
        self.skipped.clear();
        Ok(())
    }

    /// Overwrites one counted row of a column that is not ragged. A crash may leave the old or a
    /// torn row: only for what is checked when it is read.
    pub fn overwrite(&mut self, column: &str, row: usize, cell: &[u8]) -> Result<()> {
        let files = self.files.iter().find(|f| f.column.name == column);
        let fits = files.is_some_and(|f| f.ends.is_none() && f.column.unit_bytes() == cell.len());
        let (Some(files), true, true) = (files, fits, row < self.committed.rows()) else {
            return Err(Error::model(format!(
                "row {row} of `{column}` cannot be overwritten"
            )));
        };
        let at = row * cell.len();
        files
            .values
            .file
            .write_all_at(cell, at as u64)
            .map_err(|e| store_error(&files.values.path, e))
    }

    /// The rows that count, mapped. Lets others in.
    pub fn finish(self) -> Result<StorePart> {
        StorePart::map(&self.folder, self.committed)
    }

    /// The counted rows, mapped while the writer goes on.
    pub fn committed_rows(&self) -> Result<StorePart> {
        StorePart::map(&self.folder, self.committed.clone())
    }

    fn check_row(&self, row: &Row) -> Result<()> {
        if row.cells.len() != self.files.len() {
            return Err(Error::model(format!(
                "a row of {} values for {} feature columns",
                row.cells.len(),
                self.files.len()
            )));
        }
        for (cell, files) in row.cells.iter().zip(&self.files) {
            let unit = files.column.unit_bytes();
            let fits = match files.column.ragged {
                true => unit > 0 && cell.len().is_multiple_of(unit),
                false => cell.len() == unit,
            };
            if !fits {
                return Err(Error::model(format!(
                    "the features `{}` changed their size within one data set: {} bytes, where {unit} were expected",
                    files.column.name,
                    cell.len()
                )));
            }
        }
        Ok(())
    }

    /// The bytes of `rows`, column by column.
    fn write(&mut self, rows: &[Row]) -> Result<()> {
        for (at, files) in self.files.iter_mut().enumerate() {
            let unit = files.column.unit_bytes();
            for row in rows {
                files.values.write(&row.cells[at])?;
            }
            if let Some((ends, tokens)) = &mut files.ends {
                let mut end = *tokens;
                for row in rows {
                    end += (row.cells[at].len() / unit) as i64;
                    ends.write(&end.to_le_bytes())?;
                }
                *tokens = end;
            }
        }
        Ok(())
    }

    /// After a failed write: every file as it was after the last append that succeeded. Shortening
    /// needs no room on the disk.
    fn cut_back(&mut self) -> Result<()> {
        let rows = self.committed.rows() + self.rows;
        for files in &mut self.files {
            files.values.cut()?;
            if let Some((ends, tokens)) = &mut files.ends {
                ends.cut()?;
                *tokens = last_end(ends, rows)?;
            }
        }
        Ok(())
    }

    fn open_columns(&mut self, columns: &[Column]) -> Result<()> {
        let rows = self.committed.rows();
        let mut files = Vec::with_capacity(columns.len());
        for column in columns {
            let ends = match column.ragged {
                false => None,
                true => {
                    let length = (rows * size_of::<i64>()) as u64;
                    let ends = Appended::open(column.ends_path(&self.folder), length)?;
                    let tokens = last_end(&ends, rows)?;
                    Some((ends, tokens))
                }
            };
            let units = ends.as_ref().map_or(rows as u64, |(_, end)| *end as u64);
            let length = units * column.unit_bytes() as u64;
            files.push(ColumnFiles {
                values: Appended::open(column.values_path(&self.folder), length)?,
                ends,
                column: column.clone(),
            });
        }
        self.files = files;
        Ok(())
    }

    /// Removes every file of the part but the lock: the header first, so that no crash leaves one
    /// that counts rows which are gone.
    fn unlink(&self) -> Result<()> {
        remove(&Header::path(&self.folder))?;
        let entries = std::fs::read_dir(&self.folder).map_err(|e| store_error(&self.folder, e))?;
        for entry in entries {
            let path = entry.map_err(|e| store_error(&self.folder, e))?.path();
            if path.file_name().is_some_and(|name| name != "lock") {
                remove(&path)?;
            }
        }
        Ok(())
    }
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(store_error(path, e)),
        _ => Ok(()),
    }
}

/// The tokens up to the end of row `rows - 1`.
fn last_end(ends: &Appended, rows: usize) -> Result<i64> {
    if rows == 0 {
        return Ok(0);
    }
    let mut bytes = [0; size_of::<i64>()];
    let at = ((rows - 1) * bytes.len()) as u64;
    ends.file
        .read_exact_at(&mut bytes, at)
        .map_err(|e| store_error(&ends.path, e))?;
    Ok(i64::from_le_bytes(bytes))
}

impl ColumnFiles {
    fn each(&self) -> impl Iterator<Item = &Appended> {
        std::iter::once(&self.values).chain(self.ends.as_ref().map(|(file, _)| file))
    }

    /// Makes what was written the length to go back to.
    fn keep(&mut self) {
        let files = std::iter::once(&mut self.values);
        for file in files.chain(self.ends.as_mut().map(|(file, _)| file)) {
            file.length += std::mem::take(&mut file.unkept);
        }
    }
}

impl Appended {
    /// Opens or makes a file, and cuts off what no header counts.
    fn open(path: PathBuf, length: u64) -> Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| store_error(&path, e))?;
        let mut opened = Appended {
            path,
            file,
            length,
            unkept: 0,
        };
        opened.cut()?;
        Ok(opened)
    }

    fn cut(&mut self) -> Result<()> {
        self.unkept = 0;
        self.file
            .set_len(self.length)
            .map_err(|e| store_error(&self.path, e))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all_at(bytes, self.length + self.unkept)
            .map_err(|e| store_error(&self.path, e))?;
        self.unkept += bytes.len() as u64;
        Ok(())
    }
}
