//! Reads a network's parameters from a checkpoint, strictly.
//!
//! A layer asks for each tensor by its key and the shape it must have. What was never asked for
//! is an error at [`ParamStore::finish`], unless the architecture names it as known-dead.

use super::checkpoint::{Checkpoint, WeightSource};
use super::spectral::{self, Rule};
use super::trainable::{Mode, Registry};
use crate::rng::Rng;
use crate::{Error, Result};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use tch::{Device, Kind, Tensor};

/// The parameters of one network while it is being built.
pub struct ParamStore<'a> {
    checkpoint: &'a Checkpoint,
    device: Device,
    kind: Kind,
    used: RefCell<HashSet<String>>,
    parameters: Cell<i64>,
    /// Where the network is built for training.
    registry: Option<&'a Registry>,
}

impl<'a> ParamStore<'a> {
    pub fn new(checkpoint: &'a Checkpoint, device: Device, kind: Kind) -> Self {
        ParamStore {
            checkpoint,
            device,
            kind,
            used: RefCell::default(),
            parameters: Cell::new(0),
            registry: None,
        }
    }

    /// Builds for training where there is a registry: every tensor read is noted in it.
    pub fn trained(self, registry: Option<&'a Registry>) -> Self {
        ParamStore { registry, ..self }
    }

    /// The root of the key tree.
    pub fn root(&self) -> Params<'_> {
        Params {
            store: self,
            prefix: String::new(),
        }
    }

    /// Number of parameters read so far (buffers not counted).
    pub fn parameters(&self) -> i64 {
        self.parameters.get()
    }

    /// Checks that nothing in the file was left over, except keys for which `dead` says so.
    pub fn finish(&self, dead: impl Fn(&str) -> bool) -> Result<()> {
        let WeightSource::File(tensors) = &self.checkpoint.source else {
            return Ok(());
        };
        let used = self.used.borrow();
        let left: Vec<&str> = tensors
            .keys()
            .map(String::as_str)
            .filter(|name| !used.contains(*name) && !dead(name))
            // Of no type that a network computes with: nobody asked for it.
            .filter(|name| !tensors[*name].is_opaque())
            .collect();
        match left.as_slice() {
            [] => Ok(()),
            [first, rest @ ..] => Err(Error::tensor(
                &self.checkpoint.path,
                *first,
                format!(
                    "unexpected: the architecture has no place for it{}. The file may be of another model, or of a newer version",
                    match rest.len() {
                        0 => String::new(),
                        n => format!(" (nor for {n} more)"),
                    }
                ),
            )),
        }
    }
}

/// A place in the key tree, like `blocks.3.attn`.
#[derive(Clone)]
pub struct Params<'a> {
    store: &'a ParamStore<'a>,
    prefix: String,
}

impl Params<'_> {
    /// Steps down: `p.pp("attn").pp("qkv")` reads `attn.qkv.*`.
    pub fn pp(&self, name: impl std::fmt::Display) -> Self {
        Params {
            store: self.store,
            prefix: self.key(&name.to_string()),
        }
    }

    /// Whether the network is built for training: nothing may be folded, packed or computed once
    /// from a parameter.
    pub fn trains(&self) -> bool {
        self.store.registry.is_some()
    }

    /// Train or eval, where the network is built for training.
    pub fn mode(&self) -> Option<&Mode> {
        self.store.registry.map(Registry::mode)
    }

    /// How a spectrally reparametrised weight of this module is computed.
    pub(super) fn spectral_rule(&self) -> Rule {
        let rule = |registry: &Registry| registry.rule_of()(&self.prefix);
        self.store.registry.map(rule).unwrap_or_default()
    }

    /// A full name of the key tree.
    pub(super) fn key(&self, name: &str) -> String {
        match (self.prefix.as_str(), name) {
            ("", name) => name.to_string(),
            (prefix, "") => prefix.to_string(),
            (prefix, name) => format!("{prefix}.{name}"),
        }
    }

    pub fn device(&self) -> Device {
        self.store.device
    }

    /// The run's precision.
    pub fn kind(&self) -> Kind {
        self.store.kind
    }

    /// Whether the file has that tensor; always false for random weights, so presence that
    /// shapes the architecture must come from a config.
    pub fn has(&self, name: &str) -> bool {
        self.store.checkpoint.has(&self.key(name))
    }

    /// The stored shape, where a size follows from the file; `None` for random weights.
    pub fn shape(&self, name: &str) -> Option<&[i64]> {
        self.store.checkpoint.shape(&self.key(name))
    }

    /// A parameter of exactly that shape, in the run's precision.
    pub fn get(&self, name: &str, shape: &[i64]) -> Result<Tensor> {
        let tensor = self.read(name, shape, self.store.kind, true)?;
        self.count(&tensor);
        Ok(tensor)
    }

    /// A parameter kept in fp32 whatever the run's precision (position tables, scales).
    pub fn get_f32(&self, name: &str, shape: &[i64]) -> Result<Tensor> {
        let tensor = self.read(name, shape, Kind::Float, true)?;
        self.count(&tensor);
        Ok(tensor)
    }

    /// A parameter that is in use already in another form: in the run's precision, not counted.
    pub fn get_again(&self, name: &str, shape: &[i64]) -> Result<Tensor> {
        self.read(name, shape, self.store.kind, true)
    }

    /// A parameter of training only (the scale of a spectral weight), in fp32 and not counted.
    pub(super) fn scale(&self, name: &str, shape: &[i64]) -> Result<Tensor> {
        self.read(name, shape, Kind::Float, true)
    }

    /// A whole number stored as a tensor; `None` where the file has none.
    pub(super) fn stored_int(&self, name: &str) -> Result<Option<i64>> {
        let tensors = self.store.checkpoint.tensors();
        match tensors.and_then(|tensors| tensors.get(&self.key(name))) {
            Some(stored) => Ok(Some(stored.read_stored()?.f_int64_value(&[])?)),
            None => Ok(None),
        }
    }

    /// A buffer (running statistics, constants) in fp32; not counted as a parameter.
    pub fn buffer(&self, name: &str, shape: &[i64]) -> Result<Tensor> {
        self.read(name, shape, Kind::Float, false)
    }

    /// A constant of the network that a saved file must hold even where nothing was read
    /// (pixel statistics of random weights).
    pub fn constant(&self, name: &str, value: Tensor) {
        if let Some(registry) = self.store.registry {
            let _noted = registry.note(&self.key(name), None, value, false);
        }
    }

    /// A buffer of the file that follows from parameters: skipped, and in training written anew
    /// when the network is saved.
    pub fn recomputed(&self, name: &str, compute: impl Fn() -> Tensor + Send + 'static) {
        self.skip(name);
        let tensors = self.store.checkpoint.tensors();
        let stored = tensors.and_then(|tensors| tensors.get(&self.key(name)));
        if let (Some(registry), Some(stored)) = (self.store.registry, stored)
            && let Some(super::Provenance::Key(key)) = &stored.provenance
        {
            registry.note_recomputed(key.clone(), Box::new(compute));
        }
    }

    /// Marks a tensor as seen without reading it (a dead weight whose place is known).
    pub fn skip(&self, name: &str) {
        self.store.used.borrow_mut().insert(self.key(name));
    }

    fn count(&self, tensor: &Tensor) {
        let total = self.store.parameters.get() + tensor.numel() as i64;
        self.store.parameters.set(total);
    }

    fn read(&self, name: &str, shape: &[i64], kind: Kind, is_parameter: bool) -> Result<Tensor> {
        let key = self.stored_key(name);
        let checkpoint = self.store.checkpoint;
        match &checkpoint.source {
            WeightSource::Random(seed) => {
                let tensor = random(*seed, &key, shape, kind, self.store.device)?;
                Ok(match self.store.registry {
                    Some(registry) => registry.note(&key, None, tensor, is_parameter),
                    None => tensor,
                })
            }
            WeightSource::TorchScript => Err(Error::tensor(
                &checkpoint.path,
                &key,
                "is inside a TorchScript program, which is run as it is",
            )),
            WeightSource::File(tensors) => {
                let stored = tensors.get(&key).ok_or_else(|| {
                    Error::tensor(
                        &checkpoint.path,
                        &key,
                        format!("missing; the architecture needs it with shape {shape:?}"),
                    )
                })?;
                if without_ones(&stored.shape) != without_ones(shape) {
                    return Err(Error::tensor(
                        &checkpoint.path,
                        &key,
                        format!(
                            "has shape {:?}, the architecture needs {shape:?}",
                            stored.shape
                        ),
                    ));
                }
                let tensor = stored.read(self.store.device, kind)?.f_view(shape)?;
                self.store.used.borrow_mut().insert(key.clone());
                let Some(registry) = self.store.registry else {
                    return Ok(tensor);
                };
                if stored.provenance.is_none() {
                    return Err(Error::tensor(
                        &checkpoint.path,
                        &key,
                        "is computed from other tensors of this file and could not be written back to them; networks in this layout cannot be trained",
                    ));
                }
                let provenance = stored.provenance.clone();
                Ok(registry.note(&key, provenance, tensor, is_parameter))
            }
        }
    }

    /// The full name under which the file has `name`: a reparametrised weight that was not folded
    /// lies under the parametrisation's `original`.
    fn stored_key(&self, name: &str) -> String {
        let key = self.key(name);
        let original = key
            .strip_suffix(".weight")
            .map(|module| format!("{module}{}", spectral::ORIGINAL));
        match original {
            Some(original) if self.trains() && self.store.checkpoint.has(&original) => original,
            _ => key,
        }
    }
}

/// Axes of length one carry nothing: a scalar is stored as [] or [1], a class token as [C] or
/// [1, 1, C].
fn without_ones(shape: &[i64]) -> Vec<i64> {
    shape.iter().copied().filter(|&n| n != 1).collect()
}

/// A parameter drawn from `seed` and its key alone, so that the order of construction does not
/// matter. Scales keep activations near unit variance: matrices N(0, 1/fan-in), norm weights and
/// variances near 1, the rest small.
fn random(seed: u64, key: &str, shape: &[i64], kind: Kind, device: Device) -> Result<Tensor> {
    let mut hasher = DefaultHasher::new();
    (seed, key).hash(&mut hasher);
    let numel: i64 = shape.iter().product();
    let mut draw = Tensor::f_empty([numel], (Kind::Float, Device::Cpu))?;
    fill_normal(&mut draw, hasher.finish())?;
    let draw = draw.f_view(shape)?;
    let name = key.rsplit('.').next().unwrap_or(key);
    let values = match (name, shape) {
        ("running_var" | "norm_std", _) => draw.f_abs()?.f_mul_scalar(0.1)?.f_add_scalar(0.9)?,
        ("bias" | "running_mean" | "norm_mean", _) => draw.f_mul_scalar(0.02)?,
        (_, [] | [_]) => draw.f_mul_scalar(0.02)?.f_add_scalar(1.0)?,
        (_, [1, ..]) => draw.f_mul_scalar(0.02)?,
        (_, [_, fan_in @ ..]) => {
            let fan_in: i64 = fan_in.iter().product();
            draw.f_mul_scalar((fan_in as f64).powf(-0.5))?
        }
    };
    Ok(values.f_to_kind(kind)?.f_to_device(device)?)
}

/// Fills a contiguous fp32 CPU tensor with approximately normal numbers (Irwin-Hall of 4) from a
/// SplitMix64 stream: a full-size model is drawn in seconds and alike on every machine.
fn fill_normal(tensor: &mut Tensor, seed: u64) -> Result<()> {
    let len = tensor.numel();
    if len == 0 {
        return Ok(());
    }
    // SAFETY: freshly allocated, contiguous, fp32, on the CPU, not shared.
    let values = unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr() as *mut f32, len) };
    let mut rng = Rng::plain(seed);
    for value in values {
        let z = rng.draw();
        let sum: i32 = (0..4).map(|i| (z >> (16 * i)) as u16 as i32).sum();
        // Mean 2·65535, variance 4·65536²/12.
        *value = (sum - 131_070) as f32 * (1.732_050_8 / 65_536.0);
    }
    Ok(())
}
