//! TorchScript programs made ready to run.

use super::{check, re_program_prepare};
use crate::{Error, Result};
use std::ffi::{CString, c_char, c_void};
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// A saved program in evaluation mode, its floating-point tensors in one precision.
pub struct Program {
    /// As `torch.jit.save` writes it; read by `CModule::load_data_on_device`.
    pub bytes: Vec<u8>,
    pub parameters: i64,
}

/// Reads the program at `path` and casts its floating-point tensors to `kind`.
///
/// # Errors
/// libtorch's message where the file is no program.
pub fn prepare_program(path: &Path, kind: Kind) -> Result<Program> {
    let name = CString::new(path.as_os_str().as_encoded_bytes())
        .map_err(|_| Error::file(path, "the path holds a zero byte"))?;
    let like = Tensor::f_empty([0], (kind, Device::Cpu))?;
    let mut bytes: Vec<u8> = Vec::new();
    let mut parameters = 0;
    // SAFETY: all pointers are alive; `push` is called during this call only, with that of `bytes`.
    check(unsafe {
        re_program_prepare(
            name.as_ptr(),
            like.as_ptr().cast(),
            push,
            (&raw mut bytes).cast(),
            &mut parameters,
        )
    })?;
    Ok(Program { bytes, parameters })
}

unsafe extern "C" fn push(user: *mut c_void, data: *const c_char, length: usize) {
    // SAFETY: `prepare_program` passes its vector; `data` has `length` bytes during the call.
    unsafe {
        let bytes = &mut *user.cast::<Vec<u8>>();
        bytes.extend_from_slice(std::slice::from_raw_parts(data.cast(), length));
    }
}
