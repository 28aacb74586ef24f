//! Whole training steps, through the command that runs case folders.

use super::{Tensors, apart, json, largest, shared, tensors};
use crate::common::{radio_eval, stdout};
use serde_json::Value;
use std::path::Path;
use tch::{Kind, Tensor};
use tempfile::TempDir;

fn run(case: &Path) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    stdout(
        radio_eval(folder.path())
            .arg("distill-case")
            .args([case, folder.path()]),
    );
    folder
}

/// Every number of `wanted` is in `found`, within `tolerance` (relative, at least to 1).
#[track_caller]
fn contains(found: &Value, wanted: &Value, tolerance: f64, at: &str) -> usize {
    match wanted {
        Value::Number(number) => {
            let (found, wanted) = (found.as_f64(), number.as_f64().unwrap());
            let found = found.unwrap_or_else(|| panic!("{at} is missing"));
            let off = (found - wanted).abs() / wanted.abs().max(1.0);
            assert!(off <= tolerance, "{at}: {found} instead of {wanted}");
            1
        }
        Value::Object(fields) => fields
            .iter()
            .map(|(key, wanted)| contains(&found[key], wanted, tolerance, &format!("{at}.{key}")))
            .sum(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(i, wanted)| contains(&found[i], wanted, tolerance, &format!("{at}[{i}]")))
            .sum(),
        _ => 0,
    }
}

#[test]
fn vit() {
    let Some(case) = shared("golden/distill/vit_a") else {
        return;
    };
    let out = run(&case);
    let (found, wanted) = (
        json(&out.path().join("losses.json")),
        json(&case.join("losses.json")),
    );
    let mut compared = 0;
    for name in ["adamw", "lamb"] {
        compared += contains(&found[name], &wanted[name], 1e-5, name);
    }
    for name in ["plain", "partitions_by_images"] {
        let variant = |losses: &Value| losses["variants"][name].clone();
        compared += contains(&variant(&found), &variant(&wanted), 1e-5, name);
    }
    for name in ["unic", "total"] {
        let dropped = |losses: &Value| losses["variants"]["teacher_dropping"][name].clone();
        compared += contains(&dropped(&found), &dropped(&wanted), 1e-5, name);
    }
    assert!(compared > 250, "{compared}");
    gradients(&tensors(&out.path().join("grads.safetensors")), &case);
    parameters(
        &tensors(&out.path().join("after_steps.safetensors")),
        &case,
        &wanted,
    );
}

/// Every parameter has the golden gradient, and no other has one.
fn gradients(found: &Tensors, case: &Path) {
    let wanted = tensors(&case.join("grads.safetensors"));
    assert_eq!(found.len(), wanted.len());
    for (key, wanted) in wanted {
        let off = apart(&found[&key], &wanted);
        let allowed = 1e-5 * largest(&wanted) + 1e-8;
        if key.ends_with("qkv.bias") {
            // The key third is 0 in exact arithmetic.
            let third = wanted.size()[0] / 3;
            for part in [0, 2] {
                let of = |t: &Tensor| t.narrow(0, part * third, third);
                assert!(apart(&of(&found[&key]), &of(&wanted)) <= allowed, "{key}");
            }
            assert!(off <= 1e-6, "{key}: {off:e}");
        } else {
            assert!(off <= allowed, "{key}: {off:e}, {allowed:e} allowed");
        }
    }
}

fn parameters(found: &Tensors, case: &Path, losses: &Value) {
    let wanted = tensors(&case.join("after_steps.safetensors"));
    assert_eq!(found.len(), wanted.len());
    let start = tensors(&case.join("checkpoint_raw.safetensors"));
    for (name, wanted) in &wanted {
        let off = apart(&found[name], wanted);
        let mut parts = name.splitn(3, '.');
        let (optimiser, step) = (parts.next().unwrap(), parts.next().unwrap());
        let key = parts.next().unwrap();
        let allowed = if step == "1" { 1e-5 } else { 3e-5 };
        assert!(off <= allowed, "{name}: {off:e}");
        if step == "ema3" {
            continue;
        }
        let moved = losses["update_norm"][optimiser][step][key]
            .as_f64()
            .unwrap();
        if moved == 0.0 {
            // No gradient: bit for bit as it was.
            let rows = start[key].size()[0];
            let every = if start[key].numel() > 1024 {
                (rows + 7) / 8
            } else {
                1
            };
            let before = start[key].slice(0, None, None, every);
            assert_eq!(apart(&found[name], &before), 0.0, "{name}");
        } else if wanted.numel() <= 1024 {
            let error = (&found[name] - wanted).to_kind(Kind::Double).norm();
            let share = error.double_value(&[]) / moved;
            assert!(share <= 2e-3, "{name}: {share:e} of the distance");
        }
    }
}

/// BatchNorm in training: losses, gradient norms, running statistics, outputs.
#[test]
fn eradio() {
    let Some(case) = shared("golden/distill/eradio_a") else {
        return;
    };
    let out = run(&case);
    let (found, wanted) = (
        json(&out.path().join("losses.json")),
        json(&case.join("losses.json")),
    );
    contains(&found["total"], &wanted["total"], 1e-5, "total");
    contains(&found["teachers"], &wanted["teachers"], 1e-5, "teachers");
    contains(&found["grad_norm"], &wanted["grad_norm"], 1e-5, "grad_norm");
    assert_eq!(found["without_gradient"], wanted["without_gradient"]);
    let norms = wanted["grad_norms"].as_object().unwrap();
    assert_eq!(found["grad_norms"].as_object().unwrap().len(), norms.len());
    for (key, wanted) in norms {
        let (found, wanted) = (
            found["grad_norms"][key].as_f64().unwrap(),
            wanted.as_f64().unwrap(),
        );
        if wanted < 1e-6 {
            assert!(found < 1e-6, "{key}: {found:e}");
        } else {
            assert!(
                (found / wanted - 1.0).abs() <= 5e-5,
                "{key}: {found} {wanted}"
            );
        }
    }
    let found = tensors(&out.path().join("after_step.safetensors"));
    let wanted = tensors(&case.join("after_step.safetensors"));
    assert_eq!(found.len(), wanted.len());
    for (name, wanted) in &wanted {
        let off = apart(&found[name], wanted);
        let allowed = match name.split('.').next() {
            Some("out") => 5e-5,
            Some("grad") => 2e-5,
            _ => 1e-5 * largest(wanted).max(1.0),
        };
        assert!(off <= allowed, "{name}: {off:e}");
    }
}

#[test]
fn a_folder_that_is_no_case_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = crate::common::fails(
        radio_eval(folder.path())
            .arg("distill-case")
            .args([folder.path(), folder.path()]),
        1,
    );
    assert!(error.contains("is no distillation case"), "{error}");
}
