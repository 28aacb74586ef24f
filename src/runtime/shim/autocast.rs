//! Passes in bf16 or fp16 over weights that stay fp32 (tch switches autocast for CUDA only).

use super::{check, re_autocast_enter, re_autocast_exit};
use crate::{Error, Result};
use std::ffi::c_int;
use std::marker::PhantomData;
use tch::{Device, Kind};

/// While it lives, matrix products, convolutions and attention of this thread on one type of
/// device run in fewer bits; the sums they are added to, norms and losses stay fp32. It ends
/// where it is dropped, on a failure too.
pub struct Autocast {
    cuda: c_int,
    was_enabled: c_int,
    was_dtype: c_int,
    /// The setting belongs to the thread.
    not_send: PhantomData<*const ()>,
}

impl Autocast {
    /// `kind`: bf16 or fp16. fp16 needs its gradients scaled, or small ones vanish.
    pub fn new(device: Device, kind: Kind) -> Result<Self> {
        // c10::ScalarType's numbers.
        let dtype = match kind {
            Kind::Half => 5,
            Kind::BFloat16 => 15,
            _ => {
                return Err(Error::usage(format!(
                    "autocast is to bf16 or fp16, not to {kind:?}; leave it out for fp32"
                )));
            }
        };
        let cuda = c_int::from(device.is_cuda());
        let (mut was_enabled, mut was_dtype) = (0, 0);
        // SAFETY: plain out-parameters.
        check(unsafe { re_autocast_enter(cuda, dtype, &mut was_enabled, &mut was_dtype) })?;
        Ok(Autocast {
            cuda,
            was_enabled,
            was_dtype,
            not_send: PhantomData,
        })
    }
}

impl Drop for Autocast {
    fn drop(&mut self) {
        // SAFETY: no pointers.
        let status = unsafe { re_autocast_exit(self.cuda, self.was_enabled, self.was_dtype) };
        if let Err(error) = check(status) {
            tracing::warn!("autocast could not be ended: {error}");
        }
    }
}
