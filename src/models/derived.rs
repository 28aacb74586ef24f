//! Tensors made from parameters: once at load for inference, in every pass for training.

use crate::weights::Params;
use tch::Tensor;

/// What a network computes from its parameters alone.
pub enum Derived {
    Ready(Tensor),
    /// In training: the parameters change, and gradients flow through the computation.
    Computed(Box<dyn Fn() -> Tensor + Send>),
}

impl Derived {
    /// `make` must hold the parameters it computes from.
    pub fn new(p: &Params, make: impl Fn() -> Tensor + Send + 'static) -> Self {
        if p.trains() {
            Derived::Computed(Box::new(make))
        } else {
            Derived::Ready(make())
        }
    }

    pub fn value(&self) -> Tensor {
        match self {
            Derived::Ready(tensor) => tensor.shallow_clone(),
            Derived::Computed(make) => make(),
        }
    }

    /// Whether the value may be kept, or a table made from it.
    pub fn is_constant(&self) -> bool {
        matches!(self, Derived::Ready(_))
    }
}
