//! Anchors of the proposal network (spec/coco.md §4.3).

use tch::{Device, Kind, Tensor};

/// Height over width of the anchors of every level.
pub const RATIOS: [f64; 3] = [0.5, 1.0, 2.0];

/// Anchors around the origin, `[ratios * sizes, 4]`: whole numbers, halves rounded to even; ratios
/// outside, sizes inside.
pub fn cell_anchors(sizes: &[f64], ratios: &[f64]) -> Tensor {
    let mut anchors = Vec::new();
    for &ratio in ratios {
        let height_ratio = (ratio as f32).sqrt();
        let width_ratio = 1.0 / height_ratio;
        for &size in sizes {
            let (w, h) = (width_ratio * size as f32, height_ratio * size as f32);
            let corners = [-w, -h, w, h].map(|v| (v / 2.0).round_ties_even());
            anchors.extend(corners);
        }
    }
    Tensor::from_slice(&anchors).view([-1, 4])
}

/// The anchors of a level of (rows, columns) places, `[rows * columns * anchors, 4]`: rows outside,
/// anchors of a place inside. The stride is `padded / grid` in whole pixels, as in torchvision.
pub fn of_level(
    size: f64,
    (rows, columns): (i64, i64),
    padded: (i64, i64),
    device: Device,
) -> Tensor {
    let stride = (padded.0 / rows, padded.1 / columns);
    let steps = |n: i64, stride: i64| {
        (Tensor::arange(n, (Kind::Int64, device)) * stride).to_kind(Kind::Float)
    };
    let y = steps(rows, stride.0)
        .view([-1, 1])
        .expand([rows, columns], false);
    let x = steps(columns, stride.1)
        .view([1, -1])
        .expand([rows, columns], false);
    let shifts = Tensor::stack(&[&x, &y, &x, &y], 2).view([-1, 1, 4]);
    let cells = cell_anchors(&[size], &RATIOS).to_device(device);
    (shifts + cells.view([1, -1, 4])).view([-1, 4])
}
