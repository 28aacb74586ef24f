//! Distillation against golden/distill, which shares no code with it; tolerances are those of its
//! README.

mod cases;
mod functions;
mod run;

use crate::common::shared;
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;
use tch::{Kind, Tensor};

type Tensors = HashMap<String, Tensor>;

fn tensors(path: &Path) -> Tensors {
    let read = Tensor::read_safetensors(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    read.into_iter().collect()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The largest |a - b|.
#[track_caller]
fn apart(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    let (a, b) = (a.to_kind(Kind::Double), b.to_kind(Kind::Double));
    (a - b).abs().max().double_value(&[])
}

fn largest(t: &Tensor) -> f64 {
    t.to_kind(Kind::Double).abs().max().double_value(&[])
}

fn numbers(value: &Value) -> Vec<f64> {
    let values = value.as_array().expect("a list");
    values
        .iter()
        .map(|v| v.as_f64().expect("a number"))
        .collect()
}

fn matrix(value: &Value) -> Tensor {
    let rows: Vec<Vec<f64>> = value.as_array().unwrap().iter().map(numbers).collect();
    Tensor::from_slice2(&rows)
}

/// JSON files were computed in fp64.
#[track_caller]
fn close(found: f64, wanted: f64, what: &str) {
    let allowed = 1e-6 * wanted.abs().max(1e-6);
    assert!(
        (found - wanted).abs() <= allowed,
        "{what}: {found} instead of {wanted}"
    );
}
