//! GNU tar's sparse members: which parts of a file are stored, the rest being zeros. The old kind
//! has its map in the header, PAX 0.0 and 0.1 in extended headers, PAX 1.0 in front of the data
//! (GNU tar manual, "Storing Sparse Files").

use super::archive::Span;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use tar::{Entry, GnuExtSparseHeader, GnuSparseHeader};

const BLOCK: u64 = 512;
/// Larger files are no pictures; their zeros would still take memory.
const LARGEST: u64 = 64 << 20;
/// Parts of one member; a map of more is damage.
const MOST_PARTS: u64 = 1 << 20;

/// A stored part: `len` bytes that belong at `at` of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    pub at: u64,
    pub len: u64,
}

/// A member with holes.
pub struct Sparse {
    /// Its real name, where the header has another.
    pub name: Option<String>,
    /// Where the stored parts lie, one behind the other, inside the archive.
    pub start: u64,
    /// Size with the holes.
    pub size: u64,
    pub extents: Arc<Vec<Extent>>,
}

/// The extended headers that speak of holes.
#[derive(Default)]
struct Pax {
    name: Option<String>,
    major: Option<u64>,
    size: Option<u64>,
    map: Vec<u64>,
}

/// The map of `entry`, which lies in `archive` at `within`; `None` where it has no holes.
///
/// # Errors
/// What is wrong with the map, in words.
pub fn find<R: Read>(
    entry: &mut Entry<'_, R>,
    archive: &File,
    within: &Span,
) -> Result<Option<Sparse>, String> {
    let sparse = if entry.header().entry_type().is_gnu_sparse() {
        Some(old_gnu(entry, archive, within)?)
    } else {
        match pax(entry)? {
            Some(pax) => Some(of_pax(pax, entry, archive, within)?),
            None => None,
        }
    };
    if let Some(sparse) = &sparse {
        check(sparse, within)?;
    }
    Ok(sparse)
}

fn check(sparse: &Sparse, within: &Span) -> Result<(), String> {
    let (mut end, mut stored) = (0, 0u64);
    for extent in sparse.extents.iter() {
        let next = extent.at.checked_add(extent.len);
        let next = next.filter(|&next| extent.at >= end && next <= sparse.size);
        end = next.ok_or("the parts of a sparse member overlap or reach past its end")?;
        stored += extent.len;
    }
    match sparse.start.checked_add(stored) {
        Some(last) if last <= within.len => Ok(()),
        _ => Err("a sparse member reaches past the end: the file is truncated".into()),
    }
}

fn old_gnu<R: Read>(entry: &Entry<'_, R>, archive: &File, within: &Span) -> Result<Sparse, String> {
    let header = entry
        .header()
        .as_gnu()
        .ok_or("a sparse member without GNU's header")?;
    let mut extents = Vec::new();
    let mut add = |parts: &[GnuSparseHeader]| {
        for part in parts.iter().filter(|part| !part.is_empty()) {
            let number = |n: std::io::Result<u64>| n.map_err(|e| e.to_string());
            extents.push(Extent {
                at: number(part.offset())?,
                len: number(part.length())?,
            });
        }
        match extents.len() as u64 > MOST_PARTS {
            true => Err("a sparse member has too many parts".to_string()),
            false => Ok(()),
        }
    };
    add(&header.sparse)?;
    let mut start = entry.raw_header_position() + BLOCK;
    let mut more = header.is_extended();
    while more {
        let mut extended = GnuExtSparseHeader::new();
        archive
            .read_exact_at(extended.as_mut_bytes(), within.offset + start)
            .map_err(|e| e.to_string())?;
        add(extended.sparse())?;
        more = extended.is_extended();
        start += BLOCK;
    }
    Ok(Sparse {
        name: None,
        start,
        size: header.real_size().map_err(|e| e.to_string())?,
        extents: Arc::new(extents),
    })
}

fn pax<R: Read>(entry: &mut Entry<'_, R>) -> Result<Option<Pax>, String> {
    let Ok(Some(extensions)) = entry.pax_extensions() else {
        return Ok(None);
    };
    let (mut pax, mut any) = (Pax::default(), false);
    for extension in extensions.flatten() {
        let Some(key) = extension
            .key()
            .ok()
            .and_then(|k| k.strip_prefix("GNU.sparse."))
        else {
            continue;
        };
        any = true;
        let value = extension
            .value()
            .map_err(|_| "a sparse member's header is not text")?;
        match key {
            "name" => pax.name = Some(value.to_string()),
            "major" => pax.major = Some(number(value)?),
            "size" | "realsize" => pax.size = Some(number(value)?),
            "offset" | "numbytes" => pax.map.push(number(value)?),
            "map" => pax.map = value.split(',').map(number).collect::<Result<_, _>>()?,
            _ => {}
        }
    }
    Ok(any.then_some(pax))
}

fn number(text: &str) -> Result<u64, String> {
    let parsed = text.trim().parse();
    parsed.map_err(|_| format!("`{text}` is no number in the map of a sparse member"))
}

fn of_pax<R: Read>(
    pax: Pax,
    entry: &Entry<'_, R>,
    archive: &File,
    within: &Span,
) -> Result<Sparse, String> {
    let mut start = entry.raw_file_position();
    let map = match pax.major {
        Some(1) => {
            let (map, len) = leading_map(archive, within.offset + start)?;
            start += len;
            map
        }
        None | Some(0) => pax.map,
        Some(other) => return Err(format!("sparse members of version {other} are not known")),
    };
    let (pairs, odd) = map.as_chunks::<2>();
    if !odd.is_empty() {
        return Err("the map of a sparse member ends in the middle".into());
    }
    let extents = pairs.iter().map(|&[at, len]| Extent { at, len });
    Ok(Sparse {
        name: pax.name,
        start,
        size: pax.size.ok_or("a sparse member does not say its size")?,
        extents: Arc::new(extents.filter(|extent| extent.len > 0).collect()),
    })
}

/// PAX 1.0: a count and as many pairs, a decimal number a line, in front of the data; the numbers,
/// and the bytes that they take with their padding.
fn leading_map(archive: &File, at: u64) -> Result<(Vec<u64>, u64), String> {
    let (mut text, mut numbers) = (Vec::new(), Vec::new());
    let (mut line_start, mut wanted) = (0, None);
    loop {
        let mut block = [0; BLOCK as usize];
        archive
            .read_exact_at(&mut block, at + text.len() as u64)
            .map_err(|e| e.to_string())?;
        text.extend_from_slice(&block);
        while let Some(length) = text[line_start..].iter().position(|&b| b == b'\n') {
            let line = &text[line_start..line_start + length];
            let value = number(std::str::from_utf8(line).unwrap_or("?"))?;
            line_start += length + 1;
            match wanted {
                None if value > MOST_PARTS => {
                    return Err("a sparse member has too many parts".into());
                }
                None => wanted = Some(2 * value as usize),
                Some(_) => numbers.push(value),
            }
            if wanted == Some(numbers.len()) {
                return Ok((numbers, text.len() as u64));
            }
        }
        // A number has 20 digits at most.
        if text.len() - line_start > BLOCK as usize {
            return Err("the map of a sparse member is no list of numbers".into());
        }
    }
}

/// Whether the file with its holes is too large to be held in memory.
pub fn is_too_large(sparse: &Sparse) -> bool {
    sparse.size > LARGEST
}

/// The bytes of a member with holes; `start` is where its parts lie in `archive`.
pub fn read(archive: &File, start: u64, size: u64, extents: &[Extent]) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; size as usize];
    let mut from = start;
    for extent in extents {
        let part = &mut bytes[extent.at as usize..(extent.at + extent.len) as usize];
        archive.read_exact_at(part, from)?;
        from += extent.len;
    }
    Ok(bytes)
}
