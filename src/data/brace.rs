//! Shard patterns: `shard-{000000..000012}.tar`, `data/train-*.parquet`.

use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// The files a pattern names, ascending; a path without `{` or `*` names itself.
pub fn expand(pattern: &Path) -> Result<Vec<PathBuf>> {
    let text = pattern
        .to_str()
        .ok_or_else(|| Error::file(pattern, "is not UTF-8"))?;
    let mut files = Vec::new();
    for path in ranges(text).map_err(|reason| Error::file(pattern, reason))? {
        match path.contains('*') {
            true => files.extend(matching(Path::new(&path))?),
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
    Ok(files)
}

/// Whether a path names several files.
pub fn is_pattern(path: &Path) -> bool {
    path.to_string_lossy().contains(['{', '*'])
}

/// Expands every `{FIRST..LAST}` (digits keep their width) and `{a,b}`.
fn ranges(text: &str) -> Result<Vec<String>, String> {
    let Some((before, rest)) = text.split_once('{') else {
        return Ok(vec![text.to_string()]);
    };
    let (inside, after) = rest
        .split_once('}')
        .ok_or_else(|| "has `{` without `}`".to_string())?;
    let parts: Vec<String> = match inside.split_once("..") {
        None => inside.split(',').map(str::to_string).collect(),
        Some((first, last)) => {
            let number = |s: &str| {
                s.parse::<u32>()
                    .map_err(|_| format!("`{{{inside}}}` is not a range like {{000..012}}"))
            };
            let (start, end) = (number(first)?, number(last)?);
            if start > end {
                return Err(format!("`{{{inside}}}` runs backwards"));
            }
            let width = first.len();
            (start..=end).map(|n| format!("{n:0width$}")).collect()
        }
    };
    let tails = ranges(after)?;
    Ok(parts
        .iter()
        .flat_map(|part| {
            tails
                .iter()
                .map(move |tail| format!("{before}{part}{tail}"))
        })
        .collect())
}

/// Files of one folder whose name matches a pattern with `*`.
fn matching(pattern: &Path) -> Result<Vec<PathBuf>> {
    let folder = match pattern.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    let name = pattern.file_name().unwrap_or_default().to_string_lossy();
    let parts: Vec<&str> = name.split('*').collect();
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| Error::file(folder, e))? {
        let entry = entry.map_err(|e| Error::file(folder, e))?;
        if matches(&entry.file_name().to_string_lossy(), &parts) {
            files.push(entry.path());
        }
    }
    Ok(files)
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
