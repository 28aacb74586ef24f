//! Enlarging a map of logits: bilinear, `align_corners=False`, without antialias.

use tch::{Device, Kind, Tensor};

/// Elements of one band of enlarged logits (64 MiB in fp32).
const BAND: i64 = 1 << 24;

/// `[B,C,h,w]` -> `[B,C,height,width]` (`F.interpolate(mode="bilinear", align_corners=False)`).
pub fn bilinear(x: &Tensor, height: i64, width: i64) -> Tensor {
    x.upsample_bilinear2d([height, width], false, None, None)
}

/// The class of the largest logit at every pixel of the enlarged map, the first on ties:
/// `[C,h,w]` -> uint8 `[height,width]`. Bands of rows bound the memory: the enlarged map of a
/// 3000 x 2000 image and 150 classes would take 3.6 GB.
pub fn argmax(logits: &Tensor, height: i64, width: i64) -> Tensor {
    let (classes, rows, _) = logits.size3().unwrap_or_default();
    let device = logits.device();
    // Columns first: [C, h, width].
    let wide = bilinear(&logits.unsqueeze(0), rows, width).squeeze_dim(0);
    let (upper, lower, weight) = taps_on(device, rows, height);
    let band = (BAND / (classes * width).max(1)).clamp(1, height);
    let bands: Vec<Tensor> = (0..height)
        .step_by(band as usize)
        .map(|start| {
            let len = band.min(height - start);
            let take = |t: &Tensor| t.narrow(0, start, len);
            let top = wide.index_select(1, &take(&upper));
            let bottom = wide.index_select(1, &take(&lower));
            let weight = take(&weight).view([1, len, 1]);
            let enlarged = top.lerp_tensor(&bottom, &weight);
            enlarged.argmax(0, false).to_kind(Kind::Uint8)
        })
        .collect();
    Tensor::cat(&bands, 0)
}

/// [`taps`] as tensors made on the device, so that nothing is copied from the host: both inputs
/// int64, the weight of the second fp32.
fn taps_on(device: Device, input: i64, output: i64) -> (Tensor, Tensor, Tensor) {
    let scale = f64::from(input as f32 / output as f32);
    let at = ((Tensor::arange(output, (Kind::Float, device)) + 0.5) * scale - 0.5).clamp_min(0.0);
    let upper = at.floor().clamp_max((input - 1) as f64);
    let weight = (&at - &upper).clamp(0.0, 1.0);
    let upper = upper.to_kind(Kind::Int64);
    let lower = (&upper + 1).clamp_max(input - 1);
    (upper, lower, weight)
}

/// The same as a matrix [output, input]: bilinear enlargement is one product from either side, and
/// its gradient the products with the transposes.
pub fn matrix(input: i64, output: i64, device: Device) -> Tensor {
    let (upper, lower, weight) = taps_on(device, input, output);
    let place = Tensor::arange(input, (Kind::Int64, device)).unsqueeze(0);
    let weight = weight.unsqueeze(1);
    let at = |rows: &Tensor| place.eq_tensor(&rows.unsqueeze(1)).to_kind(Kind::Float);
    at(&upper) * (1.0 - &weight) + at(&lower) * weight
}

/// Where one output reads along a side: two inputs, and the weight of the second.
#[derive(Debug, Clone, Copy)]
pub struct Tap {
    pub first: usize,
    pub second: usize,
    pub weight: f32,
}

/// The taps of a side, as libtorch computes them for `align_corners=False`
/// (`area_pixel_compute_source_index` in fp32).
pub fn taps(input: usize, output: usize) -> Vec<Tap> {
    let scale = input as f32 / output as f32;
    (0..output)
        .map(|o| {
            let at = (scale * (o as f32 + 0.5) - 0.5).max(0.0);
            let first = (at as usize).min(input - 1);
            Tap {
                first,
                second: (first + 1).min(input - 1),
                weight: (at - first as f32).clamp(0.0, 1.0),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_give_what_the_whole_map_gives() {
        tch::manual_seed(7);
        for (h, w, height, width) in [(9, 9, 64, 80), (5, 7, 5, 7), (16, 12, 9, 40)] {
            let logits = Tensor::randn([3, h, w], (Kind::Float, Device::Cpu));
            let whole = bilinear(&logits.unsqueeze(0), height, width)
                .squeeze_dim(0)
                .argmax(0, false)
                .to_kind(Kind::Uint8);
            let banded = argmax(&logits, height, width);
            let differ = banded.ne_tensor(&whole).sum(Kind::Int64).int64_value(&[]);
            assert_eq!(differ, 0, "{h}x{w} to {height}x{width}");
        }
    }

    #[test]
    fn the_matrix_enlarges_as_libtorch_does() {
        for (from, to) in [(9, 64), (5, 5), (12, 9), (1, 7)] {
            let x = Tensor::randn([1, 1, from, 1], (Kind::Float, Device::Cpu));
            let expected = bilinear(&x, to, 1).view([to, 1]);
            let product = matrix(from, to, Device::Cpu).matmul(&x.view([from, 1]));
            assert!(
                product.allclose(&expected, 1e-6, 1e-6, false),
                "{from} to {to}"
            );
        }
    }

    #[test]
    fn wide_maps_are_cut_into_bands() {
        // 255 classes x 8192 columns: more than one band of rows.
        let logits = Tensor::randn([255, 2, 2], (Kind::Float, Device::Cpu));
        let classes = argmax(&logits, 20, 8192);
        assert_eq!(classes.size(), [20, 8192]);
        let corner = logits.select(1, 1).select(1, 1).argmax(0, false);
        assert_eq!(classes.int64_value(&[19, 8191]), corner.int64_value(&[]));
    }
}
