//! What lies in a folder, as far as its own entries tell: which layout it is, or a sentence.

use super::Split;
use super::folder::is_image;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Archives that have to be unpacked first, and the command.
const PACKED: [(&str, &str); 12] = [
    (".tar.gz", "gunzip"),
    (".tgz", "gunzip"),
    (".tar.xz", "unxz"),
    (".tar.bz2", "bunzip2"),
    (".tar.zst", "unzstd"),
    (".zip", "unzip"),
    (".7z", "7z x"),
    (".rar", "unrar x"),
    (".gz", "gunzip"),
    (".xz", "unxz"),
    (".tfrecord", ""),
    (".rec", ""),
];

/// The entries of a folder, by what they are; each ascending.
#[derive(Debug, Default)]
pub struct Contents {
    pub folders: Vec<String>,
    pub images: Vec<String>,
    pub tars: Vec<PathBuf>,
    pub parquet: Vec<PathBuf>,
    pub arrow: Vec<PathBuf>,
    pub packed: Vec<PathBuf>,
    pub others: Vec<String>,
}

impl Contents {
    pub fn scan(folder: &Path) -> Result<Self> {
        let mut contents = Contents::default();
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(|e| Error::file(folder, e))? {
            entries.push(entry.map_err(|e| Error::file(folder, e))?.path());
        }
        entries.sort();
        for path in entries {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with('.') || name == "lost+found" || name == "__MACOSX" {
                continue;
            }
            let name = name.into_owned();
            if path.is_dir() {
                contents.folders.push(name);
            } else if !path.exists() {
                // A link that leads nowhere.
            } else if is_image(&name) {
                contents.images.push(name);
            } else if has_ending(&name, ".tar") {
                contents.tars.push(path);
            } else if has_ending(&name, ".parquet") {
                contents.parquet.push(path);
            } else if has_ending(&name, ".arrow") {
                contents.arrow.push(path);
            } else if PACKED.iter().any(|(ending, _)| has_ending(&name, ending)) {
                contents.packed.push(path);
            } else {
                contents.others.push(name);
            }
        }
        Ok(contents)
    }

    /// Whether a folder holds images in folders of their own, besides what `data/` or the folder
    /// of a split holds.
    pub fn has_class_folders(&self, folder: &Path) -> bool {
        let is_class = |name: &&String| {
            let named = [Split::Train, Split::Val];
            *name != "data" && !named.iter().any(|split| split.is_named(name))
        };
        self.folders.iter().filter(is_class).any(|name| {
            Contents::scan(&folder.join(name)).is_ok_and(|inside| !inside.images.is_empty())
        })
    }
}

pub fn has_ending(name: &str, ending: &str) -> bool {
    let start = name.len().checked_sub(ending.len());
    start.is_some_and(|at| name.is_char_boundary(at) && name[at..].eq_ignore_ascii_case(ending))
}

/// An error about a file or folder whose layout is known and not read: what it is, and the command
/// that makes it readable. `None` for anything else.
pub fn unread(path: &Path) -> Option<Error> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    if path.is_dir() {
        let saved = ["dataset_dict.json", "state.json"];
        let is_saved = saved.iter().any(|file| path.join(file).is_file());
        let contents = Contents::scan(path).ok()?;
        if is_saved || (!contents.arrow.is_empty() && contents.images.is_empty()) {
            return Some(arrow(path));
        }
        let nothing_else = contents.images.is_empty()
            && contents.tars.is_empty()
            && contents.parquet.is_empty()
            && contents.folders.is_empty();
        let first = contents.packed.first().filter(|_| nothing_else)?;
        let command = packed(&first.file_name()?.to_string_lossy())?;
        return Some(Error::file(
            path,
            format!(
                "holds {} packed files ({}, ...), and images are read at random, so {}",
                contents.packed.len(),
                first.file_name()?.to_string_lossy(),
                command
            ),
        ));
    }
    match has_ending(&name, ".arrow") {
        true => Some(arrow(path.parent()?)),
        false => packed(&name).map(|command| Error::file(path, format!("is packed; {command}"))),
    }
}

fn packed(name: &str) -> Option<String> {
    let (ending, command) = PACKED.iter().find(|(ending, _)| has_ending(name, ending))?;
    Some(match *command {
        "" => format!(
            "{ending} files are not read; write the pictures out as WebDataset shards or parquet"
        ),
        command => format!("unpack them first (`{command}`), to .tar files or to folders"),
    })
}

fn arrow(path: &Path) -> Error {
    let folder = path.display();
    Error::file(
        path,
        format!(
            "is Arrow as save_to_disk of Hugging Face's datasets writes it, which is not read; write it out as parquet: \
             python -c \"from datasets import load_from_disk as l; d = l('{folder}'); \
             [s.to_parquet(f'{folder}-parquet/{{n}}.parquet') for n, s in (d if isinstance(d, dict) else dict(train=d)).items()]\", \
             and name {folder}-parquet"
        ),
    )
}

/// What a folder holds, for the error that says nothing in it is a data set.
pub fn describe(contents: &Contents) -> String {
    let count = |n: usize, what: &str| (n > 0).then(|| format!("{n} {what}"));
    let first = |names: &[String]| {
        names
            .first()
            .map_or(String::new(), |n| format!(" ({n}, ...)"))
    };
    let parts = [
        count(contents.folders.len(), "folders").map(|s| s + &first(&contents.folders)),
        count(contents.images.len(), "images"),
        count(contents.tars.len(), "tar files"),
        count(contents.parquet.len(), "parquet files"),
        count(contents.packed.len(), "packed files"),
        count(contents.others.len(), "other files").map(|s| s + &first(&contents.others)),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    match parts.is_empty() {
        true => "nothing".to_string(),
        false => parts.join(", "),
    }
}
