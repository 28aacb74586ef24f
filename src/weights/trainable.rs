//! The parameters and buffers of a network that was built for training: by name, switched between
//! train and eval mode, and saved so that they load again.

use super::safetensors::{Declared, Writer};
use super::spectral::{Rule, RuleOf};
use super::{Checkpoint, StateDict};
use crate::files::write_atomically;
use crate::{Error, Result};
use indexmap::IndexMap;
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tch::{Device, Kind, Tensor};

/// Train or eval, shared by every layer of a network that behaves differently in the two, and where
/// the random numbers of train mode come from.
#[derive(Clone, Default)]
pub struct Mode(Arc<Shared>);

#[derive(Default)]
struct Shared {
    train: AtomicBool,
    /// Side of ViTDet windows in train mode; 0: none.
    window: AtomicI64,
    uniform: Mutex<Option<Uniform>>,
}

/// Gives uniform numbers in [0,1) by the name of what they are for and the shape wanted, whose
/// first axis is the batch: fp32, on the CPU.
pub type Uniform = Box<dyn FnMut(&str, &[i64]) -> Result<Tensor> + Send>;

impl Mode {
    pub fn is_train(&self) -> bool {
        self.0.train.load(Ordering::Relaxed)
    }

    fn set(&self, train: bool) {
        self.0.train.store(train, Ordering::Relaxed);
    }

    /// Side in patches of the windows of this pass, where it has any.
    pub fn window(&self) -> Option<i64> {
        let window = self.0.window.load(Ordering::Relaxed);
        (self.is_train() && window > 0).then_some(window)
    }

    /// Random numbers for `name`: of the source that was set ([`Trainable::set_uniform`]), else of
    /// libtorch's generator.
    ///
    /// # Errors
    /// The source has none of that name and shape.
    pub fn uniform(&self, name: &str, size: &[i64], device: Device) -> Result<Tensor> {
        let mut source = (self.0.uniform.lock()).unwrap_or_else(PoisonError::into_inner);
        match &mut *source {
            Some(draw) => Ok(draw(name, size)?.f_to_device(device)?),
            None => Ok(Tensor::f_rand(size, (Kind::Float, device))?),
        }
    }
}

/// Where a tensor of the network lies in the file it was read from, so that it can be written
/// back there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provenance {
    /// Under this key.
    Key(String),
    /// Several keys with their rows, one under the other along the first axis.
    Rows(Vec<(String, i64)>),
    /// The transpose of what lies under this key.
    Transposed(String),
}

/// What a network is made of, noted while it is built.
pub struct Registry {
    mode: Mode,
    rule_of: Box<dyn Fn(&str) -> Rule>,
    entries: RefCell<IndexMap<String, Entry>>,
    recomputed: RefCell<Vec<(String, Recompute)>>,
}

type Recompute = Box<dyn Fn() -> Tensor + Send>;

/// A tensor that training may change.
struct Entry {
    tensor: Tensor,
    is_parameter: bool,
    /// `None` where it was drawn at random.
    provenance: Option<Provenance>,
}

impl Registry {
    /// `rule_of` tells how a spectrally reparametrised weight is computed.
    pub fn new(rule_of: impl Fn(&str) -> Rule + 'static) -> Self {
        Registry {
            mode: Mode::default(),
            rule_of: Box::new(rule_of),
            entries: RefCell::default(),
            recomputed: RefCell::default(),
        }
    }

    pub(super) fn mode(&self) -> &Mode {
        &self.mode
    }

    pub(super) fn rule_of(&self) -> RuleOf<'_> {
        &*self.rule_of
    }

    /// Notes `tensor`, which the network calls `name`; a parameter becomes a leaf that gathers a
    /// gradient.
    pub(super) fn note(
        &self,
        name: &str,
        provenance: Option<Provenance>,
        tensor: Tensor,
        is_parameter: bool,
    ) -> Tensor {
        // A leaf of its own, not a view of what was read.
        let tensor = tensor.detach().set_requires_grad(is_parameter);
        let entry = Entry {
            tensor: tensor.shallow_clone(),
            is_parameter,
            provenance,
        };
        self.entries.borrow_mut().insert(name.to_string(), entry);
        tensor
    }

    /// Notes a buffer of the file that follows from parameters and is written anew when saving.
    pub(super) fn note_recomputed(&self, key: String, compute: Recompute) {
        self.recomputed.borrow_mut().push((key, compute));
    }

    /// Ends the building. `checkpoint` is what was read, under the file's own names; where there
    /// is no file, under the network's.
    pub fn finish(self, checkpoint: &Checkpoint) -> Trainable {
        Trainable {
            mode: self.mode,
            entries: self.entries.into_inner(),
            recomputed: self.recomputed.into_inner(),
            checkpoint: checkpoint.clone(),
        }
    }
}

/// The trainable side of a network.
pub struct Trainable {
    mode: Mode,
    /// By the network's names.
    entries: IndexMap<String, Entry>,
    recomputed: Vec<(String, Recompute)>,
    checkpoint: Checkpoint,
}

impl Trainable {
    /// Train mode (batch statistics, random viewports of position maps, power iterations) or, as
    /// after building, eval mode, which is inference.
    pub fn set_train(&self, train: bool) {
        self.mode.set(train);
    }

    pub fn is_train(&self) -> bool {
        self.mode.is_train()
    }

    /// Side in patches of ViTDet windows in the passes that follow in train mode (RADIO ViT);
    /// `None`: all blocks are global.
    pub fn set_window(&self, window: Option<i64>) {
        let window = window.unwrap_or(0);
        self.mode.0.window.store(window, Ordering::Relaxed);
    }

    /// Train or eval, as the network's layers see it.
    pub fn mode(&self) -> &Mode {
        &self.mode
    }

    /// Where the random numbers of train mode come from; `None`: libtorch's generator.
    pub fn set_uniform(&self, source: Option<Uniform>) {
        let mut uniform = (self.mode.0.uniform.lock()).unwrap_or_else(PoisonError::into_inner);
        *uniform = source;
    }

    /// The leaves that gather gradients, fp32, under the checkpoint's own keys. Where a file holds
    /// one parameter in several tensors (q, k and v), its name is that of the original code.
    pub fn named_parameters(&self) -> IndexMap<String, Tensor> {
        self.named(true)
    }

    /// Running statistics and other tensors without gradient that the network reads.
    pub fn named_buffers(&self) -> IndexMap<String, Tensor> {
        self.named(false)
    }

    fn named(&self, parameters: bool) -> IndexMap<String, Tensor> {
        let wanted = |entry: &&Entry| entry.is_parameter == parameters;
        self.entries
            .iter()
            .filter(|(_, entry)| wanted(entry))
            .map(|(name, entry)| {
                let key = match &entry.provenance {
                    Some(Provenance::Key(key) | Provenance::Transposed(key)) => key,
                    Some(Provenance::Rows(_)) | None => name,
                };
                (key.clone(), entry.tensor.shallow_clone())
            })
            .collect()
    }

    /// Writes `model.safetensors` in the layout of the file that was read, and its `config.json`,
    /// into `folder`. What the network does not train (another tower, a classifier) is written as
    /// it was read.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let trained = self.by_key()?;
        let path = folder.join("model.safetensors");
        let nothing = StateDict::new();
        let stored = self.checkpoint.tensors().unwrap_or(&nothing);
        let mut declared: Vec<Declared> = stored
            .iter()
            .filter(|(key, _)| !trained.contains_key(*key))
            .map(|(key, tensor)| Declared {
                name: key.clone(),
                kind: tensor.kind,
                shape: tensor.shape.clone(),
            })
            .collect();
        declared.extend(trained.iter().map(|(key, tensor)| Declared {
            name: key.clone(),
            kind: tensor.kind(),
            shape: tensor.size(),
        }));
        // Wider kinds first, so that every value is aligned.
        declared.sort_by_key(|d| {
            (
                std::cmp::Reverse(d.kind.elt_size_in_bytes()),
                d.name.clone(),
            )
        });
        let mut writer = Writer::create(&path, &declared, &HashMap::new())?;
        for one in &declared {
            match trained.get(&one.name) {
                Some(tensor) => writer.append(tensor)?,
                None => writer.append(&stored[&one.name].read_stored()?)?,
            }
        }
        writer.commit()?;
        if !self.checkpoint.config.is_null() {
            let config = serde_json::to_vec_pretty(&self.checkpoint.config)
                .map_err(|e| Error::file(folder.join("config.json"), e))?;
            write_atomically(&folder.join("config.json"), &config)?;
        }
        self.copy_preprocessing(folder)
    }

    /// The pixel statistics that lay beside the weights belong to them.
    fn copy_preprocessing(&self, folder: &Path) -> Result<()> {
        const NAME: &str = "preprocessor_config.json";
        let from = &self.checkpoint.path;
        let beside = if from.is_dir() {
            from.join(NAME)
        } else {
            from.with_file_name(NAME)
        };
        match std::fs::read(&beside) {
            Ok(text) => write_atomically(&folder.join(NAME), &text),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(Error::file(beside, e)),
        }
    }

    /// Current values of all that the network reads and trains, in the shapes and under the keys of
    /// the file, fp32; buffers that follow from parameters are computed anew.
    pub fn by_key(&self) -> Result<IndexMap<String, Tensor>> {
        let _no_grad = tch::no_grad_guard();
        let mut values = IndexMap::new();
        let mut put = |key: &str, value: Tensor| -> Result<()> {
            let value = match self.checkpoint.shape(key) {
                Some(shape) => value.f_reshape(shape)?,
                None => value,
            };
            values.insert(key.to_string(), value.f_to_kind(Kind::Float)?);
            Ok(())
        };
        for (name, entry) in &self.entries {
            let tensor = entry.tensor.detach();
            match &entry.provenance {
                None => put(name, tensor)?,
                Some(Provenance::Key(key)) => put(key, tensor)?,
                Some(Provenance::Transposed(key)) => put(key, tensor.f_numpy_t()?)?,
                Some(Provenance::Rows(parts)) => {
                    let mut start = 0;
                    for (key, rows) in parts {
                        put(key, tensor.f_narrow(0, start, *rows)?)?;
                        start += rows;
                    }
                }
            }
        }
        for (key, compute) in &self.recomputed {
            put(key, compute())?;
        }
        Ok(values)
    }
}
