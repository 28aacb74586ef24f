//! The hub's ETags as checksums: SHA-256 of files in large-file storage, Git's object id (SHA-1
//! with a header) of the others.

use crate::hash::{hex, in_chunks, sha256_of_reader};
use crate::{Error, Result};
use sha1::{Digest, Sha1};
use std::fs::File;
use std::path::Path;

/// Whether the file's contents are those of `etag`; ETags of other forms cannot be checked and
/// count as equal.
///
/// # Errors
/// [`Error::File`] where it cannot be read, [`Error::Interrupted`] soon after Ctrl-C.
pub fn matches(path: &Path, etag: &str) -> Result<bool> {
    if !etag.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(true);
    }
    let fail = |e: std::io::Error| Error::file(path, e);
    let mut file = File::open(path).map_err(fail)?;
    let hash = match etag.len() {
        64 => sha256_of_reader(path, &mut file)?,
        40 => {
            let mut hasher = Sha1::new();
            hasher.update(format!("blob {}\0", file.metadata().map_err(fail)?.len()));
            in_chunks(path, &mut file, |bytes| hasher.update(bytes))?;
            hex(&hasher.finalize())
        }
        _ => return Ok(true),
    };
    Ok(hash.eq_ignore_ascii_case(etag))
}
