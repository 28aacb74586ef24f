//! A safetensors file that grows by rows of several tensors at once, and that a later run can go
//! on with.

use crate::files::sync_folder;
use crate::weights::safetensors::{Declared, Header};
use crate::{Error, Result};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The file under its own name with `.partial` behind it, at its full length from the start; what
/// is not written yet takes no room on the disk.
pub struct RowFile {
    path: PathBuf,
    partial: PathBuf,
    file: File,
    header: Header,
    /// Bytes of a row of each tensor.
    row_bytes: Vec<usize>,
}

impl RowFile {
    /// Opens the unfinished file of `path`, or begins it; and whether it was there, of the same
    /// layout.
    pub fn open(
        path: &Path,
        tensors: &[Declared],
        metadata: &HashMap<String, String>,
    ) -> Result<(Self, bool)> {
        let header = Header::new(path, tensors, metadata)?;
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| Error::file(folder, e))?;
        }
        let fail = |e: std::io::Error| Error::file(&partial, e);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&partial)
            .map_err(fail)?;
        let values = header.spans.last().map_or(0, |&(_, end)| end);
        let length = (header.bytes.len() + values) as u64;
        let known = file.metadata().map_err(fail)?.len() == length;
        if !known {
            // Nothing of another layout shows through.
            file.set_len(0)
                .and_then(|()| file.set_len(length))
                .map_err(fail)?;
        }
        let row_bytes = tensors
            .iter()
            .zip(&header.spans)
            .map(|(tensor, (start, end))| {
                let rows = tensor.shape.first().map_or(1, |&n| n.max(1) as usize);
                (end - start) / rows
            })
            .collect();
        let opened = RowFile {
            path: path.to_path_buf(),
            partial: partial.clone(),
            file,
            header,
            row_bytes,
        };
        Ok((opened, known))
    }

    /// Writes rows of tensor `tensor` from row `first` on.
    pub fn write(&self, tensor: usize, first: usize, rows: &[Vec<u8>]) -> Result<()> {
        let start = self.header.bytes.len() + self.header.spans[tensor].0;
        for (row, bytes) in (first..).zip(rows) {
            if bytes.len() != self.row_bytes[tensor] {
                return Err(Error::model(
                    "the features changed their size within one export",
                ));
            }
            self.file
                .write_all_at(bytes, (start + row * bytes.len()) as u64)
                .map_err(|e| Error::file(&self.partial, e))?;
        }
        Ok(())
    }

    /// Makes what was written survive a crash.
    pub fn sync(&self) -> Result<()> {
        let synced = self.file.sync_data();
        synced.map_err(|e| Error::file(&self.partial, e))
    }

    /// Writes the header, once every row is there, and gives the file its name.
    pub fn finish(self) -> Result<()> {
        let fail = |e: std::io::Error| Error::file(&self.partial, e);
        self.file
            .write_all_at(&self.header.bytes, 0)
            .and_then(|()| self.file.sync_all())
            .map_err(fail)?;
        std::fs::rename(&self.partial, &self.path).map_err(|e| Error::file(&self.path, e))?;
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        sync_folder(folder).map_err(|e| Error::file(folder, e))
    }
}
