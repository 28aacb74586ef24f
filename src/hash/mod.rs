//! Hashes: of bytes, of streams, and of files, whose hashes are remembered ([`remembered`]).

pub mod remembered;

use crate::runtime::interrupt;
use crate::{Error, Result};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::Path;

/// Read at a time: small enough that Ctrl-C is obeyed at once, large enough for full disk speed.
const CHUNK: usize = 1 << 20;

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// SHA-256 of `bytes` in hexadecimal.
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 (hexadecimal) of what is still to be read of `file`; `path` is its name for errors.
///
/// # Errors
/// [`Error::File`] where it cannot be read, [`Error::Interrupted`] soon after Ctrl-C.
pub fn sha256_of_reader(path: &Path, file: &mut impl Read) -> Result<String> {
    let mut hasher = Sha256::new();
    in_chunks(path, file, |bytes| hasher.update(bytes))?;
    Ok(hex(&hasher.finalize()))
}

/// Hands the bytes of `file` to `update`, a chunk at a time. Errors as of [`sha256_of_reader`].
pub fn in_chunks(path: &Path, file: &mut impl Read, mut update: impl FnMut(&[u8])) -> Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        interrupt::check()?;
        match file.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => update(&buffer[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::file(path, e)),
        }
    }
}
