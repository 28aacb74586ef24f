//! Features of many images into one file: row by row, so that memory stays flat however many there
//! are, and a stopped run goes on from the last rows that are on the disk.

use super::row_file::RowFile;
use crate::data::Source;
use crate::data::content::Hashed;
use crate::data::loader::{LoaderOptions, load};
use crate::data::transform::Transform;
use crate::hash::sha256;
use crate::models::{Features, Request, Resolved, backbone};
use crate::report::ModelPart;
use crate::runtime::{Runtime, home, progress};
use crate::store::{Share, Writer, part_folder};
use crate::tasks::contents;
use crate::tasks::extract::{Level, Output, key, row_bytes};
use crate::weights::safetensors::Declared;
use crate::{Error, Result};
use serde_json::json;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tch::{Device, Kind, Tensor};

/// How often finished rows are made to survive a crash.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// What is computed, and where it goes.
pub struct Export<'a> {
    pub model: &'a Resolved,
    pub part: &'a ModelPart,
    pub adaptors: &'a [String],
    /// Brings every image to (height, width).
    pub transform: Transform,
    pub size: (i64, i64),
    pub runtime: &'a Runtime,
    pub batch_size: usize,
    pub output: &'a Path,
    pub progress: bool,
}

/// One tensor of the file.
struct Column {
    output: Output,
    declared: Declared,
    /// Token grid of spatial features.
    grid: Option<(i64, i64)>,
}

impl Export<'_> {
    /// Writes the features of every image of `source`, in its order; returns names and shapes.
    ///
    /// # Errors
    /// An unreadable image, an adaptor or a size that the model does not take, features that are
    /// not finite, a disk that is full, or an interruption: the same call goes on from there.
    pub fn run(
        &self,
        source: Arc<dyn Source>,
        mut metadata: HashMap<String, String>,
    ) -> Result<Vec<(String, Vec<i64>)>> {
        let columns = self.columns(source.len())?;
        for column in &columns {
            if let Some((rows, width)) = column.grid {
                let name = format!("{}.grid", column.declared.name);
                metadata.insert(name, format!("{rows}x{width}"));
            }
        }
        let declared: Vec<Declared> = columns.iter().map(Column::declare).collect();
        let indices: Vec<usize> = (0..source.len()).collect();
        let (mut done, folder) = self.progress_of(source.as_ref(), &indices)?;
        let (file, known) = RowFile::open(self.output, &declared, &metadata)?;
        let changed = contents::first_changed(&mut done, source.as_ref(), &indices)?;
        if !known || changed.is_some() {
            done.reset()?;
        }
        done.declare(&contents::columns())?;
        if done.done() > 0 {
            tracing::info!("going on from image {}", done.done());
        }
        let outcome = self.fill(&columns, &file, &mut done, source, &indices);
        // Also where it failed: what is finished is kept.
        file.sync()?;
        done.commit()?;
        outcome?;
        file.finish()?;
        drop(done);
        std::fs::remove_dir_all(&folder).map_err(|e| Error::file(&folder, e))?;
        let shapes = declared.into_iter().map(|d| (d.name, d.shape));
        Ok(shapes.collect())
    }

    /// The store that counts finished images: their contents. The rows themselves lie in the file.
    fn progress_of(
        &self,
        source: &dyn Source,
        indices: &[usize],
    ) -> Result<(Writer, std::path::PathBuf)> {
        let network = key::network_key(self.model, self.part, self.runtime)?;
        let images = contents::address(source, indices);
        let of = key::extraction_key(network, &self.transform, self.batch_size, &images);
        let output = std::path::absolute(self.output).map_err(|e| Error::file(self.output, e))?;
        let key = json!({"export": output, "adaptors": self.adaptors, "of": of});
        let folder = home().join("cache/exports").join(sha256(key.to_string()));
        let part = part_folder(&folder, Share::ALL);
        Ok((Writer::open(&part, key, indices.len())?, folder))
    }

    /// The tensors for `images` images, found out with a blank one.
    fn columns(&self, images: usize) -> Result<Vec<Column>> {
        let (height, width) = self.size;
        let device = self.runtime.device;
        let blank = Tensor::f_zeros([1, 3, height, width], (Kind::Float, device))?;
        let network = self.model.backbone.as_ref();
        let features = backbone::run_unread(network, &blank, &self.request())?;
        let mut columns = Vec::new();
        let mut add = |adaptor: Option<&str>, level: Level, grid| -> Result<()> {
            let output = Output {
                level,
                ..Output::summary(adaptor)
            };
            let mut shape = output.select(&features)?.size();
            shape[0] = images as i64;
            columns.push(Column {
                declared: Declared {
                    name: output.name(),
                    kind: Kind::Float,
                    shape,
                },
                output,
                grid,
            });
            Ok(())
        };
        add(None, Level::Summary, None)?;
        add(None, Level::Spatial, Some(features.grid))?;
        for (name, adaptor) in &features.adaptors {
            add(Some(name.as_str()), Level::Summary, None)?;
            if let Some((_, grid)) = &adaptor.spatial {
                add(Some(name.as_str()), Level::Spatial, Some(*grid))?;
            }
        }
        Ok(columns)
    }

    fn request(&self) -> Request {
        Request::adaptors(self.adaptors)
    }

    fn fill(
        &self,
        columns: &[Column],
        file: &RowFile,
        done: &mut Writer,
        source: Arc<dyn Source>,
        indices: &[usize],
    ) -> Result<()> {
        let before = done.done();
        let label = format!("{} features", self.part.name);
        let total = indices.len() as u64;
        let bar = progress::bar(self.progress, &label, "images", total, before as u64);
        let source = Arc::new(Hashed::new(source));
        let options = LoaderOptions {
            batch_size: self.batch_size,
            workers: self.runtime.workers,
            device: self.runtime.device,
            ..LoaderOptions::default()
        };
        let mut committed: Option<Instant> = None;
        let left = indices[before..].to_vec();
        for batch in load(source.clone(), left, self.transform, options) {
            let batch = batch?;
            let network = self.model.backbone.as_ref();
            let features = backbone::run(network, &batch.pixels, &self.request())?;
            self.write(columns, file, done.done(), &features)?;
            let mut rows = Vec::with_capacity(batch.indices.len());
            for &index in &batch.indices {
                let content = contents::cells(&source.take(index), source.as_ref(), index)?;
                rows.push(contents::row(content, std::iter::empty()));
            }
            done.append(&rows, Vec::new())?;
            bar.set_position(done.done() as u64);
            if committed.is_none_or(|at| at.elapsed() > COMMIT_EVERY) {
                file.sync()?;
                done.commit()?;
                committed = Some(Instant::now());
            }
        }
        bar.finish_and_clear();
        if done.done() < indices.len() {
            return Err(Error::model("the loader ended before the last image"));
        }
        Ok(())
    }

    fn write(
        &self,
        columns: &[Column],
        file: &RowFile,
        first: usize,
        features: &Features,
    ) -> Result<()> {
        for (tensor, column) in columns.iter().enumerate() {
            let values = column.output.select(features)?.f_to_device(Device::Cpu)?;
            file.write(tensor, first, &row_bytes(&values))?;
        }
        Ok(())
    }
}

impl Column {
    fn declare(&self) -> Declared {
        Declared {
            name: self.declared.name.clone(),
            kind: self.declared.kind,
            shape: self.declared.shape.clone(),
        }
    }
}
