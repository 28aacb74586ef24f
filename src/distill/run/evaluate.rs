//! The student measured on the way, by the tool's own tasks: each evaluation is the command that a
//! user would run, in a process of its own.

use crate::distill::config::EvaluateConfig;
use crate::distill::log::Line;
use crate::{Error, Result};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs `evaluation` on the student in `model` and adds its metrics to `line`, named
/// `eval.METRIC`; records go to `out`.
pub fn run(evaluation: &EvaluateConfig, model: &Path, out: &Path, line: &mut Line) -> Result<()> {
    let words = evaluation.command.join(" ");
    let failed =
        |reason: String| Error::model(format!("the evaluation `{words}` failed: {reason}"));
    let program = std::env::current_exe().map_err(|e| failed(e.to_string()))?;
    let output = Command::new(program)
        .args(&evaluation.command)
        .arg("--model")
        .arg(model)
        .arg("--out")
        .arg(out)
        .arg("--json")
        .arg("--quiet")
        .stdin(Stdio::null())
        .output()
        .map_err(|e| failed(e.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(failed(said.trim().to_string()));
    }
    let records: Value =
        serde_json::from_slice(&output.stdout).map_err(|e| failed(e.to_string()))?;
    for record in records.as_array().into_iter().flatten() {
        for (name, metric) in record["metrics"].as_object().into_iter().flatten() {
            if let Some(value) = metric["value"].as_f64() {
                line.put(format!("eval.{name}"), value);
            }
        }
    }
    Ok(())
}
