//! Bytes to floats: the one place where pixel values are scaled.

use super::image::RgbImage;
use crate::Result;
use crate::runtime::device::upload;
use tch::{Device, Kind, Tensor};

/// `x * (1/255)` in fp32, as upstream's transform computes it.
const SCALE: f32 = 1.0 / 255.0;

/// Images of one size as `[b,3,H,W]` fp32 in `[0,1]`, on the CPU.
pub fn to_float(images: &[RgbImage]) -> Tensor {
    let Some(first) = images.first() else {
        return Tensor::empty([0, 3, 0, 0], (Kind::Float, Device::Cpu));
    };
    let plane = first.width * first.height;
    let mut values = vec![0f32; images.len() * 3 * plane];
    for (image, out) in images.iter().zip(values.chunks_exact_mut(3 * plane)) {
        planes(&image.data, out);
    }
    let shape = [
        images.len() as i64,
        3,
        first.height as i64,
        first.width as i64,
    ];
    Tensor::from_slice(&values).view(shape)
}

/// Images of one size, ready to go to `device`: fp32 as [`to_float`] for the CPU; for CUDA bytes
/// `[b,H,W,3]` in pinned memory, a quarter of what the bus would carry in floats.
pub fn stage(images: &[RgbImage], device: Device) -> Result<Tensor> {
    let Some(first) = images.first().filter(|_| device.is_cuda()) else {
        return Ok(to_float(images));
    };
    let shape = [
        images.len() as i64,
        first.height as i64,
        first.width as i64,
        3,
    ];
    let bytes: Vec<u8> = images.iter().flat_map(|i| &i.data).copied().collect();
    let bytes = Tensor::f_from_slice(&bytes)?.f_view(shape)?;
    Ok(bytes.f_to_kind(Kind::Uint8)?.f_pin_memory(device)?)
}

/// What [`stage`] gave, as `[b,3,H,W]` fp32 in `[0,1]` on `device`.
pub fn place(staged: Tensor, device: Device) -> Result<Tensor> {
    if !device.is_cuda() {
        return Ok(staged);
    }
    bytes_to_float(&upload(staged, device)?)
}

/// `[b,H,W,3]` bytes to `[b,3,H,W]` fp32 in `[0,1]`, on the tensor's device.
pub fn bytes_to_float(bytes: &Tensor) -> Result<Tensor> {
    let planes = bytes.f_permute([0, 3, 1, 2])?.f_to_kind(Kind::Float)?;
    Ok(planes.f_contiguous()?.f_mul_scalar(f64::from(SCALE))?)
}

/// Interleaved bytes to three planes of scaled floats.
fn planes(bytes: &[u8], out: &mut [f32]) {
    let plane = out.len() / 3;
    let (red, rest) = out.split_at_mut(plane);
    let (green, blue) = rest.split_at_mut(plane);
    for (((pixel, r), g), b) in bytes.chunks_exact(3).zip(red).zip(green).zip(blue) {
        *r = f32::from(pixel[0]) * SCALE;
        *g = f32::from(pixel[1]) * SCALE;
        *b = f32::from(pixel[2]) * SCALE;
    }
}
