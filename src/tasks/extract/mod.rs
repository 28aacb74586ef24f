//! Features of a data set's images, computed once and kept on disk.
//!
//! They are found again by a key of everything that decides the values, and used again only while
//! the images' bytes are those they were computed from. An extraction that was stopped at any
//! moment goes on from the last committed batch, with the same batches, and so gives the same
//! bytes as one that was not. Memory does not grow with the data set: rows go to disk as they come
//! and are mapped, not read, afterwards.

pub mod key;
mod output;
mod pass;
pub mod rows;
mod window;

pub use output::{Level, Output, row_bytes};
pub use rows::Rows;

use super::contents;
use crate::data::Source;
use crate::data::transform::Transform;
use crate::hash::sha256;
use crate::models::Resolved;
use crate::report::{DataPart, ModelPart};
use crate::runtime::{Runtime, home, interrupt};
use crate::store::{
    self, ColumnRows, MissingRow, Reader, Share, Writer, complete_parts, part_folder,
};
use crate::{Error, Result};
use pass::Pass;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How features of a model are computed.
pub struct Extractor<'a> {
    pub model: &'a Resolved,
    /// What records say about it.
    pub part: &'a ModelPart,
    pub transform: Transform,
    pub runtime: &'a Runtime,
    pub batch_size: usize,
    pub skip_bad: usize,
    /// Colour beside pictures that the transform pads, in `[0,1]`; of other than black the model's
    /// settings tell, by which features are found again.
    pub padding: [f64; 3],
    /// Whether to show a progress bar.
    pub progress: bool,
}

/// One split of a data set, or a part of it.
pub struct Subset<'a> {
    /// Data set name and path, for records.
    pub name: &'a str,
    pub path: String,
    pub split: &'a str,
    pub source: &'a Arc<dyn Source>,
    /// Images in use.
    pub indices: Vec<usize>,
}

/// Features of a subset: one row per image that could be read, in the order of the indices.
pub struct FeatureRows {
    /// Which store holds which columns.
    stores: Vec<Reader>,
    /// Images that have a row, in the order of rows.
    pub indices: Vec<usize>,
    pub skipped: Vec<MissingRow>,
    /// What a record says about the subset.
    pub data: DataPart,
    /// Images computed in this run, and the seconds that took; zero when the cache had them all.
    pub computed: usize,
    pub seconds: f64,
}

impl FeatureRows {
    /// The column of an output that was asked for.
    pub fn column(&self, output: &Output) -> Result<ColumnRows<'_>> {
        let name = output.name();
        let columns = self.stores.iter().map(|store| store.column(&name));
        columns
            .reduce(|first, next| first.or(next))
            .unwrap_or_else(|| Err(Error::model("no features were asked for")))
    }

    /// The rows of a summary that was asked for.
    pub fn rows(&self, output: &Output) -> Result<Rows<'_>> {
        let column = self.column(output)?;
        let dim = column.column().shape.iter().product();
        Rows::from_segments(column.floats()?, dim)
    }
}

impl Extractor<'_> {
    /// The features `outputs` of `subset`, from the cache as far as it has them. What it lacks is
    /// computed in one pass: each image goes through the network once.
    ///
    /// # Errors
    /// More than `skip_bad` unreadable images (the error names the file), a resolution or an
    /// adaptor the model does not take, features that are not finite, a cache that cannot be
    /// written, or an interruption; what was finished is kept.
    pub fn extract(&self, subset: &Subset, outputs: &[Output]) -> Result<FeatureRows> {
        let started = Instant::now();
        let images = contents::address(subset.source.as_ref(), &subset.indices);
        let network = key::network_key(self.model, self.part, self.runtime)?;
        let key = key::extraction_key(network, &self.transform, self.batch_size, &images);
        let shelf = Shelf {
            folder: home().join("cache/features").join(sha256(key.to_string())),
            key,
        };
        let mut lacking = outputs.to_vec();
        let mut stores = self.complete_stores(&shelf, subset, &mut lacking)?;
        let agree = |stores: &[Reader]| stores.iter().all(|s| s.skipped().eq(stores[0].skipped()));
        if !agree(&stores) {
            // An image could be read in one pass and not in another: one pass for all.
            stores.clear();
            lacking = outputs.to_vec();
        }
        let mut computed = 0;
        if !lacking.is_empty() {
            let (store, new) = self.fill(&shelf, &lacking, subset)?;
            computed += new;
            stores.push(store);
        }
        if !agree(&stores) {
            let (store, new) = self.fill(&shelf, outputs, subset)?;
            computed += new;
            stores = vec![store];
        }
        if computed == 0 {
            tracing::info!("{}:{}: features from the cache", subset.name, subset.split);
        }
        let Some(store) = stores.first() else {
            return Err(Error::model("no features were asked for"));
        };
        let skipped: Vec<MissingRow> = store.skipped().cloned().collect();
        self.check_skipped(subset, &skipped)?;
        let indices = without(&subset.indices, &skipped);
        let hashes = store.column(contents::CONTENT)?;
        let hashes = (0..hashes.len()).filter_map(|row| hashes.row(row));
        Ok(FeatureRows {
            data: DataPart {
                name: subset.name.to_string(),
                path: subset.path.clone(),
                split: subset.split.to_string(),
                samples: indices.len() as u64,
                fingerprint: contents::fingerprint(subset.source.as_ref(), &indices, hashes),
                fingerprint_of: contents::FINGERPRINT_OF.to_string(),
                skipped: skipped.len() as u64,
                transform: self.transform.describe(),
            },
            stores,
            indices,
            skipped,
            computed,
            seconds: started.elapsed().as_secs_f64(),
        })
    }

    /// Complete stores of earlier passes that hold some of what is `lacking`, which is then no
    /// longer so. Rows of images whose bytes have changed are thrown away.
    fn complete_stores(
        &self,
        shelf: &Shelf,
        subset: &Subset,
        lacking: &mut Vec<Output>,
    ) -> Result<Vec<Reader>> {
        let mut stores = Vec::new();
        for (folder, key) in shelf.passes()? {
            let holds = |output: &Output| pass_holds(&key, output);
            if lacking.iter().any(holds)
                && let Some(store) = self.unchanged(&folder, &key, subset)?
            {
                stores.push(store);
                lacking.retain(|output| !holds(output));
            }
        }
        Ok(stores)
    }

    /// The complete store in `folder`, if the images are still those it was computed from.
    fn unchanged(&self, folder: &Path, key: &Value, subset: &Subset) -> Result<Option<Reader>> {
        let Some(parts) = complete_parts(folder, key, subset.indices.len())? else {
            return Ok(None);
        };
        let mut maps = Vec::with_capacity(parts.len());
        let mut left = subset.indices.as_slice();
        for (part, total) in parts {
            let (indices, others) = left.split_at(total);
            left = others;
            let writer = self.open(&part, key, subset, indices)?;
            if !writer.is_complete() {
                return Ok(None);
            }
            maps.push(writer.finish()?);
        }
        Ok(Some(Reader::new(maps)))
    }

    /// The part in `folder`, without rows where an image has changed.
    fn open(
        &self,
        folder: &Path,
        key: &Value,
        subset: &Subset,
        indices: &[usize],
    ) -> Result<Writer> {
        let mut writer = Writer::open(folder, key.clone(), indices.len())?;
        let source = subset.source.as_ref();
        if let Some(changed) = contents::first_changed(&mut writer, source, indices)? {
            tracing::warn!(
                "{}: {changed} has changed since its features were computed; they are computed anew",
                source.describe()
            );
            writer.reset()?;
        }
        Ok(writer)
    }

    /// One pass for `outputs`, going on from where an earlier one stopped; and the number of
    /// images that took.
    fn fill(&self, shelf: &Shelf, outputs: &[Output], subset: &Subset) -> Result<(Reader, usize)> {
        let (folder, key) = shelf.store(outputs);
        let share = Share {
            rank: self.runtime.rank.rank,
            world: self.runtime.rank.world,
        };
        let range = share.range(subset.indices.len(), self.batch_size);
        let indices = &subset.indices[range];
        let mut writer = self.open(&part_folder(&folder, share), &key, subset, indices)?;
        let before = writer.done();
        if !writer.is_complete() {
            if before > 0 {
                tracing::info!(
                    "{}:{}: going on from image {before}",
                    subset.name,
                    subset.split
                );
            }
            let pass = Pass {
                extractor: self,
                subset,
                outputs,
                indices,
            };
            pass.fill(&mut writer)?;
        }
        let computed = writer.done() - before;
        if share.world == 1 {
            return Ok((Reader::new(vec![writer.finish()?]), computed));
        }
        drop(writer);
        // The other processes of this run write the other parts.
        loop {
            interrupt::check()?;
            if let Some(store) = store::complete(&folder, &key, subset.indices.len())? {
                return Ok((store, computed));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// The cache may hold more skipped images than this run allows.
    fn check_skipped(&self, subset: &Subset, skipped: &[MissingRow]) -> Result<()> {
        match skipped.get(self.skip_bad) {
            None => Ok(()),
            Some(first) => Err(Error::file(
                Path::new(&subset.source.describe()).join(&first.key),
                format!(
                    "{}; --skip-bad N leaves out up to N unreadable images ({} here)",
                    first.reason,
                    skipped.len()
                ),
            )),
        }
    }
}

/// The stores of one key: each is of one pass, and holds what that pass was asked for.
struct Shelf {
    folder: PathBuf,
    key: Value,
}

impl Shelf {
    /// Folder and key of the store of a pass.
    fn store(&self, outputs: &[Output]) -> (PathBuf, Value) {
        let columns: Vec<Value> = outputs.iter().map(column_key).collect();
        let name = sha256(Value::from(columns.clone()).to_string());
        let key = json!({"pass": columns, "of": self.key});
        (self.folder.join(&name[..16]), key)
    }

    /// Folders and keys of the passes there are.
    fn passes(&self) -> Result<Vec<(PathBuf, Value)>> {
        let folders = store::folders(&self.folder)?;
        let key = |folder: &PathBuf| store::key(folder).filter(|key| key["of"] == self.key);
        let passes = folders
            .into_iter()
            .filter_map(|folder| Some((key(&folder)?, folder)));
        Ok(passes.map(|(key, folder)| (folder, key)).collect())
    }
}

/// How a pass's key says that it holds `output`.
fn column_key(output: &Output) -> Value {
    json!([output.name(), output.dtype])
}

fn pass_holds(key: &Value, output: &Output) -> bool {
    let columns = key["pass"].as_array();
    columns.is_some_and(|columns| columns.contains(&column_key(output)))
}

/// `indices` without the skipped ones, which are in the same order.
fn without(indices: &[usize], skipped: &[MissingRow]) -> Vec<usize> {
    let mut left = skipped.iter().map(|s| s.index).peekable();
    indices
        .iter()
        .copied()
        .filter(|index| left.next_if_eq(index).is_none())
        .collect()
}
