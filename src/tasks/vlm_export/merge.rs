//! Several folders with parts of one export, brought together.

use super::manifest::{self, Export, Manifest};
use super::shard::{Finished, file_name, sidecar_path};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Brings the shards of `parts` into `out` (hard links where that is possible, else copies) and
/// writes index and manifest.
///
/// # Errors
/// Parts of different exports, or shards that none of them has (their numbers are named).
pub fn merge(out: &Path, parts: &[PathBuf]) -> Result<Manifest> {
    let first = parts.first().map_or(out, PathBuf::as_path);
    let export = Export::read(first)?;
    let identity = export.identity()?;
    for part in parts {
        let other = Export::read(part)?;
        if other.identity()? != identity {
            return Err(Error::file(
                part,
                format!(
                    "is part of another export than {}: {}",
                    first.display(),
                    difference(&export, &other)
                ),
            ));
        }
    }
    std::fs::create_dir_all(out).map_err(|e| Error::file(out, e))?;
    export.write(out)?;
    for shard in 0..export.shards {
        if Finished::find(out, shard, &identity)?.is_some() {
            continue;
        }
        for part in parts {
            if Finished::find(part, shard, &identity)?.is_some() {
                bring(&part.join(file_name(shard)), &out.join(file_name(shard)))?;
                // Last, as it makes the shard count.
                bring(&sidecar_path(part, shard), &sidecar_path(out, shard))?;
                break;
            }
        }
    }
    manifest::finish(out, &export)?.map_err(|missing| {
        let named: Vec<String> = missing.iter().take(10).map(usize::to_string).collect();
        Error::file(
            out,
            format!(
                "{} of {} shards are not there: {}{}; run the parts that make them, then merge again",
                missing.len(),
                export.shards,
                named.join(", "),
                if missing.len() > named.len() { ", ..." } else { "" }
            ),
        )
    })
}

/// The first field in which two exports differ.
fn difference(a: &Export, b: &Export) -> String {
    let (a, b) = (serde_json::to_value(a), serde_json::to_value(b));
    let (Ok(serde_json::Value::Object(a)), Ok(serde_json::Value::Object(b))) = (a, b) else {
        return "they cannot be compared".into();
    };
    let field = a.iter().find(|(name, value)| b.get(*name) != Some(value));
    field.map_or("they differ".into(), |(name, _)| {
        format!("`{name}` differs")
    })
}

fn bring(from: &Path, to: &Path) -> Result<()> {
    if std::fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    let mut source = std::fs::File::open(from).map_err(|e| Error::file(from, e))?;
    let mut target = crate::files::AtomicFile::create(to)?;
    std::io::copy(&mut source, &mut target).map_err(|e| Error::file(to, e))?;
    target.commit()
}
