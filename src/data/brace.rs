//! Shard patterns: `shard-{000000..000012}.tar`, `data/train-*.parquet`.

use crate::runtime::interrupt;
use crate::{Error, Result};
use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Files that one pattern may name; LAION's largest release has 231,000 shards.
const MOST_FILES: u64 = 1_000_000;

/// The files a pattern names, ascending; a path that exists, or is without `{` or `*`, names
/// itself.
pub fn expand(pattern: &Path) -> Result<Vec<PathBuf>> {
    if !is_pattern(pattern) {
        return match pattern.exists() {
            true => Ok(vec![pattern.to_path_buf()]),
            false => Err(Error::file(pattern, "is not there")),
        };
    }
    let text = pattern
        .to_str()
        .ok_or_else(|| Error::file(pattern, "is not UTF-8"))?;
    let mut files = Vec::new();
    let mut listings = Listings::default();
    for path in ranges(text).map_err(|reason| Error::file(pattern, reason))? {
        match path.contains('*') {
            true => files.extend(listings.matching(Path::new(&path))?),
            false => files.push(PathBuf::from(path)),
        }
    }
    if files.is_empty() {
        return Err(Error::file(pattern, "matches no file"));
    }
    if let Some(missing) = files.iter().find(|f| !f.exists()) {
        return Err(Error::file(missing, format!("is missing; {text} names it")));
    }
    files.sort();
    files.dedup();
    Ok(files)
}

/// Whether a path names several files: it holds `{` or `*`, and nothing is called so.
pub fn is_pattern(path: &Path) -> bool {
    path.to_string_lossy().contains(['{', '*']) && !path.exists()
}

/// A piece of a pattern.
enum Piece<'a> {
    Text(&'a str),
    Choice(Vec<&'a str>),
    /// First, last, and least number of digits.
    Range(u64, u64, usize),
}

impl Piece<'_> {
    fn len(&self) -> u64 {
        match self {
            Piece::Text(_) => 1,
            Piece::Choice(parts) => parts.len() as u64,
            Piece::Range(first, last, _) => (last - first).saturating_add(1),
        }
    }

    fn nth(&self, n: u64) -> String {
        match self {
            Piece::Text(text) => (*text).to_string(),
            Piece::Choice(parts) => parts[n as usize].to_string(),
            Piece::Range(first, _, width) => format!("{:0width$}", first + n),
        }
    }
}

/// Expands every `{FIRST..LAST}` (digits keep their width) and `{a,b}`; how many there are is
/// known before any is written out.
fn ranges(text: &str) -> Result<Vec<String>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('{') {
        let (inside, after) = behind
            .split_once('}')
            .ok_or_else(|| "has `{` without `}`".to_string())?;
        pieces.extend([Piece::Text(before), piece(inside)?]);
        rest = after;
    }
    pieces.push(Piece::Text(rest));
    let count = pieces
        .iter()
        .fold(1u64, |product, piece| product.saturating_mul(piece.len()));
    if count > MOST_FILES {
        return Err(format!(
            "names {count} files, more than the {MOST_FILES} that are possible"
        ));
    }
    let name = |mut n: u64| {
        let mut parts = Vec::new();
        for piece in pieces.iter().rev() {
            parts.push(piece.nth(n % piece.len()));
            n /= piece.len();
        }
        parts.reverse();
        parts.concat()
    };
    Ok((0..count).map(name).collect())
}

/// What stands between braces.
fn piece(inside: &str) -> Result<Piece<'_>, String> {
    let Some((first, last)) = inside.split_once("..") else {
        return Ok(Piece::Choice(inside.split(',').collect()));
    };
    let number = |s: &str| {
        let digits = s.bytes().all(|b| b.is_ascii_digit());
        let number = s.parse::<u64>().ok().filter(|_| digits);
        number.ok_or_else(|| format!("`{{{inside}}}` is not a range like {{000..012}}"))
    };
    let (start, end) = (number(first)?, number(last)?);
    match start <= end {
        true => Ok(Piece::Range(start, end, first.len())),
        false => Err(format!("`{{{inside}}}` runs backwards")),
    }
}

/// Names in folders, sorted; each folder is read once, however many patterns look into it.
#[derive(Default)]
struct Listings(HashMap<PathBuf, Vec<OsString>>);

impl Listings {
    /// Files of one folder whose name matches a pattern with `*`.
    fn matching(&mut self, pattern: &Path) -> Result<Vec<PathBuf>> {
        interrupt::check()?;
        let folder = match pattern.parent() {
            Some(p) if !p.as_os_str().is_empty() => p,
            _ => Path::new("."),
        };
        let name = pattern.file_name().unwrap_or_default().to_string_lossy();
        let parts: Vec<&str> = name.split('*').collect();
        let names = match self.0.get(folder) {
            Some(names) => names,
            None => self.0.entry(folder.to_path_buf()).or_insert(list(folder)?),
        };
        // Names with the pattern's beginning stand together.
        let prefix = parts[0].as_bytes();
        let first = names.partition_point(|name| name.as_bytes() < prefix);
        Ok(names[first..]
            .iter()
            .take_while(|name| name.as_bytes().starts_with(prefix))
            .filter(|name| matches(&name.to_string_lossy(), &parts))
            .map(|name| folder.join(name))
            .collect())
    }
}

fn list(folder: &Path) -> Result<Vec<OsString>> {
    let names = std::fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
    let mut names: Vec<OsString> = names.map_err(|e| Error::file(folder, e))?;
    names.sort();
    Ok(names)
}

/// Whether `name` is the parts with anything between them.
fn matches(name: &str, parts: &[&str]) -> bool {
    let [first, middle @ .., last] = parts else {
        return parts == [name];
    };
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    for part in middle {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_keep_their_width() {
        assert_eq!(
            ranges("s-{08..11}.tar").unwrap(),
            ["s-08.tar", "s-09.tar", "s-10.tar", "s-11.tar"]
        );
        assert_eq!(
            ranges("{a,b}-{1..2}").unwrap(),
            ["a-1", "a-2", "b-1", "b-2"]
        );
        assert!(ranges("{3..1}").unwrap_err().contains("backwards"));
        for vast in [
            "{0..4294967295}",
            "{0..18446744073709551615}",
            "{0..9999}{0..9999}",
        ] {
            assert!(
                ranges(vast).unwrap_err().contains("more than the"),
                "{vast}"
            );
        }
        assert!(
            ranges("{0..18446744073709551616}")
                .unwrap_err()
                .contains("not a range")
        );
        assert!(ranges("x{1..2").unwrap_err().contains("without"));
    }

    #[test]
    fn star_stands_for_anything() {
        let parts = ["train-", "-of-", ".parquet"];
        assert!(matches("train-00000-of-00002.parquet", &parts));
        assert!(!matches("train-00000.parquet", &parts));
        assert!(!matches("validation-0-of-1.parquet", &parts));
    }
}
