//! What the images of a run were, to the byte; and whether they are still those that kept values
//! were computed from.

use crate::data::Source;
use crate::data::content::{Content, ContentHash, Stamp};
use crate::hash::{hex, sha256};
use crate::runtime::{home, interrupt, progress};
use crate::store::{Column, Dtype, MissingRow, Reader, Row, Share, Writer, part_folder};
use crate::{Error, Result};
use rayon::prelude::*;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::time::{Duration, Instant};

/// Column of the SHA-256 of each image's bytes.
pub const CONTENT: &str = "content";
/// Column of each image's stamp, zeros where it had none.
const STAMP: &str = "stamp";
const NO_STAMP: [u8; 32] = [0; 32];

/// Images hashed between looks at the user's wishes; in order, as archives are read best.
const BLOCK: usize = 256;

/// The columns that go before the features.
pub fn columns() -> [Column; 2] {
    [CONTENT, STAMP].map(|name| Column::fixed(name, Dtype::U8, &[32]))
}

/// The values of [`columns`] for an image that was read.
pub fn cells(content: &Content, source: &dyn Source, index: usize) -> Result<[Vec<u8>; 2]> {
    let hash = match content.hash {
        Some(hash) => hash,
        None => source.content_hash(index)?,
    };
    let stamp = content.stamp.map_or(NO_STAMP, |stamp| stamp.0);
    Ok([hash.to_vec(), stamp.to_vec()])
}

/// An image that could not be read, with what was read of it.
pub fn skipped(index: usize, key: &str, reason: &str, content: &Content) -> MissingRow {
    MissingRow {
        index,
        key: key.to_string(),
        reason: reason.to_string(),
        stamp: content.stamp.map(|stamp| hex(&stamp.0)),
        content: content.hash.map(|hash| hex(&hash)),
    }
}

/// What is known of one image from an earlier run.
struct Known {
    index: usize,
    /// Its row; `None` for a skipped one.
    row: Option<usize>,
    /// `None` where the image could not even be read.
    content: Option<ContentHash>,
}

/// Compares the images behind the counted rows with the files of today: by stamps, and where
/// those differ by hashing the bytes again. Returns the name of the first that changed. Stamps
/// that moved on without a change are brought up to date.
pub fn first_changed(
    writer: &mut Writer,
    source: &dyn Source,
    indices: &[usize],
) -> Result<Option<String>> {
    let done = writer.header().done;
    let doubtful = doubtful(writer, source, &indices[..done])?;
    if doubtful.len() > BLOCK {
        tracing::info!(
            "{}: hashing {} images whose files look new",
            source.describe(),
            doubtful.len()
        );
    }
    for block in doubtful.chunks(BLOCK) {
        interrupt::check()?;
        let today: Vec<(Option<Stamp>, Option<ContentHash>)> = block
            .par_iter()
            .map(|known| {
                let stamp = source.stamp(known.index);
                (stamp, source.content_hash(known.index).ok())
            })
            .collect();
        for (known, (stamp, content)) in block.iter().zip(today) {
            if content != known.content {
                return Ok(Some(source.key(known.index).to_string()));
            }
            if let (Some(row), Some(stamp)) = (known.row, stamp) {
                writer.overwrite(STAMP, row, &stamp.0)?;
            }
        }
    }
    Ok(None)
}

/// The images whose stamp is not the one that was kept.
fn doubtful(writer: &Writer, source: &dyn Source, indices: &[usize]) -> Result<Vec<Known>> {
    let part = Reader::new(vec![writer.committed_rows()?]);
    let columns = match part.rows() {
        0 => None,
        _ => Some((part.column(CONTENT)?, part.column(STAMP)?)),
    };
    let mut skipped = part.skipped().peekable();
    let mut doubtful = Vec::new();
    let mut row = 0;
    for &index in indices {
        let stamp = source.stamp(index);
        if let Some(known) = skipped.next_if(|known| known.index == index) {
            let same = stamp.is_some_and(|stamp| known.stamp == Some(hex(&stamp.0)));
            if !same {
                doubtful.push(Known {
                    index,
                    row: None,
                    content: known.content.as_deref().and_then(parse),
                });
            }
            continue;
        }
        let values = columns
            .as_ref()
            .and_then(|(content, stamp)| Some((content.row(row)?, stamp.row(row)?)));
        let (content, kept) =
            values.ok_or_else(|| Error::model("a feature store ends before its rows do"))?;
        if stamp.is_none_or(|stamp| stamp.0 != kept) {
            doubtful.push(Known {
                index,
                row: Some(row),
                content: content.try_into().ok(),
            });
        }
        row += 1;
    }
    Ok(doubtful)
}

fn parse(hex: &str) -> Option<ContentHash> {
    let bytes: Option<Vec<u8>> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok())
        .collect();
    bytes?.try_into().ok()
}

/// How often hashes are made to survive a crash.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// The [`fingerprint`] of `indices`, for a task that keeps no features of them. Hashes are kept
/// under `$RADIO_EVAL_HOME`, so that unchanged files are read once only.
///
/// # Errors
/// An image (or mask) that cannot be read, a cache that cannot be written, or an interruption.
pub fn hash_all(source: &dyn Source, indices: &[usize], show: bool) -> Result<String> {
    let key = json!({
        "contents": source.describe(),
        "images": address(source, indices),
    });
    let folder = home().join("cache/contents").join(sha256(key.to_string()));
    let mut writer = Writer::open(&part_folder(&folder, Share::ALL), key, indices.len())?;
    if first_changed(&mut writer, source, indices)?.is_some() {
        writer.reset()?;
    }
    writer.declare(&columns())?;
    let (label, done) = (format!("hashing {}", source.describe()), writer.done());
    let bar = progress::bar(show, &label, "images", indices.len() as u64, done as u64);
    let mut committed = Instant::now();
    for block in indices[done..].chunks(BLOCK) {
        interrupt::check()?;
        let rows: Vec<Row> = block
            .par_iter()
            .map(|&index| {
                let stamp = source.stamp(index);
                let hash = Some(source.content_hash(index)?);
                let content = cells(&Content { stamp, hash }, source, index)?;
                Ok(row(content, std::iter::empty()))
            })
            .collect::<Result<_>>()?;
        writer.append(&rows, Vec::new())?;
        bar.set_position(writer.done() as u64);
        if committed.elapsed() > COMMIT_EVERY {
            writer.commit()?;
            committed = Instant::now();
        }
    }
    bar.finish_and_clear();
    writer.commit()?;
    let store = Reader::new(vec![writer.finish()?]);
    let hashes = store.column(CONTENT)?;
    let hashes = (0..hashes.len()).filter_map(|row| hashes.row(row));
    Ok(fingerprint(source, indices, hashes))
}

/// What the record says of how [`fingerprint`] was made.
pub const FINGERPRINT_OF: &str =
    "name, label and SHA-256 of the bytes of every image (and mask) used";

/// SHA-256 (hex) over name, label and content of the images that have a row, in their order.
pub fn fingerprint<'a>(
    source: &dyn Source,
    indices: &[usize],
    contents: impl Iterator<Item = &'a [u8]>,
) -> String {
    let mut hash = Sha256::new();
    for (&index, content) in indices.iter().zip(contents) {
        let key = source.key(index);
        hash.update((key.len() as u64).to_le_bytes());
        hash.update(key.as_bytes());
        // A label never reaches 2^64 - 1, which stands for "none".
        let label = source.label(index).map_or(u64::MAX, u64::from);
        hash.update(label.to_le_bytes());
        hash.update(content);
    }
    hex(&hash.finalize())
}

/// SHA-256 (hex) over name and encoded size of the images: where their features are looked for.
/// Whether the bytes are the same is checked there; labels decide no feature.
pub fn address(source: &dyn Source, indices: &[usize]) -> String {
    let mut hash = Sha256::new();
    for &index in indices {
        let key = source.key(index);
        hash.update((key.len() as u64).to_le_bytes());
        hash.update(key.as_bytes());
        hash.update(source.size(index).to_le_bytes());
    }
    hex(&hash.finalize())
}

/// The row of an image: what was read, and its features.
pub fn row(content: [Vec<u8>; 2], features: impl Iterator<Item = Vec<u8>>) -> Row {
    Row {
        cells: content.into_iter().chain(features).collect(),
    }
}
