//! Spectrally reparametrised weights, folded to plain ones as upstream's loader does.
//!
//! `X.parametrizations.weight.original` = W with a stored pair (u, v) stands for
//! W * s / sigma, with sigma from **exactly one** further power iteration (the module is still in
//! train mode when upstream removes the parametrisation; spec/radio.md §2.11). `attn.qkv` and
//! `mlp.w12` are scaled by row blocks. DAMP is an identity and leaves `original` alone.

use super::args::Args;
use crate::Result;
use crate::weights::{Checkpoint, LazyTensor, Source, StateDict};
use tch::{Kind, Tensor};

const ORIGINAL: &str = ".parametrizations.weight.original";

/// What is added to softplus(scale) in version 2 of the parametrisation.
const SCALE_FLOOR: f64 = 0.05;

#[derive(Clone, Copy)]
struct Rule {
    eps: f64,
    iterations: i64,
}

/// The stored state of one row block.
#[derive(Clone)]
struct Part {
    u: LazyTensor,
    v: LazyTensor,
    scale: LazyTensor,
    version: i64,
}

/// The checkpoint with plain weights, and whether any weight was folded.
pub fn fold(checkpoint: &Checkpoint, args: Args) -> Result<(Checkpoint, bool)> {
    // A moving average is made of plain weights.
    let Some(tensors) = checkpoint.tensors().filter(|_| !checkpoint.ema) else {
        return Ok((checkpoint.clone(), false));
    };
    let (eps, iterations) = args.spectral();
    let mut plain = StateDict::new();
    let mut folded = false;
    for (key, tensor) in tensors {
        let Some(module) = key.strip_suffix(ORIGINAL) else {
            if !key.contains(".parametrizations.weight.") {
                plain.insert(key.clone(), tensor.clone());
            }
            continue;
        };
        // Heads are parametrised with the defaults, whatever the backbone's settings.
        let rule = if key.starts_with("model.") {
            Rule { eps, iterations }
        } else {
            Rule {
                eps: 1e-6,
                iterations: 1,
            }
        };
        let parts = parts(tensors, module)?;
        let weight = if parts.iter().all(Option::is_none) {
            tensor.clone()
        } else {
            folded = true;
            let original = tensor.clone();
            LazyTensor::computed(tensor.shape.clone(), Kind::Float, move || {
                fold_one(&original, &parts, rule)
            })
        };
        plain.insert(format!("{module}.weight"), weight);
    }
    let plain = Checkpoint {
        source: Source::File(plain),
        ..checkpoint.clone()
    };
    Ok((plain, folded))
}

/// The row blocks of a weight; `None` for one that is not normalised (the values of `attn.qkv`
/// in some runs). One `None` for a weight that is not spectral at all.
fn parts(tensors: &StateDict, module: &str) -> Result<Vec<Option<Part>>> {
    let base = format!("{module}.parametrizations.weight.0.");
    if tensors.contains_key(&format!("{base}_u")) {
        return Ok(vec![part(tensors, &base)?]);
    }
    let numbered = format!("{base}parts.");
    let stored = tensors
        .keys()
        .filter_map(|key| key.strip_prefix(&numbered)?.split('.').next()?.parse().ok())
        .max()
        .map_or(0, |last: i64| last + 1);
    let count = match stored {
        0 => return Ok(vec![None]),
        _ if module.ends_with("attn.qkv") => 3,
        n => n,
    };
    (0..count)
        .map(|i| part(tensors, &format!("{numbered}{i}.")))
        .collect()
}

fn part(tensors: &StateDict, base: &str) -> Result<Option<Part>> {
    let get = |name: &str| tensors.get(&format!("{base}{name}")).cloned();
    let (Some(u), Some(v), Some(scale)) = (get("_u"), get("_v"), get("scale")) else {
        return Ok(None);
    };
    let version = match get("_sn_version") {
        Some(version) => version.read_stored()?.f_int64_value(&[])?,
        None => 1,
    };
    Ok(Some(Part {
        u,
        v,
        scale,
        version,
    }))
}

fn fold_one(original: &LazyTensor, parts: &[Option<Part>], rule: Rule) -> Result<Tensor> {
    let read = |t: &LazyTensor| t.read(tch::Device::Cpu, Kind::Float);
    let weight = read(original)?;
    let blocks = weight.f_chunk(parts.len() as i64, 0)?;
    let folded = blocks
        .iter()
        .zip(parts)
        .map(|(w, part)| match part {
            None => Ok(w.shallow_clone()),
            Some(part) => {
                let (mut u, mut v) = (read(&part.u)?, read(&part.v)?);
                for _ in 0..rule.iterations {
                    u = normalise(&w.f_mv(&v)?, rule.eps)?;
                    v = normalise(&w.f_transpose(0, 1)?.f_mv(&u)?, rule.eps)?;
                }
                let sigma = u.f_dot(&w.f_mv(&v)?)?.f_add_scalar(rule.eps)?;
                let mut scale = read(&part.scale)?;
                if part.version != 1 {
                    scale = scale.f_softplus()?.f_add_scalar(SCALE_FLOOR)?;
                }
                Ok(w.f_mul(&scale.f_div(&sigma)?)?)
            }
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Tensor::f_cat(&folded, 0)?)
}

/// x / max(|x|, eps), as `torch.nn.functional.normalize`.
fn normalise(x: &Tensor, eps: f64) -> Result<Tensor> {
    Ok(x.f_div(&x.f_norm()?.f_clamp_min(eps)?)?)
}
