//! What ships with the tool: the miniature world, vocabularies, class names.
//!
//! A file that compresses well is kept as `NAME.zst`; [`path`] unpacks it once into
//! `$RADIO_EVAL_HOME/cache/assets` and checks it against `SHA256SUMS`.

use crate::files::write_atomically;
use crate::hash::sha256;
use crate::runtime::home;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

const FOLDER: &str = "RADIO_EVAL_ASSETS";
/// Checksums of the unpacked files, relative to the folder the list is in.
const SUMS: &str = "SHA256SUMS";

/// The file or folder `name` (`mini/weights/mini-dino`) as it can be read, unpacked if need be.
pub fn path(name: &str) -> Result<PathBuf> {
    let root = root()?;
    let plain = root.join(name);
    if plain.is_dir() {
        return unpack_folder(&root, name);
    }
    if plain.is_file() {
        return Ok(plain);
    }
    if packed(&plain).is_file() {
        return unpack(&root, name);
    }
    Err(Error::file(&plain, "is not among the shipped assets"))
}

/// `$RADIO_EVAL_ASSETS`, else `assets/` of the checkout the binary was built from, else `assets/`
/// beside the executable.
pub fn root() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os(FOLDER) {
        let folder = PathBuf::from(folder);
        return match folder.is_dir() {
            true => Ok(folder),
            false => Err(Error::usage(format!(
                "{FOLDER}={} is not a folder",
                folder.display()
            ))),
        };
    }
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.join("assets")));
    std::iter::once(checkout.clone())
        .chain(beside)
        .find(|folder| folder.is_dir())
        .ok_or_else(|| {
            Error::usage(format!(
                "the shipped assets are neither in {} nor beside the executable; set {FOLDER} to the folder `assets` of a checkout",
                checkout.display()
            ))
        })
}

fn packed(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".zst");
    PathBuf::from(name)
}

/// The folder itself where nothing in it is packed, else a copy with everything unpacked.
fn unpack_folder(root: &Path, name: &str) -> Result<PathBuf> {
    let folder = root.join(name);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(|e| Error::file(&folder, e))? {
        let entry = entry.map_err(|e| Error::file(&folder, e))?;
        files.extend(entry.file_name().into_string().ok());
    }
    if !files.iter().any(|file| file.ends_with(".zst")) {
        return Ok(folder);
    }
    let copy = cache().join(name);
    for file in files {
        let member = format!("{name}/{file}");
        match member.strip_suffix(".zst") {
            Some(plain) => {
                unpack(root, plain)?;
            }
            None => {
                let (from, to) = (root.join(&member), cache().join(&member));
                let bytes = std::fs::read(&from).map_err(|e| Error::file(&from, e))?;
                if std::fs::read(&to).ok().as_ref() != Some(&bytes) {
                    write_atomically(&to, &bytes)?;
                }
            }
        }
    }
    Ok(copy)
}

fn cache() -> PathBuf {
    home().join("cache/assets")
}

/// Unpacks one file; a copy that is already there and has the right size is taken as it is.
fn unpack(root: &Path, name: &str) -> Result<PathBuf> {
    let target = cache().join(name);
    let source = packed(&root.join(name));
    let expected = checksum(root, name)?;
    // The name of the mark carries the checksum, so that a new version of the asset is unpacked.
    let mark = cache().join(format!("{name}.{}", &expected[..16]));
    if mark.is_file() && target.is_file() {
        return Ok(target);
    }
    let file = std::fs::File::open(&source).map_err(|e| Error::file(&source, e))?;
    let bytes = zstd::decode_all(file).map_err(|e| Error::file(&source, e))?;
    let found = sha256(&bytes);
    if found != expected {
        return Err(Error::file(
            &source,
            format!(
                "unpacks to a file with SHA-256 {found}, {SUMS} says {expected}; the checkout is damaged"
            ),
        ));
    }
    write_atomically(&target, &bytes)?;
    write_atomically(&mark, b"")?;
    Ok(target)
}

/// The checksum of `name` from the `SHA256SUMS` nearest above it.
fn checksum(root: &Path, name: &str) -> Result<String> {
    for folder in Path::new(name).ancestors().skip(1) {
        let list = root.join(folder).join(SUMS);
        let Ok(text) = std::fs::read_to_string(&list) else {
            continue;
        };
        let relative = Path::new(name)
            .strip_prefix(folder)
            .unwrap_or(Path::new(name));
        let hash = text
            .lines()
            .filter_map(|line| line.split_once("  "))
            .find(|(_, file)| Path::new(file) == relative)
            .map(|(hash, _)| hash.to_string());
        return hash.filter(|hash| hash.len() == 64).ok_or_else(|| {
            Error::file(&list, format!("has no checksum of {}", relative.display()))
        });
    }
    Err(Error::file(
        root.join(name),
        format!("has no {SUMS} above it"),
    ))
}
