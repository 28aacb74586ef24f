//! What ships with the tool: the miniature world, vocabularies, class names.
//!
//! A file that compresses well is kept as `NAME.zst`; [`path`] unpacks it once into
//! `$RADIO_EVAL_HOME/cache/assets/HASH/NAME` and checks it against `SHA256SUMS`.

use crate::files::{text, write_atomically};
use crate::hash::sha256;
use crate::runtime::home;
use crate::{Error, Result};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const FOLDER: &str = "RADIO_EVAL_ASSETS";
/// Checksums of the unpacked files, relative to the folder the list is in.
const SUMS: &str = "SHA256SUMS";
/// What the name of a packed file ends with.
const PACKED: &str = ".zst";

/// The file or folder `name` (`mini/weights/mini-dino`) as it can be read, unpacked if need be.
pub fn path(name: &str) -> Result<PathBuf> {
    locate(&root()?, &home().join("cache/assets"), name)
}

fn locate(root: &Path, cache: &Path, name: &str) -> Result<PathBuf> {
    let plain = root.join(name);
    if plain.is_dir() {
        return unpack_folder(root, cache, name);
    }
    if plain.is_file() {
        return Ok(plain);
    }
    if packed(&plain).is_file() {
        return unpack(root, cache, name);
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
    name.push(PACKED);
    PathBuf::from(name)
}

/// The folder itself where nothing in it is packed, else a copy with everything unpacked: made
/// beside its place and renamed, so that whoever finds it finds it whole.
fn unpack_folder(root: &Path, cache: &Path, name: &str) -> Result<PathBuf> {
    let folder = root.join(name);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(|e| Error::file(&folder, e))? {
        let entry = entry.map_err(|e| Error::file(&folder, e))?;
        files.extend(entry.file_name().into_string().ok());
    }
    if !files.iter().any(|file| file.ends_with(PACKED)) {
        return Ok(folder);
    }
    files.sort();
    let mut members = Vec::new();
    let mut list = String::new();
    for file in files {
        let member = format!("{name}/{file}");
        let member = match member.strip_suffix(PACKED) {
            Some(plain) => Member::Packed(plain.to_string()),
            None => Member::Plain(read(&root.join(&member))?, file),
        };
        list += &match &member {
            Member::Packed(plain) => format!("{}  {plain}\n", checksum(root, plain)?),
            Member::Plain(bytes, file) => format!("{}  {file}\n", sha256(bytes)),
        };
        members.push(member);
    }
    let copy = place(cache, &sha256(list), name);
    if copy.is_dir() {
        return Ok(copy);
    }
    let parent = copy.parent().unwrap_or(cache);
    let fail = |e: std::io::Error| Error::file(parent, e);
    std::fs::create_dir_all(parent).map_err(fail)?;
    let fresh = tempfile::Builder::new()
        .prefix(".unpacking-")
        .permissions(Permissions::from_mode(0o777))
        .tempdir_in(parent)
        .map_err(fail)?;
    for member in members {
        let (file, bytes) = match member {
            Member::Packed(plain) => {
                let bytes = unpacked(root, &plain)?;
                (plain[name.len() + 1..].to_string(), bytes)
            }
            Member::Plain(bytes, file) => (file, bytes),
        };
        write_atomically(&fresh.path().join(file), &bytes)?;
    }
    match std::fs::rename(fresh.path(), &copy) {
        // Another process was faster; the contents are the same, by the name.
        Err(_) if copy.is_dir() => Ok(copy),
        Err(e) => Err(Error::file(&copy, e)),
        Ok(()) => Ok(copy),
    }
}

/// A file of a folder with packed files.
enum Member {
    /// The name without `.zst`, from the assets' root.
    Packed(String),
    /// Contents and name.
    Plain(Vec<u8>, String),
}

/// Where what unpacks to `hash` lies: the place's name says its contents, so that two versions of
/// an asset share a home and each is found by its own tool.
fn place(cache: &Path, hash: &str, name: &str) -> PathBuf {
    cache.join(&hash[..16]).join(name)
}

/// Unpacks one file, unless it was unpacked before.
fn unpack(root: &Path, cache: &Path, name: &str) -> Result<PathBuf> {
    let target = place(cache, &checksum(root, name)?, name);
    if !target.is_file() {
        write_atomically(&target, &unpacked(root, name)?)?;
    }
    Ok(target)
}

/// The contents of a packed file, checked.
fn unpacked(root: &Path, name: &str) -> Result<Vec<u8>> {
    let source = packed(&root.join(name));
    let expected = checksum(root, name)?;
    let file = std::fs::File::open(&source).map_err(|e| Error::file(&source, e))?;
    let bytes = zstd::decode_all(file).map_err(|e| Error::file(&source, e))?;
    let hash = sha256(&bytes);
    if hash != expected {
        return Err(Error::file(
            &source,
            format!(
                "unpacks to a file with SHA-256 {hash}, {SUMS} says {expected}; the checkout is damaged"
            ),
        ));
    }
    Ok(bytes)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Error::file(path, e))
}

/// The checksum of `name` from the `SHA256SUMS` nearest above it.
fn checksum(root: &Path, name: &str) -> Result<String> {
    for folder in Path::new(name).ancestors().skip(1) {
        let list = root.join(folder).join(SUMS);
        let Ok(text) = text::read(&list) else {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The assets of one version of the tool: a packed file, alone and beside a plain one.
    fn version(folder: &Path, weights: &str, config: &str) -> PathBuf {
        let root = folder.join(sha256(format!("{weights}{config}")));
        let write = |name: &str, bytes: &[u8]| write_atomically(&root.join(name), bytes).unwrap();
        let zst = zstd::encode_all(weights.as_bytes(), 1).unwrap();
        write(
            "a/SHA256SUMS",
            format!("{}  w/x.bin\n", sha256(weights)).as_bytes(),
        );
        write("a/w/x.bin.zst", &zst);
        write("a/w/config.json", config.as_bytes());
        root
    }

    #[test]
    fn two_versions_of_an_asset_share_a_home() {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("cache");
        let versions = [("old", "{}"), ("new", "{}"), ("new", "{1}")];
        let roots = versions.map(|(weights, config)| version(folder.path(), weights, config));
        // Each twice, in turns: a place found again is the version's own.
        for (root, (weights, config)) in roots.iter().zip(versions).cycle().take(6) {
            let read = |path: PathBuf| std::fs::read_to_string(path).unwrap();
            assert_eq!(read(locate(root, &cache, "a/w/x.bin").unwrap()), weights);
            let copy = locate(root, &cache, "a/w").unwrap();
            assert!(copy.ends_with("a/w"), "{}", copy.display());
            assert_eq!(read(copy.join("x.bin")), weights);
            assert_eq!(read(copy.join("config.json")), config);
            assert_eq!(std::fs::read_dir(&copy).unwrap().count(), 2);
            assert_eq!(
                std::fs::read_dir(copy.parent().unwrap()).unwrap().count(),
                1
            );
        }
    }

    #[test]
    fn a_damaged_asset_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let root = version(folder.path(), "good", "{}");
        let zst = zstd::encode_all(&b"evil"[..], 1).unwrap();
        write_atomically(&root.join("a/w/x.bin.zst"), &zst).unwrap();
        let cache = folder.path().join("cache");
        for name in ["a/w/x.bin", "a/w"] {
            let error = locate(&root, &cache, name).unwrap_err().to_string();
            assert!(error.contains("the checkout is damaged"), "{error}");
        }
    }
}
