//! Features of a batch or of some images, by name: what `radio-eval features` writes and
//! `radio-eval verify` compares.

pub mod export;
mod row_file;

use crate::models::{Backbone, Features, Request, backbone};
use crate::runtime::interrupt;
use crate::{Error, Result};
use indexmap::IndexMap;
use tch::{Device, Kind, Tensor};

/// Outputs of a network over all inputs, on the CPU in fp32.
pub struct Outputs {
    /// `summary` `[B,D]`, `spatial` `[B,N,C]`, and of every adaptor `NAME.summary` and
    /// `NAME.spatial` (where it has one).
    pub tensors: IndexMap<String, Tensor>,
    /// Token grid (rows, columns) of each spatial tensor.
    pub grids: IndexMap<String, (i64, i64)>,
}

/// Runs `input` `[B,3,H,W]` in `[0,1]`, `batch_size` rows at a time.
pub fn of_tensor(
    backbone: &dyn Backbone,
    input: &Tensor,
    request: &Request,
    device: Device,
    batch_size: usize,
) -> Result<Outputs> {
    if input.dim() != 4 || input.size()[0] == 0 {
        return Err(Error::model(format!(
            "the input must be [B,3,H,W] with at least one image, it is {:?}",
            input.size()
        )));
    }
    let mut parts = Parts::default();
    for batch in input.f_split(batch_size.max(1) as i64, 0)? {
        interrupt::check()?;
        let pixels = batch.f_to_device(device)?.f_to_kind(Kind::Float)?;
        parts.push(backbone::run(backbone, &pixels, request)?)?;
    }
    parts.join()
}

/// Outputs of successive batches.
#[derive(Default)]
struct Parts {
    tensors: IndexMap<String, Vec<Tensor>>,
    grids: IndexMap<String, (i64, i64)>,
}

impl Parts {
    fn push(&mut self, features: Features) -> Result<()> {
        self.keep("summary", &features.summary)?;
        self.keep_spatial("spatial", &features.spatial, features.grid)?;
        for (name, adaptor) in &features.adaptors {
            self.keep(&format!("{name}.summary"), &adaptor.summary)?;
            if let Some((spatial, grid)) = &adaptor.spatial {
                self.keep_spatial(&format!("{name}.spatial"), spatial, *grid)?;
            }
        }
        Ok(())
    }

    fn keep(&mut self, name: &str, tensor: &Tensor) -> Result<()> {
        let tensor = tensor.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?;
        self.tensors
            .entry(name.to_string())
            .or_default()
            .push(tensor);
        Ok(())
    }

    fn keep_spatial(&mut self, name: &str, tensor: &Tensor, grid: (i64, i64)) -> Result<()> {
        self.grids.insert(name.to_string(), grid);
        self.keep(name, tensor)
    }

    fn join(self) -> Result<Outputs> {
        let mut tensors = IndexMap::new();
        for (name, parts) in self.tensors {
            tensors.insert(name, Tensor::f_cat(&parts, 0)?);
        }
        Ok(Outputs {
            tensors,
            grids: self.grids,
        })
    }
}
