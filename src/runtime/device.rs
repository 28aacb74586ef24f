//! Device, precision and thread settings of a run.

use super::rank::Rank;
use super::shim;
use crate::{Error, Result};
use serde_json::{Value, json};
use std::str::FromStr;
use tch::{Device, Kind, Tensor};

/// Arithmetic precision of the network. Weights are converted once, at load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    #[default]
    Fp32,
    Bf16,
    Fp16,
}

impl Precision {
    /// The precision of a floating kind.
    pub fn from_kind(kind: Kind) -> Self {
        match kind {
            Kind::BFloat16 => Precision::Bf16,
            Kind::Half => Precision::Fp16,
            _ => Precision::Fp32,
        }
    }

    pub fn kind(self) -> Kind {
        match self {
            Precision::Fp32 => Kind::Float,
            Precision::Bf16 => Kind::BFloat16,
            Precision::Fp16 => Kind::Half,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Precision::Fp32 => "fp32",
            Precision::Bf16 => "bf16",
            Precision::Fp16 => "fp16",
        }
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_lowercase().as_str() {
            "fp32" | "float32" | "f32" => Ok(Precision::Fp32),
            "bf16" | "bfloat16" => Ok(Precision::Bf16),
            "fp16" | "float16" | "f16" | "half" => Ok(Precision::Fp16),
            _ => Err(Error::usage(format!(
                "`{text}` is not a precision; use fp32, bf16 or fp16"
            ))),
        }
    }
}

/// `tensor` (on the CPU) on `device`. CUDA copies it out of pinned memory behind the kernels that
/// are under way, so that the host does not wait.
pub fn upload(tensor: Tensor, device: Device) -> Result<Tensor> {
    match device {
        Device::Cpu => Ok(tensor),
        Device::Cuda(_) => {
            let kind = tensor.kind();
            let pinned = tensor.f_pin_memory(device)?;
            Ok(pinned.f_to_device_(device, kind, true, false)?)
        }
        other => Ok(tensor.f_to_device(other)?),
    }
}

/// Reads `auto`, `cpu`, `cuda` or `cuda:N`. `auto` is CUDA when there is a device, else the CPU.
pub fn parse_device(text: &str) -> Result<Device> {
    if text != "cpu" {
        load_cuda();
    }
    let cuda = |index: usize| {
        let count = tch::Cuda::device_count();
        if (index as i64) < count {
            Ok(Device::Cuda(index))
        } else if count == 0 {
            Err(Error::usage(format!(
                "--device {text}: libtorch sees no CUDA device; use --device cpu, or build with \
                 `--features cuda` against the CUDA wheel set (`make build TORCH=cuda`)"
            )))
        } else {
            Err(Error::usage(format!(
                "--device {text}: this machine has {count} CUDA device(s), numbered from 0"
            )))
        }
    };
    match text {
        "auto" => Ok(Device::cuda_if_available()),
        "cpu" => Ok(Device::Cpu),
        "cuda" => cuda(0),
        _ => match text.strip_prefix("cuda:").map(str::parse) {
            Some(Ok(index)) => cuda(index),
            _ => Err(Error::usage(format!(
                "`{text}` is not a device; use auto, cpu, cuda or cuda:N"
            ))),
        },
    }
}

/// Loads libtorch's CUDA half where this binary was linked without it (the `cuda` feature), but the
/// libtorch it runs on has it, as the torch of a wheel does. It registers its kernels itself, and
/// stays. Without NVIDIA's driver nothing is loaded: that takes a second, for nothing.
fn load_cuda() {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        if cfg!(feature = "cuda") {
            return;
        }
        // SAFETY: both libraries are made to be loaded into a process at any time, and no symbol
        // of theirs is used here.
        let (driver, cuda) = unsafe {
            let driver = Library::new("libcuda.so.1");
            let cuda = driver
                .is_ok()
                .then(|| Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL));
            (driver, cuda)
        };
        match cuda {
            Some(Ok(cuda)) => {
                // Never unloaded: libtorch keeps pointers into it.
                std::mem::forget((driver, cuda));
            }
            Some(Err(error)) => {
                tracing::debug!(
                    "there is an NVIDIA driver, but libtorch's CUDA half does not load: {error}"
                );
            }
            None => {}
        }
    });
}

/// Makes `device` the one that this process computes on. On CUDA fp32 is fp32 unless `tf32`, and
/// the same work gives the same bits. Its context is opened now: pinned memory, which belongs to a
/// context, would open one on device 0 where there is none yet.
///
/// # Errors
/// A device that cannot be used (occupied exclusively, or of an architecture without kernels);
/// `tf32` without CUDA, where it would change nothing.
pub fn open(device: Device, tf32: bool) -> Result<Device> {
    if device.is_cuda() {
        shim::set_arithmetic(tf32)?;
        let _ = Tensor::f_zeros([1], (Kind::Float, device))?;
    } else if tf32 {
        return Err(Error::usage(
            "--tf32 is about CUDA, and this run computes on the CPU; leave it out",
        ));
    }
    Ok(device)
}

/// Threads of a kind that a process starts unless it is told: its share of the cores.
pub fn default_threads(rank: Rank) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    rank.cores(cores)
}

/// The settings every task shares.
#[derive(Debug, Clone, Copy)]
pub struct Runtime {
    pub device: Device,
    pub precision: Precision,
    /// Worker threads for decoding and resizing.
    pub workers: usize,
    pub seed: u64,
    /// Whether fp32 matrix products and convolutions on CUDA may use TF32.
    pub tf32: bool,
    /// Which process of the run this is.
    pub rank: Rank,
}

impl Runtime {
    /// The same in the precision that a network runs in, which its file may decide.
    pub fn running_in(self, precision: Precision) -> Self {
        Runtime { precision, ..self }
    }

    pub fn cpu() -> Self {
        Runtime {
            device: Device::Cpu,
            precision: Precision::Fp32,
            workers: default_threads(Rank::SINGLE),
            seed: 0,
            rank: Rank::SINGLE,
            tf32: false,
        }
    }

    /// What beside device and precision decides the values on CUDA, for records and cache keys;
    /// `Null` on the CPU.
    pub fn arithmetic(&self) -> Value {
        match self.device.is_cuda() {
            false => Value::Null,
            true => json!({
                "tf32": self.tf32,
                // As shim::set_arithmetic leaves it.
                "reduced_precision_reduction": self.precision != Precision::Fp32,
                "deterministic_convolutions": true,
            }),
        }
    }
}
