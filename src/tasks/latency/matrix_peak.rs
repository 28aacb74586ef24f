//! The matrix rate that libtorch reaches on this machine: the yardstick of `matrix_peak_share`.

use super::clock;
use crate::Result;
use crate::runtime::guard;
use tch::{Device, Kind, Tensor};

/// Best FLOP/s over square and transformer-shaped products (x Wᵀ), the best of several passes
/// each: a lower bound of what the machine can do, measured in the same run as the networks.
pub fn measure(device: Device, kind: Kind) -> Result<f64> {
    /// (rows, in, out): square, and the MLP of ViT-L and ViT-H at about a thousand tokens.
    const SHAPES: [(i64, i64, i64); 3] =
        [(2048, 2048, 2048), (1024, 1024, 4096), (1032, 1280, 5120)];
    const PASSES: usize = 6;
    // A device does these in microseconds; it needs larger ones to be full.
    let scale = if device.is_cuda() { 8 } else { 1 };
    let mut best = 0.0f64;
    for (rows, input, output) in SHAPES {
        let rows = rows * scale;
        guard(|| {
            let x = Tensor::randn([rows, input], (kind, device));
            let weight = Tensor::randn([output, input], (kind, device));
            let flops = 2.0 * (rows * input * output) as f64;
            for _ in 0..PASSES {
                let ms = clock::time(device, || {
                    let _ = x.f_linear(&weight, None::<Tensor>)?;
                    Ok(())
                })?;
                best = best.max(flops / (ms * 1e-3));
            }
            Ok(())
        })?;
    }
    Ok(best)
}
