//! What a measuring command finished: written at once, printed in any case. The same for all.

use super::Outcome;
use super::tables::{self, TableArgs};
use crate::metrics::Definition;
use crate::report::{Record, Table};
use crate::tasks::Finished;
use crate::{Error, Result};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// The finished cells of a command.
pub struct Results<'a> {
    title: String,
    folder: PathBuf,
    tables: &'a TableArgs,
    /// Metrics of the table for people; all by default.
    shown: Option<&'static [&'static Definition]>,
    records: Vec<Record>,
    /// Lines under the table.
    notes: Vec<String>,
    /// Warnings that were told.
    warned: HashSet<String>,
}

impl<'a> Results<'a> {
    /// Makes the folder for records, and finds out that it or a file of the table cannot be
    /// written before the work rather than after.
    pub fn begin(title: &str, folder: &Path, tables: &'a TableArgs) -> Result<Self> {
        writable_folder(folder).map_err(|e| {
            Error::file(
                folder,
                format!("records cannot be written there ({e}); choose a folder with --out"),
            )
        })?;
        for path in tables.paths() {
            writable_file(path)?;
        }
        Ok(Results {
            title: title.to_string(),
            folder: folder.to_path_buf(),
            tables,
            shown: None,
            records: Vec::new(),
            notes: Vec::new(),
            warned: HashSet::new(),
        })
    }

    /// What the table is about, once that is known.
    pub fn set_title(&mut self, title: String) {
        self.title = title;
    }

    /// Warnings that are on the terminal already: those of the data, told when it was opened.
    pub fn already_warned(&mut self, warnings: &[String]) {
        self.warned.extend(warnings.iter().cloned());
    }

    /// Only these metrics in the table for people.
    pub fn showing(mut self, metrics: &'static [&'static Definition]) -> Self {
        self.shown = Some(metrics);
        self
    }

    /// Lines under the table.
    pub fn add_notes(&mut self, notes: impl IntoIterator<Item = String>) {
        self.notes.extend(notes);
    }

    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Writes a finished cell, so that a later failure does not lose it.
    pub fn add(&mut self, finished: Finished) -> Result<()> {
        let path = finished.write(&self.folder)?;
        tracing::info!("wrote {}", path.display());
        for warning in &finished.record.warnings {
            if self.warned.insert(warning.clone()) {
                tracing::warn!("{warning}");
            }
        }
        self.records.push(finished.record);
        Ok(())
    }

    /// Prints what was finished, however the work ended.
    pub fn end(self, outcome: Result<()>) -> anyhow::Result<Outcome> {
        let printed = match self.records.is_empty() {
            true => Ok(()),
            false => {
                let (shown, complete) = self.both_tables();
                self.tables.write(&self.records, &shown, &complete)
            }
        };
        outcome?;
        printed?;
        Ok(Outcome::Done)
    }

    /// The table in every file format, in the folder of the records.
    pub fn write_tables(&self) -> Result<()> {
        let (shown, complete) = self.both_tables();
        tables::write_all(&self.folder, &shown, &complete)
    }

    /// For people, and for programs.
    fn both_tables(&self) -> (Table, Table) {
        let mut complete = Table::from_records(&self.title, &self.records);
        complete.notes.extend(self.notes.iter().cloned());
        let shown = match self.shown {
            Some(metrics) => complete.clone().with_metrics(metrics),
            None => complete.clone(),
        };
        (shown, complete)
    }
}

/// Makes `folder`, and tries to write into it.
fn writable_folder(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    tempfile::NamedTempFile::new_in(folder).map(drop)
}

/// Finds out before the work that a result file cannot be written after it.
pub fn writable_file(path: &Path) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if path.is_dir() {
        return Err(Error::file(path, "is a folder; name a file in it"));
    }
    writable_folder(folder).map_err(|e| Error::file(path, format!("cannot be written ({e})")))
}
