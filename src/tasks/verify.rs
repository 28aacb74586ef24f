//! Parity with reference tensors: the same input, the largest difference per output.

use super::features::{self, Outputs};
use crate::models::{Backbone, Request};
use crate::weights::StateDict;
use crate::{Error, Result};
use serde::Serialize;
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// One compared tensor.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// Its name in the reference file.
    pub name: String,
    pub shape: Vec<i64>,
    /// Largest absolute difference; `None` where shapes differ or a value is not a number on one
    /// side only.
    pub difference: Option<f64>,
    /// Largest absolute value of the reference.
    pub scale: f64,
    /// Whether the difference is at most tolerance · max(1, scale).
    pub within: bool,
    /// What is wrong where there is no difference to give.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Every comparison, and the names in the file that are no outputs of the network.
#[derive(Debug, Serialize)]
pub struct Report {
    pub tolerance: f64,
    pub compared: Vec<Comparison>,
    pub not_compared: Vec<String>,
}

impl Report {
    pub fn within(&self) -> bool {
        self.compared.iter().all(|c| c.within)
    }
}

/// How a reference tensor is laid out.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// [B, D] or [B, N, C]
    Plain,
    /// [B, C, h, w]
    Nchw,
}

/// Runs `input` of the reference and compares `[backbone.]summary`, `[backbone.]features` or
/// `spatial`, `ADAPTOR.summary`, `ADAPTOR.features` or `.spatial`, and the same spatial tensors
/// as `nchw.*` (E-RADIO's `features_nchw`, `features_nlc` too).
pub fn verify(
    backbone: &dyn Backbone,
    path: &Path,
    reference: &StateDict,
    device: Device,
    tolerance: f64,
) -> Result<Report> {
    let input = reference.get("input").ok_or_else(|| {
        Error::file(
            path,
            "has no tensor `input` ([B,3,H,W] in [0,1]) to run the model on",
        )
    })?;
    let known = &backbone.info().adaptors;
    let (mut outputs, mut not_compared) = (Vec::new(), Vec::new());
    for name in reference.keys().filter(|name| *name != "input") {
        match output_of(name, known) {
            Some((output, form)) => outputs.push((name, output, form)),
            None => not_compared.push(name.clone()),
        }
    }
    if outputs.is_empty() {
        return Err(Error::file(
            path,
            "holds no output to compare (summary, features, ADAPTOR.summary, ADAPTOR.features)",
        ));
    }
    let adaptors: Vec<String> = known
        .iter()
        .filter(|name| outputs.iter().any(|(_, o, _)| adaptor(o) == Some(name)))
        .cloned()
        .collect();
    let input = input.read(Device::Cpu, Kind::Float)?;
    let batch = input.size().first().copied().unwrap_or(1).max(1) as usize;
    let ours = features::of_tensor(
        backbone,
        &input,
        &Request::adaptors(&adaptors),
        device,
        batch,
    )?;

    let mut compared = Vec::new();
    for (name, output, form) in outputs {
        let expected = reference[name].read(Device::Cpu, Kind::Double)?;
        compared.push(compare(name, &expected, &ours, &output, form, tolerance)?);
    }
    Ok(Report {
        tolerance,
        compared,
        not_compared,
    })
}

/// The output (as [`Outputs`] names it) that a reference tensor is of.
fn output_of(name: &str, adaptors: &[String]) -> Option<(String, Form)> {
    match name {
        "features_nlc" => return Some(("spatial".into(), Form::Plain)),
        "features_nchw" => return Some(("spatial".into(), Form::Nchw)),
        _ => {}
    }
    let (name, form) = match name.strip_prefix("nchw.") {
        Some(rest) => (rest, Form::Nchw),
        None => (name, Form::Plain),
    };
    let (owner, part) = name.rsplit_once('.').unwrap_or(("backbone", name));
    let part = match part {
        "summary" => "summary",
        "features" | "spatial" => "spatial",
        _ => return None,
    };
    match owner {
        "backbone" => Some((part.into(), form)),
        _ if adaptors.iter().any(|a| a == owner) => Some((format!("{owner}.{part}"), form)),
        _ => None,
    }
}

fn adaptor(output: &str) -> Option<&str> {
    Some(output.rsplit_once('.')?.0)
}

fn compare(
    name: &str,
    expected: &Tensor,
    ours: &Outputs,
    output: &str,
    form: Form,
    tolerance: f64,
) -> Result<Comparison> {
    let mut comparison = Comparison {
        name: name.to_string(),
        shape: expected.size(),
        difference: None,
        scale: 0.0,
        within: false,
        problem: None,
    };
    let Some(actual) = ours.tensors.get(output) else {
        comparison.problem = Some("the model gives no such output".into());
        return Ok(comparison);
    };
    let mut actual = actual.f_to_kind(Kind::Double)?;
    if form == Form::Nchw
        && let Some(&(rows, columns)) = ours.grids.get(output)
    {
        let (batch, channels) = (actual.size()[0], actual.size()[2]);
        let map = actual.f_view([batch, rows, columns, channels])?;
        actual = map.f_permute([0, 3, 1, 2])?;
    }
    if actual.size() != expected.size() {
        comparison.problem = Some(format!("the model gives shape {:?}", actual.size()));
        return Ok(comparison);
    }
    if expected.numel() == 0 {
        comparison.difference = Some(0.0);
        comparison.within = true;
        return Ok(comparison);
    }
    comparison.scale = expected.f_abs()?.f_max()?.f_double_value(&[])?;
    let difference = (&actual - expected).f_abs()?.f_max()?.f_double_value(&[])?;
    if difference.is_nan() {
        comparison.problem = Some("holds values that are not numbers".into());
        return Ok(comparison);
    }
    comparison.difference = Some(difference);
    comparison.within = difference <= tolerance * comparison.scale.max(1.0);
    Ok(comparison)
}
