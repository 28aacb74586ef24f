//! SHA-256 of weight files.

use super::Checkpoint;
use crate::{Error, Result};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::Path;

impl Checkpoint {
    /// SHA-256 of the weights in hex: of the file, or where there are several (shards), of their
    /// hashes in order of name. `None` for random weights.
    pub fn sha256(&self) -> Result<Option<String>> {
        match self.files.as_slice() {
            [] => Ok(None),
            [file] => Ok(Some(hex(&of_file(file)?))),
            files => {
                let mut files = files.to_vec();
                files.sort();
                let mut all = Sha256::new();
                for file in &files {
                    all.update(of_file(file)?);
                }
                Ok(Some(hex(&all.finalize())))
            }
        }
    }
}

/// SHA-256 of a file's bytes.
pub fn of_file(path: &Path) -> Result<[u8; 32]> {
    let mut file = File::open(path).map_err(|e| Error::file(path, e))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(|e| Error::file(path, e))? {
            0 => return Ok(hash.finalize().into()),
            n => hash.update(&buffer[..n]),
        }
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
