//! Spectral reparametrisation: weights that a checkpoint holds as a matrix, a pair of singular
//! vectors and a scale, folded into plain weights as upstream's loader does, or kept apart for
//! training.
//!
//! `X.parametrizations.weight.original` = W with a stored pair (u, v) stands for
//! W * s / sigma, with sigma from **exactly one** further power iteration (the module is still in
//! train mode when upstream removes the parametrisation; spec/radio.md §2.11). `attn.qkv` and
//! `mlp.w12` are scaled by row blocks. DAMP is an identity and leaves `original` alone.

use super::trainable::Mode;
use super::{Checkpoint, LazyTensor, Params, StateDict, WeightSource};
use crate::Result;
use tch::{Kind, Tensor};

/// What follows a module's name where its weight is reparametrised.
pub(super) const ORIGINAL: &str = ".parametrizations.weight.original";
const STATE: &str = "parametrizations.weight.0";

/// What is added to softplus(scale) in version 2 of the parametrisation.
const SCALE_FLOOR: f64 = 0.05;

/// How sigma is found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    /// Added to sigma, and the least length that a vector is divided by.
    pub eps: f64,
    pub iterations: i64,
}

impl Default for Rule {
    /// The parametrisation's own defaults.
    fn default() -> Self {
        Rule {
            eps: 1e-6,
            iterations: 1,
        }
    }
}

/// The rule for a weight, by the name of its module.
pub type RuleOf<'a> = &'a dyn Fn(&str) -> Rule;

/// The stored state of one row block.
#[derive(Clone)]
struct SpectralState {
    u: LazyTensor,
    v: LazyTensor,
    scale: LazyTensor,
    version: i64,
}

/// The checkpoint with plain weights, and whether any weight was folded.
pub fn fold(checkpoint: &Checkpoint, rule_of: RuleOf) -> Result<(Checkpoint, bool)> {
    // A moving average is made of plain weights.
    let Some(tensors) = checkpoint.tensors().filter(|_| !checkpoint.ema) else {
        return Ok((checkpoint.clone(), false));
    };
    let mut plain = StateDict::new();
    let mut folded = false;
    for (key, tensor) in tensors {
        let Some(module) = key.strip_suffix(ORIGINAL) else {
            if !key.contains(".parametrizations.weight.") {
                plain.insert(key.clone(), tensor.clone());
            }
            continue;
        };
        let rule = rule_of(module);
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
        source: WeightSource::File(plain),
        ..checkpoint.clone()
    };
    Ok((plain, folded))
}

/// The row blocks of a weight; `None` for one that is not normalised (the values of `attn.qkv`
/// in some runs). One `None` for a weight that is not spectral at all.
fn parts(tensors: &StateDict, module: &str) -> Result<Vec<Option<SpectralState>>> {
    let base = format!("{module}.{STATE}.");
    if tensors.contains_key(&format!("{base}_u")) {
        return Ok(vec![spectral_state(tensors, &base)?]);
    }
    let numbered = format!("{base}parts.");
    let stored = tensors
        .keys()
        .filter_map(|key| key.strip_prefix(&numbered)?.split('.').next()?.parse().ok())
        .max()
        .map_or(0, |last: i64| last + 1);
    (0..block_count(module, stored))
        .map(|i| spectral_state(tensors, &format!("{numbered}{i}.")))
        .collect()
}

/// Row blocks of a weight with `stored` numbered states.
fn block_count(module: &str, stored: i64) -> i64 {
    match stored {
        0 => 1,
        _ if module.ends_with("attn.qkv") => 3,
        n => n,
    }
}

fn spectral_state(tensors: &StateDict, base: &str) -> Result<Option<SpectralState>> {
    let get = |name: &str| tensors.get(&format!("{base}{name}")).cloned();
    let (Some(u), Some(v), Some(scale)) = (get("_u"), get("_v"), get("scale")) else {
        return Ok(None);
    };
    let version = match get("_sn_version") {
        Some(version) => version.read_stored()?.f_int64_value(&[])?,
        None => 1,
    };
    Ok(Some(SpectralState {
        u,
        v,
        scale,
        version,
    }))
}

fn fold_one(original: &LazyTensor, parts: &[Option<SpectralState>], rule: Rule) -> Result<Tensor> {
    let read = |t: &LazyTensor| t.read(tch::Device::Cpu, Kind::Float);
    let weight = read(original)?;
    let blocks = weight.f_chunk(parts.len() as i64, 0)?;
    let folded = blocks
        .iter()
        .zip(parts)
        .map(|(w, part)| match part {
            None => Ok(w.shallow_clone()),
            Some(part) => {
                let state = (read(&part.u)?, read(&part.v)?);
                let (u, v) = iterate(w, state, rule)?;
                effective(w, &u, &v, &read(&part.scale)?, part.version, rule)
            }
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Tensor::f_cat(&folded, 0)?)
}

/// Power iterations from (u, v).
fn iterate(w: &Tensor, (mut u, mut v): (Tensor, Tensor), rule: Rule) -> Result<(Tensor, Tensor)> {
    for _ in 0..rule.iterations {
        u = normalise(&w.f_mv(&v)?, rule.eps)?;
        v = normalise(&w.f_transpose(0, 1)?.f_mv(&u)?, rule.eps)?;
    }
    Ok((u, v))
}

/// W * s / sigma; the gradient flows through sigma, with u and v as constants.
fn effective(
    w: &Tensor,
    u: &Tensor,
    v: &Tensor,
    scale: &Tensor,
    version: i64,
    rule: Rule,
) -> Result<Tensor> {
    let sigma = u.f_dot(&w.f_mv(v)?)?.f_add_scalar(rule.eps)?;
    let scale = match version {
        1 => scale.shallow_clone(),
        _ => scale.f_softplus()?.f_add_scalar(SCALE_FLOOR)?,
    };
    Ok(w.f_mul(&scale.f_div(&sigma)?)?)
}

/// x / max(|x|, eps), as `torch.nn.functional.normalize`.
fn normalise(x: &Tensor, eps: f64) -> Result<Tensor> {
    Ok(x.f_div(&x.f_norm()?.f_clamp_min(eps)?)?)
}

/// A reparametrised weight in training.
pub struct SpectralWeight {
    /// [out, in]
    original: Tensor,
    /// `None` for a row block that is not normalised.
    blocks: Vec<Option<Block>>,
    rule: Rule,
    mode: Mode,
}

struct Block {
    /// [rows]
    u: Tensor,
    /// [in]
    v: Tensor,
    scale: Tensor,
    version: i64,
}

impl SpectralWeight {
    /// `p` is the module (`blocks.0.mlp.fc1`); `None` where its weight is a plain one.
    pub fn new(p: &Params, rows: i64, columns: i64) -> Result<Option<Self>> {
        let (Some(mode), true) = (p.mode(), p.has("parametrizations.weight.original")) else {
            return Ok(None);
        };
        let state = p.pp(STATE);
        let numbered = state.pp("parts");
        let places = if state.has("_u") {
            vec![state]
        } else {
            // The last block's state may be missing: count to the last that is there.
            let stored = (0..3).filter(|i| numbered.pp(i).has("_u")).max();
            match stored.map_or(0, |last| last + 1) {
                0 => return Ok(None),
                n => (0..block_count(&p.key(""), n))
                    .map(|i| numbered.pp(i))
                    .collect(),
            }
        };
        let count = places.len() as i64;
        let block = |p: &Params| -> Result<Option<Block>> {
            if !p.has("_u") {
                return Ok(None);
            }
            let shape = p.shape("scale").unwrap_or(&[1, 1]).to_vec();
            p.skip("_sn_version");
            Ok(Some(Block {
                u: p.buffer("_u", &[rows / count])?,
                v: p.buffer("_v", &[columns])?,
                scale: p.scale("scale", &shape)?,
                version: p.stored_int("_sn_version")?.unwrap_or(1),
            }))
        };
        Ok(Some(SpectralWeight {
            original: p.get_f32("parametrizations.weight.original", &[rows, columns])?,
            blocks: places.iter().map(block).collect::<Result<_>>()?,
            rule: p.spectral_rule(),
            mode: mode.clone(),
        }))
    }

    /// The weight of this pass. In train mode u and v take the step of the power iteration with
    /// them; in eval mode they stay, as loading the saved file takes that step itself.
    pub fn value(&self) -> Result<Tensor> {
        let rows = self.original.f_chunk(self.blocks.len() as i64, 0)?;
        let scaled = rows.iter().zip(&self.blocks).map(|(w, block)| {
            let Some(block) = block else {
                return Ok(w.shallow_clone());
            };
            let (u, v) = {
                let _no_grad = tch::no_grad_guard();
                let state = (block.u.shallow_clone(), block.v.shallow_clone());
                let (u, v) = iterate(&w.f_detach()?, state, self.rule)?;
                if self.mode.is_train() {
                    block.u.shallow_clone().f_copy_(&u)?;
                    block.v.shallow_clone().f_copy_(&v)?;
                }
                (u, v)
            };
            effective(w, &u, &v, &block.scale, block.version, self.rule)
        });
        Ok(Tensor::f_cat(&scaled.collect::<Result<Vec<_>>>()?, 0)?)
    }
}
