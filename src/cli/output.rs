//! Records to files, tables to stdout and files: the same for every command that measures.

use super::common::OutputArgs;
use crate::report::render::{CSV, MARKDOWN, TERMINAL};
use crate::report::{Record, Table, write_record, write_text};
use crate::{Error, Result};
use std::io::Write;
use std::path::Path;

/// Makes the folder for records, and finds out that it cannot be written before the work rather
/// than after.
pub fn prepare(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)
        .and_then(|()| tempfile::NamedTempFile::new_in(folder).map(drop))
        .map_err(|e| {
            Error::file(
                folder,
                format!("records cannot be written there ({e}); choose a folder with --out"),
            )
        })
}

/// Writes a record and tells where.
pub fn write(folder: &Path, record: &Record) -> Result<()> {
    let path = write_record(folder, record)?;
    tracing::info!("wrote {}", path.display());
    Ok(())
}

/// The table of `records` (or the records themselves with `--json`) on stdout, and in the files
/// that were asked for.
pub fn print(title: &str, records: &[Record], args: &OutputArgs) -> anyhow::Result<()> {
    let table = Table::from_records(title, records);
    for (path, renderer) in [(&args.csv, CSV), (&args.markdown, MARKDOWN)] {
        if let Some(path) = path {
            write_text(path, &renderer.render(&table)?)?;
        }
    }
    let text = if args.json {
        serde_json::to_string_pretty(records)? + "\n"
    } else {
        TERMINAL.render(&table)?
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}
