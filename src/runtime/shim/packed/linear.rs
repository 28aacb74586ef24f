//! Matrix products.

use super::{Pointwise, owned, pointer};
use crate::Result;
use crate::runtime::shim::{check, re_linear_pack, re_linear_packed};
use std::ptr::null_mut;
use tch::Tensor;

/// y = f(x Wᵀ + b)
pub struct PackedLinear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl PackedLinear {
    /// weight: [out, in], for which [`super::worthwhile`] holds.
    pub fn new(weight: &Tensor, bias: Option<Tensor>) -> Result<Self> {
        let mut packed = null_mut();
        // SAFETY: the weight is alive; `packed` receives a tensor that we own.
        check(unsafe { re_linear_pack(pointer(Some(weight)), &mut packed) })?;
        let weight = unsafe { owned(packed) };
        Ok(PackedLinear { weight, bias })
    }

    /// x: [.., in] -> [.., out]
    pub fn forward(&self, x: &Tensor, pointwise: Pointwise) -> Result<Tensor> {
        let (attr, algorithm) = pointwise.names();
        let mut y = null_mut();
        // SAFETY: all tensors are alive; `y` receives a tensor that we own.
        check(unsafe {
            re_linear_packed(
                pointer(Some(x)),
                pointer(Some(&self.weight)),
                pointer(self.bias.as_ref()),
                attr.as_ptr(),
                algorithm.as_ptr(),
                &mut y,
            )
        })?;
        Ok(unsafe { owned(y) })
    }
}
