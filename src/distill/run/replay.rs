//! A step whose numbers were not finite, kept so that it can be run again.

use super::state::{self, Progress};
use super::{Options, Run};
use crate::distill::learner::Learner;
use crate::distill::stream::{PartitionPixels, ViewPixels};
use crate::{Error, Result};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};

/// Writes the state before the step and its pictures.
pub fn write(
    out: &Path,
    learner: &Learner,
    progress: &Progress,
    pixels: &[PartitionPixels],
) -> Result<PathBuf> {
    let path = out.join(format!("replay-step-{}.safetensors", progress.step));
    let mut extra = Vec::new();
    for (partition, pixels) in pixels.iter().enumerate() {
        let positions: Vec<i64> = pixels.positions.iter().map(|p| *p as i64).collect();
        let name = |what: String| format!("batch.{partition}.{what}");
        extra.push((name("positions".into()), Tensor::f_from_slice(&positions)?));
        let slots: Vec<i64> = pixels.slots.iter().map(|slot| *slot as i64).collect();
        extra.push((name("slots".into()), Tensor::f_from_slice(&slots)?));
        for (view, shown) in pixels.views.iter().enumerate() {
            let rows: Vec<i64> = shown.rows.iter().map(|row| *row as i64).collect();
            extra.push((name(format!("rows.{view}")), Tensor::f_from_slice(&rows)?));
            extra.push((name(format!("view.{view}")), shown.pixels.shallow_clone()));
        }
    }
    state::write(&path, learner, progress, extra)?;
    Ok(path)
}

/// Runs the step in `file` again, and tells what was finite: the losses, and every gradient that
/// is not.
///
/// # Errors
/// The file is of another run, or damaged.
pub fn replay(options: Options, file: &Path) -> Result<Value> {
    let mut run = Run::prepare(options)?;
    let (progress, stored) = state::restore(file, &mut run.learner, &run.identity)?;
    let mut pixels = Vec::new();
    let stage = run.plan.stage(progress.step);
    let layout = stage.map(|stage| stage.layout.clone());
    let partitions = layout.map_or(Vec::new(), |layout| layout.partitions);
    for (partition, (_, views)) in partitions.iter().enumerate() {
        let read = |what: String| -> Result<Tensor> {
            let name = format!("batch.{partition}.{what}");
            let tensor = stored
                .get(&name)
                .ok_or_else(|| Error::tensor(file, &name, "missing"))?;
            tensor.read_stored()
        };
        let numbers = |what: String| -> Result<Vec<usize>> {
            let numbers = Vec::<i64>::try_from(read(what)?)?;
            Ok(numbers.into_iter().map(|n| n as usize).collect())
        };
        let views = (0..views.len()).map(|view| {
            let pixels = read(format!("view.{view}"))?;
            Ok(ViewPixels {
                rows: numbers(format!("rows.{view}"))?,
                pixels: pixels.f_to_device(run.options.device)?,
            })
        });
        pixels.push(PartitionPixels {
            positions: numbers("positions".into())?,
            slots: numbers("slots".into())?,
            views: views.collect::<Result<_>>()?,
        });
    }
    let pictures: Vec<Value> = pixels
        .iter()
        .flat_map(|pixels| &pixels.positions)
        .map(|position| {
            let (source, index) = run.mixture.at(*position);
            json!(run.mixture.key(source, index))
        })
        .collect();
    let bad_pixels = pixels
        .iter()
        .flat_map(|p| &p.views)
        .any(|view| !is_finite(&view.pixels));
    let bad_weights: Vec<&String> = (run.learner.parameters.iter())
        .filter(|(_, parameter)| !is_finite(&parameter.detach()))
        .map(|(name, _)| name)
        .collect();
    let bad_weights = json!(bad_weights);
    let outcome = run.attempt(progress.step, &pixels);
    Ok(json!({
        "step": progress.step,
        "pictures": pictures,
        "pixels_finite": !bad_pixels,
        "parameters_not_finite": bad_weights,
        "outcome": match &outcome {
            Ok(_) => "the step is finite this time".to_string(),
            Err(error) => error.to_string(),
        },
        "finite": outcome.is_ok(),
        "losses": outcome.ok().map(|done| done.losses()),
    }))
}

fn is_finite(tensor: &Tensor) -> bool {
    tensor.sum(Kind::Double).double_value(&[]).is_finite()
}
