//! The parameters of a detector: read by name from a file, or drawn.

use crate::{Error, Result};
use indexmap::IndexMap;
use std::cell::RefCell;
use tch::{Device, Kind, Tensor};

/// Gives a stored tensor by its name; `None` where there is none.
pub type ReadTensor<'a> = dyn Fn(&str) -> Result<Option<Tensor>> + 'a;

/// How a parameter begins, where it is not read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    Constant(f64),
    Normal {
        std: f64,
    },
    /// From -bound to bound.
    Uniform {
        bound: f64,
    },
}

impl Init {
    /// PyTorch's own for convolutions and linear layers, weight and bias: kaiming_uniform with
    /// a = sqrt(5), which comes to 1 / sqrt(fan in).
    pub fn pytorch(fan_in: i64) -> Self {
        Init::Uniform {
            bound: 1.0 / (fan_in as f64).sqrt(),
        }
    }

    /// fvcore's `c2_msra_fill`: kaiming_normal over the fan out, for ReLU.
    pub fn msra(fan_out: i64) -> Self {
        Init::Normal {
            std: (2.0 / fan_out as f64).sqrt(),
        }
    }

    /// fvcore's `c2_xavier_fill`: kaiming_uniform with a = 1.
    pub fn xavier(fan_in: i64) -> Self {
        Init::Uniform {
            bound: (3.0 / fan_in as f64).sqrt(),
        }
    }
}

/// Parameters while a detector is built. Drawn ones come from libtorch's generator, in the order in
/// which they are asked for.
pub struct Parameters<'a> {
    device: Device,
    read: Option<&'a ReadTensor<'a>>,
    entries: RefCell<IndexMap<String, Tensor>>,
}

impl<'a> Parameters<'a> {
    /// `read`: where parameters are stored; all are drawn without it.
    pub fn new(device: Device, read: Option<&'a ReadTensor<'a>>) -> Self {
        Parameters {
            device,
            read,
            entries: RefCell::default(),
        }
    }

    pub fn at(&'a self, prefix: &str) -> Place<'a> {
        Place {
            parameters: self,
            prefix: prefix.to_string(),
        }
    }

    /// Everything that was asked for, by name, in order.
    pub fn finish(self) -> IndexMap<String, Tensor> {
        self.entries.into_inner()
    }

    fn get(&self, name: String, shape: &[i64], init: Init) -> Result<Tensor> {
        let tensor = match self.read {
            None => drawn(shape, init)?,
            Some(read) => {
                let stored = read(&name)?.ok_or_else(|| {
                    Error::model(format!(
                        "the head's file has no tensor `{name}`, which needs the shape {shape:?}"
                    ))
                })?;
                if stored.size() != shape {
                    return Err(Error::model(format!(
                        "tensor `{name}` of the head's file has the shape {:?}, not {shape:?}",
                        stored.size()
                    )));
                }
                stored
            }
        };
        let tensor = tensor.f_to_kind(Kind::Float)?.f_to_device(self.device)?;
        let leaf = tensor.f_detach()?.copy().set_requires_grad(true);
        let copy = leaf.shallow_clone();
        self.entries.borrow_mut().insert(name, copy);
        Ok(leaf)
    }
}

fn drawn(shape: &[i64], init: Init) -> Result<Tensor> {
    let mut tensor = Tensor::f_empty(shape, (Kind::Float, Device::Cpu))?;
    Ok(match init {
        Init::Constant(value) => tensor.f_fill_(value)?,
        Init::Normal { std } => tensor.f_normal_(0.0, std)?,
        Init::Uniform { bound } => tensor.f_uniform_(-bound, bound)?,
    })
}

/// A place in the tree of names, like `roi_heads.box_head`.
#[derive(Clone)]
pub struct Place<'a> {
    parameters: &'a Parameters<'a>,
    prefix: String,
}

impl<'a> Place<'a> {
    /// Steps down.
    pub fn at(&self, name: impl std::fmt::Display) -> Place<'a> {
        Place {
            parameters: self.parameters,
            prefix: format!("{}.{name}", self.prefix),
        }
    }

    pub fn get(&self, name: &str, shape: &[i64], init: Init) -> Result<Tensor> {
        let name = format!("{}.{name}", self.prefix);
        self.parameters.get(name, shape, init)
    }
}
