//! What PHI-S makes of the features of a case (golden/distill/README.md, `phi_s.safetensors`).

use crate::Result;
use crate::distill::standardise::{Moments, PhiS, Statistics, hadamard};
use crate::weights::{LazyTensor, StateDict, safetensors};
use std::collections::HashMap;
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// Rows that go back and forth.
const ROWS_AGAIN: i64 = 8;

/// Reads every `<tag>.x` `[n,C]` of `input` and writes what the file format says about it. Of what
/// else the input holds, `<tag>.head_weight` and `head_bias` are folded, and `hadamard_N` and
/// `hartley_N` made anew.
pub fn run(input: &Path, output: &Path) -> Result<()> {
    let (stored, _) = safetensors::open(input)?;
    let mut made: Vec<(String, Tensor)> = Vec::new();
    for (name, tensor) in &stored {
        if let Some(tag) = name.strip_suffix(".x") {
            of_features(tag, tensor, &stored, &mut made)?;
        } else if let Some(n) = number_behind(name, "hadamard_") {
            if let Some(matrix) = hadamard::plus_minus_one(n) {
                made.push((name.clone(), matrix.f_to_kind(Kind::Int8)?));
            }
        } else if let Some(n) = number_behind(name, "hartley_") {
            let (matrix, _) = hadamard::orthonormal(n);
            made.push((name.clone(), matrix.f_to_kind(Kind::Float)?));
        }
    }
    let made = made.iter().map(|(name, tensor)| (name.as_str(), tensor));
    safetensors::write(output, made, HashMap::new())
}

fn number_behind(name: &str, prefix: &str) -> Option<i64> {
    name.strip_prefix(prefix)?.parse().ok()
}

fn of_features(
    tag: &str,
    x: &LazyTensor,
    stored: &StateDict,
    made: &mut Vec<(String, Tensor)>,
) -> Result<()> {
    let x = x.read(Device::Cpu, Kind::Double)?;
    let mut moments = Moments::new(x.size()[1], Device::Cpu);
    moments.add(&x);
    let covariance = moments.covariance()?;
    let phi = PhiS::new(&covariance)?;
    let std = covariance.f_diag(0)?.f_sqrt()?;
    let standard = Statistics::standard(moments.mean.copy(), &std);
    let statistics = Statistics::PhiS {
        mean: moments.mean.copy(),
        matrix: phi.matrix.copy(),
        inverse: phi.inverse.copy(),
    };
    let y = statistics.apply(&x);
    let again = statistics
        .invert(&y)
        .f_narrow(0, 0, ROWS_AGAIN.min(x.size()[0]))?;
    let mut put = |name: &str, tensor: Tensor| -> Result<()> {
        let tensor = tensor.f_to_kind(Kind::Float)?.f_contiguous()?;
        made.push((format!("{tag}.{name}"), tensor));
        Ok(())
    };
    put("standard_y", standard.apply(&x))?;
    put("mean", moments.mean.copy())?;
    put("std", std)?;
    put("eigenvalues", phi.eigenvalues)?;
    put("basis", phi.basis)?;
    put("scale", Tensor::f_from_slice(&[phi.scale])?)?;
    put("matrix", phi.matrix)?;
    put("inverse", phi.inverse)?;
    put("y", y)?;
    put("x_again", again)?;
    let head = |name: &str| stored.get(&format!("{tag}.{name}"));
    if let (Some(weight), Some(bias)) = (head("head_weight"), head("head_bias")) {
        let read = |t: &LazyTensor| t.read(Device::Cpu, Kind::Double);
        let (weight, bias) = statistics.fold_into(&read(weight)?, &read(bias)?);
        put("folded_weight", weight)?;
        put("folded_bias", bias)?;
    }
    Ok(())
}
