//! Bytes to floats: the one place where pixel values are scaled.

use super::image::RgbImage;
use super::transform::Placement;
use crate::Result;
use crate::runtime::device::upload;
use std::mem::MaybeUninit;
use tch::{Device, Kind, Tensor};

/// `x * (1/255)` in fp32, as upstream's transform computes it.
const SCALE: f32 = 1.0 / 255.0;

/// Images of one size as `[b,3,H,W]` fp32 in `[0,1]`, on the CPU.
pub fn to_float(images: &[RgbImage]) -> Tensor {
    let (height, width) = images.first().map_or((0, 0), |i| (i.height, i.width));
    let shape = [images.len() as i64, 3, height as i64, width as i64];
    let batch = Tensor::empty(shape, (Kind::Float, Device::Cpu));
    // SAFETY: a new tensor is contiguous, and nobody else has it; every value is written below
    // before it is read.
    let values = unsafe {
        std::slice::from_raw_parts_mut(batch.data_ptr().cast::<MaybeUninit<f32>>(), batch.numel())
    };
    let image_size = (3 * height * width).max(1);
    for (image, out) in images.iter().zip(values.chunks_exact_mut(image_size)) {
        planes(&image.data, out);
    }
    batch
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
    match device.is_cuda() {
        false => upload(staged, device),
        true => bytes_to_float(&upload(staged, device)?),
    }
}

/// Paints `colour` (red, green and blue in `[0,1]`) over what is no image in `pixels`
/// `[b,3,H,W]`, in place. Black is there already.
///
/// With the mean that a network subtracts as colour, padding is exactly zero after normalising:
/// for networks that pad after it (spec/coco.md §1.2).
pub fn fill_padding(pixels: &Tensor, placements: &[Placement], colour: [f64; 3]) -> Result<()> {
    if colour == [0.0; 3] {
        return Ok(());
    }
    for (image, placement) in (0..).zip(placements) {
        let (height, width) = placement.size;
        let shown = placement.shown;
        let (right, below) = (shown.x + shown.width, shown.y + shown.height);
        // (axis, first, length) of the strips beside the image.
        let strips = [
            (1, 0, shown.y),
            (1, below, height - below),
            (2, 0, shown.x),
            (2, right, width - right),
        ];
        let image = pixels.f_select(0, image)?;
        for (axis, first, length) in strips.into_iter().filter(|strip| strip.2 > 0) {
            let strip = image.f_narrow(axis, first as i64, length as i64)?;
            for (channel, value) in (0..).zip(colour) {
                let _ = strip.f_select(0, channel)?.f_fill_(value)?;
            }
        }
    }
    Ok(())
}

/// `[b,H,W,3]` bytes to `[b,3,H,W]` fp32 in `[0,1]`, on the tensor's device.
pub fn bytes_to_float(bytes: &Tensor) -> Result<Tensor> {
    let planes = bytes.f_permute([0, 3, 1, 2])?.f_to_kind(Kind::Float)?;
    Ok(planes.f_contiguous()?.f_mul_scalar(f64::from(SCALE))?)
}

/// Interleaved bytes to three planes of scaled floats.
fn planes(bytes: &[u8], out: &mut [MaybeUninit<f32>]) {
    assert_eq!(bytes.len(), out.len());
    #[cfg(target_arch = "x86_64")]
    if avx512::available() {
        // SAFETY: the processor has what it takes.
        return unsafe { avx512::planes(bytes, out) };
    }
    portable(bytes, out);
}

fn portable(bytes: &[u8], out: &mut [MaybeUninit<f32>]) {
    let plane = out.len() / 3;
    let (red, rest) = out.split_at_mut(plane);
    let (green, blue) = rest.split_at_mut(plane);
    for (((pixel, r), g), b) in bytes.chunks_exact(3).zip(red).zip(green).zip(blue) {
        r.write(f32::from(pixel[0]) * SCALE);
        g.write(f32::from(pixel[1]) * SCALE);
        b.write(f32::from(pixel[2]) * SCALE);
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::{MaybeUninit, SCALE};
    use std::arch::x86_64::*;

    /// Pixels, of three bytes, that become a register of floats per channel.
    const STEP: usize = 16;

    pub fn available() -> bool {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vbmi")
    }

    /// As [`super::portable`].
    ///
    /// # Safety
    /// The processor has AVX-512 F, BW and VBMI.
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    pub unsafe fn planes(bytes: &[u8], out: &mut [MaybeUninit<f32>]) {
        let plane = out.len() / 3;
        let scale = _mm512_set1_ps(SCALE);
        for at in (0..plane).step_by(STEP) {
            let count = STEP.min(plane - at);
            let pixels = &bytes[at * 3..(at + count) * 3];
            // SAFETY: the mask leaves out what is behind `pixels`.
            let pixels = unsafe {
                let mask = u64::MAX >> (64 - pixels.len());
                _mm512_maskz_loadu_epi8(mask, pixels.as_ptr().cast())
            };
            for (channel, order) in ORDERS.iter().enumerate() {
                // SAFETY: `order` is 64 bytes long.
                let order = unsafe { _mm512_loadu_si512(order.as_ptr().cast()) };
                let lanes = _mm512_maskz_permutexvar_epi8(LOW_BYTES, order, pixels);
                let values = _mm512_mul_ps(_mm512_cvtepi32_ps(lanes), scale);
                let target = &mut out[channel * plane + at..channel * plane + at + count];
                // SAFETY: the mask leaves out what is behind `target`.
                unsafe {
                    let mask = u16::MAX >> (STEP - count);
                    _mm512_mask_storeu_ps(target.as_mut_ptr().cast(), mask, values);
                }
            }
        }
    }

    /// The low byte of each 32-bit lane.
    const LOW_BYTES: u64 = 0x1111_1111_1111_1111;

    /// By channel: where each lane's low byte comes from.
    static ORDERS: [[u8; 64]; 3] = {
        let mut orders = [[0; 64]; 3];
        let mut at = 0;
        while at < 3 * STEP {
            orders[at % 3][at / 3 * 4] = at as u8;
            at += 1;
        }
        orders
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_and_size_gives_the_portable_floats() {
        for pixels in [1, 15, 16, 17, 256] {
            let image = RgbImage {
                width: pixels,
                height: 1,
                data: (0..pixels * 3).map(|i| (i * 7) as u8).collect(),
            };
            let values = Vec::<f32>::try_from(to_float(std::slice::from_ref(&image)).view(-1))
                .expect("floats");
            let expected = |at: usize| {
                let (channel, pixel) = (at / pixels, at % pixels);
                f32::from(image.data[pixel * 3 + channel]) * SCALE
            };
            assert!((0..pixels * 3).all(|at| values[at] == expected(at)));
        }
    }
}
