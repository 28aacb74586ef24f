//! Matrix products and convolutions of oneDNN on weights laid out for it once, at load.
//!
//! libtorch's plain operators keep weights in their own layout: a convolution reorders them in
//! every call, and an fp32 matrix product goes to another library. The outcome is the same up to
//! the order of additions.

mod conv;
mod linear;

pub use conv::PackedConv;
pub use linear::PackedLinear;

use std::ffi::{CStr, c_void};
use tch::{Device, Kind, Tensor};

/// What is done to each output before it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pointwise {
    None,
    Relu,
    Silu,
    Gelu,
    GeluTanh,
}

impl Pointwise {
    /// Names of libtorch's `mkldnn::` operators (`attr`, `algorithm`).
    fn names(self) -> (&'static CStr, &'static CStr) {
        match self {
            Pointwise::None => (c"none", c""),
            Pointwise::Relu => (c"relu", c""),
            Pointwise::Silu => (c"swish", c""),
            Pointwise::Gelu => (c"gelu", c"none"),
            Pointwise::GeluTanh => (c"gelu", c"tanh"),
        }
    }
}

/// Weights below this many numbers stay as they are: starting oneDNN costs more than it gains.
const WORTHWHILE: usize = 1 << 17;

/// Whether packing `weight` pays and this processor has the instructions for its precision.
pub fn worthwhile(weight: &Tensor) -> bool {
    weight.device() == Device::Cpu
        && weight.numel() >= WORTHWHILE
        && match weight.kind() {
            Kind::Float => cfg!(target_arch = "x86_64"),
            Kind::BFloat16 => has_bf16(),
            _ => false,
        }
}

/// What libtorch asks of a processor for bf16 in oneDNN (`mkldnn_bf16_device_check`).
#[cfg(target_arch = "x86_64")]
fn has_bf16() -> bool {
    std::arch::is_x86_feature_detected!("avx512bw")
        && std::arch::is_x86_feature_detected!("avx512vl")
        && std::arch::is_x86_feature_detected!("avx512dq")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_bf16() -> bool {
    false
}

/// The `at::Tensor` behind a tensor, or null.
pub(super) fn pointer(tensor: Option<&Tensor>) -> *const c_void {
    tensor.map_or(std::ptr::null(), |t| t.as_ptr().cast())
}

/// # Safety
/// `raw` must be an `at::Tensor` made with `new` that nobody else frees.
pub(super) unsafe fn owned(raw: *mut c_void) -> Tensor {
    // SAFETY: by the caller.
    unsafe { Tensor::from_ptr(raw.cast()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(shape: &[i64], kind: Kind) -> Tensor {
        (Tensor::rand(shape, (Kind::Float, Device::Cpu)) - 0.5).to_kind(kind)
    }

    fn assert_close(a: &Tensor, b: &Tensor, tolerance: f64) {
        assert_eq!((a.size(), a.kind()), (b.size(), b.kind()));
        let difference = (a.to_kind(Kind::Double) - b.to_kind(Kind::Double))
            .abs()
            .max();
        assert!(difference.double_value(&[]) < tolerance, "{difference:?}");
    }

    #[test]
    fn packed_weights_give_the_same() {
        for (kind, tolerance) in [(Kind::Float, 1e-5), (Kind::BFloat16, 0.05)] {
            let weight = normal(&[320, 512], kind);
            if !worthwhile(&weight) {
                continue;
            }
            let x = normal(&[3, 5, 512], kind);
            let bias = normal(&[320], kind);
            let y = PackedLinear::new(&weight, Some(bias.shallow_clone())).unwrap();
            let plain = x.linear(&weight, Some(&bias));
            let packed = |f| y.forward(&x, f).unwrap();
            assert_close(&packed(Pointwise::None), &plain, tolerance);
            assert_close(&packed(Pointwise::Relu), &plain.relu(), tolerance);
            assert_close(&packed(Pointwise::Silu), &plain.silu(), tolerance);
            assert_close(&packed(Pointwise::Gelu), &plain.gelu("none"), tolerance);
            assert_close(&packed(Pointwise::GeluTanh), &plain.gelu("tanh"), tolerance);

            let weight = normal(&[128, 128, 3, 3], kind);
            let x = normal(&[2, 7, 9, 128], kind).permute([0, 3, 1, 2]);
            let bias = normal(&[128], kind);
            let y = PackedConv::new(&weight, bias.shallow_clone(), 2, 1, 1).unwrap();
            let plain = x.conv2d(&weight, Some(&bias), [2, 2], [1, 1], [1, 1], 1);
            let silu = plain.silu();
            // The second pass lays the weight out for this size, the third uses that.
            for _ in 0..3 {
                let packed = y.forward(&x, Pointwise::Silu).unwrap();
                assert_close(&packed, &silu, 10.0 * tolerance);
            }
            // Another size takes the weight as it lies.
            let first = y.forward(&x.narrow(0, 0, 1), Pointwise::Silu).unwrap();
            assert_close(&first, &silu.narrow(0, 0, 1), 10.0 * tolerance);
        }
    }

    #[test]
    fn wrong_widths_are_errors() {
        let weight = normal(&[320, 512], Kind::Float);
        if worthwhile(&weight) {
            let layer = PackedLinear::new(&weight, None).unwrap();
            let x = normal(&[2, 100], Kind::Float);
            assert!(layer.forward(&x, Pointwise::None).is_err());
        }
    }
}
