//! SHA-256 of weight files, remembered: hashing 2.6 GB at each start would cost seconds.

use crate::{Error, Result, runtime};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// What a remembered digest belongs to; a change of any field makes it void.
#[derive(Serialize, Deserialize, PartialEq)]
struct Identity {
    path: PathBuf,
    size: u64,
    modified_ns: u128,
}

#[derive(Serialize, Deserialize)]
struct Remembered {
    #[serde(flatten)]
    of: Identity,
    sha256: String,
}

/// The SHA-256 of one file; of several, the SHA-256 of what `sha256sum` prints for them, names
/// without folders.
pub fn of_files(files: &[PathBuf]) -> Result<String> {
    if let [file] = files {
        return of_file(file);
    }
    let mut hasher = Sha256::new();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        hasher.update(format!("{}  {name}\n", of_file(file)?));
    }
    Ok(hex(&hasher.finalize()))
}

/// The SHA-256 of a file, from `$RADIO_EVAL_HOME/cache/sha256` where it was computed before.
pub fn of_file(path: &Path) -> Result<String> {
    let fail = |e: std::io::Error| Error::file(path, e);
    // A link of the Hugging Face cache and its blob are one file.
    let path_now = path.canonicalize().map_err(fail)?;
    let meta = path_now.metadata().map_err(fail)?;
    let modified = meta.modified().map_err(fail)?.duration_since(UNIX_EPOCH);
    let of = Identity {
        size: meta.len(),
        modified_ns: modified.map_or(0, |d| d.as_nanos()),
        path: path_now,
    };
    let key = hex(&Sha256::digest(of.path.as_os_str().as_encoded_bytes()));
    let memory = runtime::home()
        .join("cache/sha256")
        .join(format!("{key}.json"));
    let known = std::fs::read(&memory)
        .ok()
        .and_then(|text| serde_json::from_slice::<Remembered>(&text).ok())
        .filter(|known| known.of == of);
    if let Some(known) = known {
        return Ok(known.sha256);
    }
    let sha256 = stream(path).map_err(fail)?;
    let remembered = Remembered { of, sha256 };
    // A home that cannot be written costs time at the next start, nothing else.
    if let Err(error) = remember(&memory, &remembered) {
        tracing::debug!("the digest is not remembered: {error}");
    }
    Ok(remembered.sha256)
}

fn stream(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hasher.finalize())),
            n => hasher.update(&buffer[..n]),
        }
    }
}

fn remember(memory: &Path, remembered: &Remembered) -> std::io::Result<()> {
    let folder = memory.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let file = tempfile::NamedTempFile::new_in(folder)?;
    serde_json::to_writer(&file, remembered)?;
    file.persist(memory)?;
    Ok(())
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
