//! Convolutions.

use super::{Pointwise, owned, pointer};
use crate::Result;
use crate::runtime::shim::{check, re_conv_pack, re_conv_packed};
use std::cell::RefCell;
use std::ptr::null_mut;
use tch::Tensor;

/// y = f(conv2d(x) + b), square kernels without dilation.
pub struct PackedConv {
    weight: RefCell<Weight>,
    bias: Tensor,
    stride: i64,
    padding: i64,
    groups: i64,
}

/// oneDNN's best layout depends on the size of the input. Another one works too, but is then
/// reordered in every call, which takes up to a fifth of a forward pass in bf16.
struct Weight {
    packed: Tensor,
    /// [B, in, H, W] that the layout is for.
    laid_out_for: Option<[i64; 4]>,
    /// The last input's.
    last: Option<[i64; 4]>,
}

impl PackedConv {
    /// weight: [out, in / groups, k, k], for which [`super::worthwhile`] holds.
    pub fn new(
        weight: &Tensor,
        bias: Tensor,
        stride: i64,
        padding: i64,
        groups: i64,
    ) -> Result<Self> {
        Ok(PackedConv {
            weight: RefCell::new(Weight {
                packed: pack(weight, (stride, padding, groups), None)?,
                laid_out_for: None,
                last: None,
            }),
            bias,
            stride,
            padding,
            groups,
        })
    }

    /// x: [B, in, H, W]; channels-last in, channels-last out.
    pub fn forward(&self, x: &Tensor, pointwise: Pointwise) -> Result<Tensor> {
        let (batch, channels, height, width) = x.size4()?;
        let weight = self.weight_for([batch, channels, height, width])?;
        let (attr, algorithm) = pointwise.names();
        let mut y = null_mut();
        // SAFETY: all tensors are alive; `y` receives a tensor that we own.
        check(unsafe {
            re_conv_packed(
                pointer(Some(x)),
                pointer(Some(&weight)),
                pointer(Some(&self.bias)),
                self.stride,
                self.padding,
                self.groups,
                attr.as_ptr(),
                algorithm.as_ptr(),
                &mut y,
            )
        })?;
        Ok(unsafe { owned(y) })
    }

    /// The weight, laid out anew once inputs of one size come in a row: images of ever other sizes
    /// would have it laid out for nothing.
    fn weight_for(&self, size: [i64; 4]) -> Result<Tensor> {
        let mut weight = self.weight.borrow_mut();
        if weight.last.replace(size) == Some(size) && weight.laid_out_for != Some(size) {
            let shape = (self.stride, self.padding, self.groups);
            weight.packed = pack(&weight.packed, shape, Some(&size))?;
            weight.laid_out_for = Some(size);
        }
        Ok(weight.packed.shallow_clone())
    }
}

/// A plain or packed weight in oneDNN's layout for inputs of that size.
fn pack(
    weight: &Tensor,
    (stride, padding, groups): (i64, i64, i64),
    size: Option<&[i64; 4]>,
) -> Result<Tensor> {
    let mut packed = null_mut();
    let size = size.map_or(std::ptr::null(), |size| size.as_ptr());
    // SAFETY: the weight and the four numbers are alive; `packed` receives a tensor that we own.
    check(unsafe {
        re_conv_pack(
            pointer(Some(weight)),
            stride,
            padding,
            groups,
            size,
            &mut packed,
        )
    })?;
    Ok(unsafe { owned(packed) })
}
