//! Which operators ran, how often, how long, and how many floating-point operations they did.

use super::{check, re_observe_start, re_observe_stop};
use crate::Result;
use std::ffi::{CStr, c_char, c_void};

/// All calls of one operator during an observation.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct OperatorRow {
    /// ATen name, e.g. `aten::addmm`.
    pub name: String,
    pub calls: i64,
    /// Time inside the operator, operators it called not counted (host time; on CUDA this is
    /// launch time).
    pub self_seconds: f64,
    /// Floating-point operations, multiply and add counted separately (rules of
    /// `torch.utils.flop_counter`: matrix products, convolutions and attention).
    pub flops: f64,
}

impl OperatorRow {
    /// Whether it is one of the kernels of `scaled_dot_product_attention`, which PyTorch's counter
    /// leaves out on the CPU.
    pub fn is_fused_attention(&self) -> bool {
        self.name.contains("scaled_dot_product")
    }
}

/// Runs `work` and reports the operators it executed on this thread, slowest first.
pub fn observe<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Vec<OperatorRow>)> {
    // SAFETY: no pointers.
    check(unsafe { re_observe_start() })?;
    let value = work();
    let mut rows: Vec<OperatorRow> = Vec::new();
    // SAFETY: `push` is called during this call only, with the pointer to `rows`.
    check(unsafe { re_observe_stop(push, (&raw mut rows).cast()) })?;
    rows.sort_by(|a, b| b.self_seconds.total_cmp(&a.self_seconds));
    Ok((value?, rows))
}

unsafe extern "C" fn push(
    user: *mut c_void,
    name: *const c_char,
    calls: i64,
    self_seconds: f64,
    flops: f64,
) {
    // SAFETY: `observe` passes its vector; the name is a C string that lives during the call.
    let (rows, name) = unsafe { (&mut *user.cast::<Vec<OperatorRow>>(), CStr::from_ptr(name)) };
    rows.push(OperatorRow {
        name: name.to_string_lossy().into_owned(),
        calls,
        self_seconds,
        flops,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind, Tensor};

    fn flops(work: impl FnOnce()) -> f64 {
        let observed = observe(|| {
            work();
            Ok(())
        });
        let (_, rows) = observed.expect("the work succeeds");
        rows.iter().map(|r| r.flops).sum()
    }

    fn zeros(shape: &[i64]) -> Tensor {
        Tensor::zeros(shape, (Kind::Float, Device::Cpu))
    }

    #[test]
    fn counts_matrix_products_convolutions_and_attention() {
        let linear = flops(|| {
            let _ = zeros(&[2, 5, 8]).linear(&zeros(&[16, 8]), Some(&zeros(&[16])));
        });
        assert_eq!(linear, 2.0 * 10.0 * 8.0 * 16.0);
        let conv = flops(|| {
            let (x, w) = (zeros(&[1, 4, 9, 9]), zeros(&[8, 2, 3, 3]));
            let _ = x.conv2d(&w, None::<Tensor>, [2, 2], [1, 1], [1, 1], 2);
        });
        assert_eq!(conv, 2.0 * 25.0 * 8.0 * 2.0 * 9.0);
        let attention = flops(|| {
            let q = zeros(&[1, 2, 6, 4]);
            let _ = Tensor::scaled_dot_product_attention(
                &q,
                &q,
                &q,
                None::<Tensor>,
                0.0,
                false,
                None,
                false,
            );
        });
        assert_eq!(attention, 2.0 * 2.0 * 2.0 * 36.0 * 4.0);
    }
}
