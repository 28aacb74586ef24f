//! Listing a folder.

use super::LeftOut;
use crate::runtime::interrupt;
use crate::{Error, Result};
use std::path::Path;
use walkdir::{DirEntry, WalkDir};

/// Appends the names (relative to `root`) of the files below `root/part`.
pub fn list(
    root: &Path,
    part: &str,
    names: &mut Vec<String>,
    left_out: &mut LeftOut,
) -> Result<()> {
    let walk = WalkDir::new(root.join(part))
        .follow_links(true)
        .min_depth(1)
        .into_iter()
        .filter_entry(|entry| !is_hidden(entry));
    for entry in walk {
        interrupt::check()?;
        let entry = match entry {
            Ok(entry) => entry,
            Err(e) => {
                let path = e.path().unwrap_or(root);
                let inside = path.strip_prefix(root).unwrap_or(path).to_string_lossy();
                if e.loop_ancestor().is_some() {
                    left_out.push("links that lead back to a folder above them", &inside);
                } else if path.is_symlink() && !path.exists() {
                    left_out.push("links that lead nowhere", &inside);
                } else {
                    return Err(Error::file(path, format!("cannot be listed: {e}")));
                }
                continue;
            }
        };
        if !entry.file_type().is_file() {
            continue;
        }
        let relative = entry.path().strip_prefix(root).unwrap_or(entry.path());
        let name = relative
            .to_str()
            .ok_or_else(|| Error::file(entry.path(), "the file's name is not UTF-8; rename it"))?;
        names.push(name.to_string());
    }
    Ok(())
}

/// Hidden files, and the folders that file systems and other systems' archivers make.
fn is_hidden(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    name.as_encoded_bytes().starts_with(b".") || name == "lost+found" || name == "__MACOSX"
}
