//! The zero-shot classifier: one vector per class, the mean of its prompts' embeddings (spec/
//! radio.md §5.3). It is kept on disk, block by block, so that a stopped run goes on.

use super::templates::Templates;
use crate::Result;
use crate::hash::sha256;
use crate::models::TextTower;
use crate::report::environment;
use crate::runtime::{home, interrupt, progress};
use crate::weights::{Checkpoint, safetensors};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tch::{Device, Kind, Tensor};

/// Prompts that go through the text tower at once: whole classes, at least one.
const PROMPTS_PER_BLOCK: usize = 128;
/// How often finished rows are saved.
const SAVE_EVERY: Duration = Duration::from_secs(20);
/// Name of the tensor in the cache file.
const ROWS: &str = "classifier";

/// What decides a classifier.
pub struct Prompts<'a> {
    pub names: &'a [String],
    pub templates: &'a Templates,
    /// SHA-256 of the text tower's weights.
    pub weights: String,
    pub device: Device,
}

/// [classes, D] fp32 with rows of unit length, on the CPU; from the cache as far as it has them.
///
/// # Errors
/// Those of the text tower, a cache that cannot be written, or an interruption (finished rows are
/// kept).
pub fn build(tower: &dyn TextTower, prompts: &Prompts, show_progress: bool) -> Result<Tensor> {
    let path = cache_file(&prompts.key(tower)?);
    let classes = prompts.names.len();
    let mut rows: Vec<Tensor> = read(&path, tower.embed_dim(), classes)
        .into_iter()
        .collect();
    let mut done: usize = rows.iter().map(|r| r.size()[0] as usize).sum();
    if done == classes {
        tracing::info!("text classifier from the cache");
        return join(&rows);
    }
    let templates = prompts.templates.lines.len();
    let per_block = (PROMPTS_PER_BLOCK / templates).max(1);
    let bar = progress::bar(
        show_progress,
        "prompts",
        "prompts",
        (classes * templates) as u64,
        (done * templates) as u64,
    );
    let mut saved = Instant::now();
    for block in prompts.names[done..].chunks(per_block) {
        if let Err(stopped) = interrupt::check() {
            write(&path, &rows)?;
            return Err(stopped);
        }
        let texts = block
            .iter()
            .flat_map(|name| prompts.templates.prompts(name));
        let texts: Vec<String> = texts.collect();
        // A class with more templates than a block still goes through in pieces.
        let embeddings = texts
            .chunks(PROMPTS_PER_BLOCK)
            .map(|texts| {
                Ok(tower
                    .encode(&tower.tokenize(texts)?)?
                    .f_to_device(Device::Cpu)?)
            })
            .collect::<Result<Vec<_>>>()?;
        rows.push(mean_directions(&join(&embeddings)?, templates as i64)?);
        done += block.len();
        bar.set_position((done * templates) as u64);
        if saved.elapsed() > SAVE_EVERY {
            write(&path, &rows)?;
            saved = Instant::now();
        }
    }
    bar.finish_and_clear();
    write(&path, &rows)?;
    join(&rows)
}

/// embeddings: [classes * templates, D], class by class -> [classes, D]: each normalised, averaged
/// over the templates, and normalised again (upstream without an eps).
pub fn mean_directions(embeddings: &Tensor, templates: i64) -> Result<Tensor> {
    let (_, dim) = embeddings.size2()?;
    let length = embeddings.f_norm_scalaropt_dim(2.0, [1], true)?;
    let directions = embeddings.f_div(&length.f_clamp_min(1e-12)?)?;
    let mean =
        directions
            .f_view([-1, templates, dim])?
            .f_mean_dim(&[1i64][..], false, Kind::Float)?;
    let length = mean.f_norm_scalaropt_dim(2.0, [1], true)?;
    Ok(mean.f_div(&length)?)
}

impl Prompts<'_> {
    fn key(&self, tower: &dyn TextTower) -> Result<Value> {
        Ok(json!({
            "tool": [env!("CARGO_PKG_VERSION"), environment::GIT_REVISION, environment::LIBTORCH_VERSION],
            "weights": self.weights,
            "text": tower.settings()?,
            "names": self.names,
            "templates": self.templates.lines,
            "device": environment::device_name(self.device),
            // The order of sums depends on it.
            "threads": tch::get_num_threads(),
        }))
    }
}

fn cache_file(key: &Value) -> PathBuf {
    let name = sha256(key.to_string());
    home()
        .join("cache/classifiers")
        .join(format!("{name}.safetensors"))
}

fn join(rows: &[Tensor]) -> Result<Tensor> {
    Ok(Tensor::f_cat(rows, 0)?)
}

/// The rows that an earlier run finished; `None` where there are none, or the file is damaged.
fn read(path: &Path, dim: i64, classes: usize) -> Option<Tensor> {
    if !path.is_file() {
        return None;
    }
    let file = Checkpoint::open(path).ok()?;
    let rows = file
        .tensors()?
        .get(ROWS)?
        .read(Device::Cpu, Kind::Float)
        .ok()?;
    let fits = matches!(rows.size()[..], [n, d] if d == dim && n as usize <= classes);
    if !fits {
        tracing::warn!("{} is no classifier; it is made anew", path.display());
    }
    fits.then_some(rows)
}

fn write(path: &Path, rows: &[Tensor]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    safetensors::write(path, [(ROWS, &join(rows)?)], HashMap::new())
}
