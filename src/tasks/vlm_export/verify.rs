//! Reads an export again: hashes, counts, values, and some pictures computed anew.

use super::framing::Framing;
use super::manifest::{Manifest, read_index};
use super::outputs::{Output, Unit};
use super::shard::IndexEntry;
use crate::data::decode::{Limits, decode};
use crate::data::pictures::Pictures;
use crate::data::pixels;
use crate::models::Resolved;
use crate::rng::Rng;
use crate::runtime::{Runtime, interrupt};
use crate::weights::{StateDict, safetensors};
use crate::{Error, Result, hash};
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use tch::{Kind, Tensor};

/// Values checked at a time.
const CHUNK_ROWS: i64 = 65_536;

/// What was checked.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Checked {
    pub shards: usize,
    pub pictures: usize,
    pub tokens: i64,
    pub values: u64,
    /// Pictures computed anew, and the largest difference relative to max(1, |value|).
    pub recomputed: usize,
    pub largest_difference: f64,
}

/// Hashes, counts and values of every shard.
///
/// # Errors
/// The first shard that differs from the manifest, lacks rows, or holds a NaN or an infinity.
pub fn files(folder: &Path) -> Result<(Checked, Manifest, Vec<IndexEntry>)> {
    let manifest = Manifest::read(folder)?;
    let index = read_index(folder)?;
    let mut checked = Checked::default();
    let mut by_shard: HashMap<&str, Vec<&IndexEntry>> = HashMap::new();
    for entry in &index {
        by_shard.entry(&entry.shard).or_default().push(entry);
    }
    for part in &manifest.shard_files {
        let path = folder.join(&part.file);
        let mut file = File::open(&path).map_err(|e| Error::file(&path, e))?;
        let sha256 = hash::sha256_of_reader(&path, &mut file)?;
        if sha256 != part.sha256 {
            return Err(Error::file(
                &path,
                format!(
                    "is damaged: its SHA-256 is {sha256}, the manifest says {}; delete it and its .json and run the export again",
                    part.sha256
                ),
            ));
        }
        let (tensors, _) = safetensors::open(&path)?;
        let mut of_shard = by_shard.remove(part.file.as_str()).unwrap_or_default();
        of_shard.sort_by_key(|e| e.view);
        let (mut views, mut tokens) = (0, 0);
        for entry in &of_shard {
            if (entry.view, entry.token) != (views, tokens) {
                return Err(Error::file(
                    &path,
                    format!(
                        "the index puts {} at row {}, where row {tokens} is next",
                        entry.key, entry.token
                    ),
                ));
            }
            views += entry.views;
            tokens += entry.tokens;
        }
        if of_shard.len() != part.pictures || tokens != part.tokens {
            return Err(Error::file(
                &path,
                format!(
                    "the index has {} pictures with {tokens} tokens in it, the manifest {} with {}",
                    of_shard.len(),
                    part.pictures,
                    part.tokens
                ),
            ));
        }
        for output in &manifest.export.outputs {
            let rows = match output.unit {
                Unit::Token => tokens * output.rows_per_unit,
                Unit::View => views,
            };
            checked.values += values(&path, &tensors, output, rows)?;
        }
        checked.shards += 1;
        checked.pictures += of_shard.len();
        checked.tokens += tokens;
    }
    if (checked.pictures, index.len()) != (manifest.exported, manifest.exported) {
        return Err(Error::file(
            folder.join("index.jsonl"),
            format!(
                "names {} pictures, the manifest says {}",
                index.len(),
                manifest.exported
            ),
        ));
    }
    Ok((checked, manifest, index))
}

/// Checks shape and values of one tensor; returns how many there are.
fn values(path: &Path, tensors: &StateDict, output: &Output, rows: i64) -> Result<u64> {
    let tensor = tensors
        .get(&output.name)
        .ok_or_else(|| Error::tensor(path, &output.name, "missing"))?;
    if tensor.shape != [rows, output.channels] {
        return Err(Error::tensor(
            path,
            &output.name,
            format!(
                "has shape {:?}, the index needs [{rows}, {}]",
                tensor.shape, output.channels
            ),
        ));
    }
    let tensor = tensor.read_stored()?;
    let mut first = 0;
    while first < rows {
        interrupt::check()?;
        let count = CHUNK_ROWS.min(rows - first);
        let chunk = tensor.f_narrow(0, first, count)?;
        if chunk.f_isfinite()?.f_all()?.f_int64_value(&[])? != 1 {
            return Err(Error::tensor(
                path,
                &output.name,
                format!(
                    "has values that are not finite in rows {first} to {}",
                    first + count - 1
                ),
            ));
        }
        first += count;
    }
    Ok((rows * output.channels) as u64)
}

/// How far a picture computed alone may be from the stored one, relative to max(1, |value|): in a
/// batch, sums run in another order, and the format rounds.
fn tolerance(format: &str, precision: &str) -> f64 {
    let of_format: f64 = match format {
        "fp32" => 1e-4,
        "fp16" => 2e-3,
        _ => 2e-2,
    };
    let of_run = if precision == "fp32" { 0.0 } else { 0.1 };
    of_format.max(of_run)
}

/// Computes `count` pictures anew, drawn by `seed`, and compares.
///
/// # Errors
/// A picture that changed since, or whose features differ beyond the tolerance (both are named).
pub fn recompute(
    folder: &Path,
    (manifest, index): (&Manifest, &[IndexEntry]),
    model: &Resolved,
    pictures: &Pictures,
    framing: &Framing,
    (count, runtime): (usize, &Runtime),
    checked: &mut Checked,
) -> Result<()> {
    let source = pictures.source.as_ref();
    let by_name: HashMap<&str, usize> = (0..source.len()).map(|i| (source.key(i), i)).collect();
    let mut rng = Rng::new(&[runtime.seed, 0x7665_7269_6679]);
    let limit = tolerance(&manifest.export.format, &manifest.export.precision);
    for _ in 0..count.min(index.len()) {
        interrupt::check()?;
        let entry = &index[rng.below(index.len())];
        let path = pictures.path.join(&entry.key);
        let place = by_name.get(entry.key.as_str());
        let &place =
            place.ok_or_else(|| Error::file(&path, "is in the index and not in the data set"))?;
        let bytes = source.read(place)?;
        if hash::sha256(&bytes) != entry.sha256 {
            return Err(Error::file(
                &path,
                "is another picture than the one that was exported",
            ));
        }
        let image = decode(&bytes, &Limits::default()).map_err(|e| Error::file(&path, e))?;
        let staged = pixels::stage(&framing.apply(&image), runtime.device)?;
        let pixels = pixels::place(staged, runtime.device)?;
        let made = manifest
            .export
            .wanted
            .run(model.backbone.as_ref(), &pixels)?;
        let shard = folder.join(&entry.shard);
        let (tensors, _) = safetensors::open(&shard)?;
        for (output, (_, ours, _)) in manifest.export.outputs.iter().zip(made) {
            let stored = rows_of(&shard, &tensors, output, entry)?;
            let ours = ours
                .f_reshape([-1, output.channels])?
                .f_to_kind(Kind::Double)?;
            let scale = stored.f_abs()?.f_clamp_min(1.0)?;
            let difference = ours.f_sub(&stored)?.f_abs()?.f_div(&scale)?.f_max()?;
            let difference = difference.f_double_value(&[])?;
            checked.largest_difference = checked.largest_difference.max(difference);
            if difference > limit {
                return Err(Error::tensor(
                    &shard,
                    &output.name,
                    format!(
                        "{} differs by {difference:.1e} when computed anew (allowed {limit:.0e})",
                        entry.key
                    ),
                ));
            }
        }
        checked.recomputed += 1;
    }
    Ok(())
}

/// A picture's rows of one output, in fp64.
fn rows_of(
    path: &Path,
    tensors: &StateDict,
    output: &Output,
    entry: &IndexEntry,
) -> Result<Tensor> {
    let tensor = tensors
        .get(&output.name)
        .ok_or_else(|| Error::tensor(path, &output.name, "missing"))?
        .read_stored()?;
    let (first, count) = match output.unit {
        Unit::Token => (
            entry.token * output.rows_per_unit,
            entry.tokens * output.rows_per_unit,
        ),
        Unit::View => (entry.view, entry.views),
    };
    Ok(tensor.f_narrow(0, first, count)?.f_to_kind(Kind::Double)?)
}
