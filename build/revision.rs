//! What was built, as exactly as it can be told: records and cache keys carry it. Part of build.rs,
//! and tested by tests/build_revision.rs.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What the binary is made from.
pub const INPUTS: &[&str] = &[
    "src",
    "assets",
    "build",
    "build.rs",
    "Cargo.toml",
    "Cargo.lock",
    "datasets.toml",
];

/// The revision of the checkout at `root`.
///
/// A release says its commit, and where the sources differ from it `-dirty.` and a digest of the
/// difference, so that no two sources share a name. A debug build says `debug.` and a digest of
/// its sources: following every commit would build it anew each time. A tree without git does the
/// same as `unknown.`.
pub fn revision(root: &Path, release: bool) -> String {
    if !release {
        return format!("debug.{}", digest(&sources(root)));
    }
    let Some(commit) = git(root, &["rev-parse", "--short=12", "HEAD"]) else {
        return format!("unknown.{}", digest(&sources(root)));
    };
    let commit = text(&commit);
    match difference(root) {
        Some(difference) if difference.is_empty() => commit,
        Some(difference) => format!("{commit}-dirty.{}", digest(&difference)),
        None => format!("{commit}-dirty.{}", digest(&sources(root))),
    }
}

/// The file that changes with every commit and checkout.
pub fn log(root: &Path) -> Option<String> {
    git(root, &["rev-parse", "--git-path", "logs/HEAD"]).map(|path| text(&path))
}

/// What the sources have beyond the commit, new files included; empty where nothing.
fn difference(root: &Path) -> Option<Vec<u8>> {
    let mut bytes = git(
        root,
        &[&["diff", "HEAD", "--binary", "--"], INPUTS].concat(),
    )?;
    let untracked: &[&str] = &["ls-files", "--others", "--exclude-standard", "--"];
    for file in text(&git(root, &[untracked, INPUTS].concat())?).lines() {
        collect(&root.join(file), &mut bytes);
    }
    Some(bytes)
}

/// Standard output of a git command that succeeded.
fn git(root: &Path, args: &[&str]) -> Option<Vec<u8>> {
    let output = Command::new("git").current_dir(root).args(args).output();
    let output = output.ok().filter(|output| output.status.success())?;
    Some(output.stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_string()
}

/// Names and contents of every file the binary is made from.
fn sources(root: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for input in INPUTS {
        collect(&root.join(input), &mut bytes);
    }
    bytes
}

/// Appends names and contents of the files at and below `path`.
pub fn collect(path: &Path, bytes: &mut Vec<u8>) {
    match std::fs::read_dir(path) {
        Ok(entries) => {
            let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            paths.sort();
            paths.iter().for_each(|path| collect(path, bytes));
        }
        Err(_) => {
            bytes.extend_from_slice(path.as_os_str().as_encoded_bytes());
            bytes.extend(std::fs::read(path).unwrap_or_default());
        }
    }
}

/// Eight hexadecimal digits (64-bit FNV-1a, folded).
pub fn digest(bytes: &[u8]) -> String {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{:08x}", (hash >> 32) as u32 ^ hash as u32)
}
