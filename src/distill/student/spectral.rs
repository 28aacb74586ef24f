//! Spectral reparametrisation of a student that begins (spec/distillation.md §1.8): the function is
//! unchanged, every matrix but the patch embedding's has its largest singular value learned.

use crate::Result;
use indexmap::IndexMap;
use tch::{Device, Kind, Tensor};

/// Power iterations that find the singular vectors to begin with, and what is added to sigma.
const ITERATIONS: usize = 20;
const EPS: f64 = 1e-6;
/// softplus(raw) + this is the scale (version 2).
const FLOOR: f64 = 0.05;
const SMALLEST: f64 = 1e-5;
const VERSION: i64 = 2;

/// Row blocks that are scaled on their own.
fn blocks(module: &str) -> i64 {
    match module {
        m if m.ends_with("attn.qkv") => 3,
        m if m.ends_with("mlp.w12") => 2,
        _ => 1,
    }
}

/// Puts the parametrisation in the place of every Linear's weight.
pub fn parametrise(tensors: IndexMap<String, Tensor>) -> Result<IndexMap<String, Tensor>> {
    let mut all = IndexMap::new();
    for (key, tensor) in tensors {
        let module = key.strip_suffix(".weight");
        let module = module.filter(|m| tensor.dim() == 2 && !m.contains("patch_generator"));
        let Some(module) = module else {
            all.insert(key, tensor);
            continue;
        };
        let count = blocks(module);
        let state = format!("{module}.parametrizations.weight.0");
        for (i, rows) in tensor.f_chunk(count, 0)?.iter().enumerate() {
            let base = match count {
                1 => state.clone(),
                _ => format!("{state}.parts.{i}"),
            };
            let (u, v, raw) = start(rows)?;
            all.insert(format!("{base}.scale"), raw);
            all.insert(format!("{base}._u"), u);
            all.insert(format!("{base}._v"), v);
            let version = Tensor::f_from_slice(&[VERSION])?;
            all.insert(format!("{base}._sn_version"), version);
        }
        all.insert(format!("{module}.parametrizations.weight.original"), tensor);
    }
    Ok(all)
}

/// u, v and the raw scale `[1,1]` with which a matrix stays what it is.
fn start(w: &Tensor) -> Result<(Tensor, Tensor, Tensor)> {
    let unit = |x: Tensor| -> Result<Tensor> {
        let length = x.f_norm()?.f_clamp_min(EPS)?;
        Ok(x.f_div(&length)?)
    };
    let columns = w.size()[1];
    let mut v = unit(Tensor::f_ones([columns], (Kind::Float, Device::Cpu))?)?;
    let mut u = unit(w.f_mv(&v)?)?;
    for _ in 0..ITERATIONS {
        v = unit(w.f_transpose(0, 1)?.f_mv(&u)?)?;
        u = unit(w.f_mv(&v)?)?;
    }
    let sigma = u.f_dot(&w.f_mv(&v)?)?.f_double_value(&[])? + EPS;
    let raw = (sigma - FLOOR).max(SMALLEST).exp_m1().ln();
    let raw = Tensor::f_full([1, 1], raw, (Kind::Float, Device::Cpu))?;
    Ok((u, v, raw))
}
