//! RoIAlign and non-maximum suppression on any device: natively on the CPU, by tensor operators
//! elsewhere.

use super::boxes;
use crate::Result;
use crate::runtime::device::upload;
use crate::runtime::shim::{self, RoiAlign};
use tch::{Device, Kind, Tensor};

/// Boxes up to which suppression compares all pairs at once: `[4096, 4096]` fp32 are 64 MiB.
const ALL_PAIRS: i64 = 4_096;

/// `map` `[B,C,H,W]` fp32, `rois` `[K,5]` (image, x0, y0, x1, y1) -> `[K,C,h,w]`, differentiable in
/// `map`.
pub fn roi_align(map: &Tensor, rois: &Tensor, settings: &RoiAlign) -> Result<Tensor> {
    match map.device() {
        Device::Cpu => shim::roi_align_on_cpu(map, rois, settings),
        device => by_bags(map, rois, settings, device),
    }
}

/// The same by an embedding bag: every bin is a weighted sum of rows of the map `[B*H*W, C]`.
fn by_bags(map: &Tensor, rois: &Tensor, settings: &RoiAlign, device: Device) -> Result<Tensor> {
    let (_, channels, height, width) = map.size4()?;
    let regions = rois.size()[0];
    let (rows, columns) = settings.size;
    if regions == 0 {
        let empty = Tensor::f_zeros([0, channels, rows, columns], (map.kind(), device))?;
        // Still a function of the map, whose gradient is zero.
        return Ok(empty + map.f_sum(map.kind())? * 0.0);
    }
    let host = rois.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?;
    let mut values = vec![0f32; host.numel()];
    let length = values.len();
    host.f_contiguous()?.f_copy_data(&mut values, length)?;
    let mut bags = Bags::default();
    for roi in values.chunks_exact(5) {
        bags.add(roi, (height, width), settings);
    }
    let on_device = |t: Tensor| upload(t, device);
    let table = map.f_permute([0, 2, 3, 1])?.f_reshape([-1, channels])?;
    let (pooled, ..) = Tensor::f_embedding_bag(
        &table,
        &on_device(Tensor::from_slice(&bags.rows))?,
        &on_device(Tensor::from_slice(&bags.starts))?,
        false,
        0,
        false,
        Some(&on_device(Tensor::from_slice(&bags.weights))?),
        false,
    )?;
    let pooled = pooled.f_view([regions, rows, columns, channels])?;
    Ok(pooled.f_permute([0, 3, 1, 2])?)
}

/// Which rows make up the bins, with which weights.
#[derive(Default)]
struct Bags {
    rows: Vec<i64>,
    weights: Vec<f32>,
    /// Where each bin begins in `rows`.
    starts: Vec<i64>,
}

impl Bags {
    fn add(&mut self, roi: &[f32], (height, width): (i64, i64), settings: &RoiAlign) {
        let offset = if settings.aligned { 0.5 } else { 0.0 };
        let corner = |i: usize| roi[i] * settings.scale as f32 - offset;
        let (x0, y0) = (corner(1), corner(2));
        let (mut w, mut h) = (corner(3) - x0, corner(4) - y0);
        if !settings.aligned {
            (w, h) = (w.max(1.0), h.max(1.0));
        }
        let y = Axis::new(y0, h, settings.size.0, settings.ratio, height);
        let x = Axis::new(x0, w, settings.size.1, settings.ratio, width);
        let count = (y.samples * x.samples).max(1) as f32;
        let first = roi[0] as i64 * height * width;
        for row_taps in y.bins() {
            for column_taps in x.bins() {
                self.starts.push(self.rows.len() as i64);
                for (row, y_weight) in row_taps {
                    for (column, x_weight) in column_taps {
                        self.rows.push(first + row * width + column);
                        self.weights.push(y_weight * x_weight / count);
                    }
                }
            }
        }
    }
}

/// The places that a region is sampled at along one axis, and their weights, bin by bin.
struct Axis {
    samples: i64,
    taps: Vec<(i64, f32)>,
    bins: usize,
}

impl Axis {
    fn new(start: f32, extent: f32, bins: i64, ratio: i64, length: i64) -> Self {
        let bin = extent / bins as f32;
        let samples = match ratio > 0 {
            true => ratio,
            false => (bin.ceil() as i64).max(0),
        };
        let mut taps = Vec::new();
        for b in 0..bins {
            for i in 0..samples {
                let inside = (i as f32 + 0.5) * bin / samples as f32;
                taps.extend(neighbours(start + b as f32 * bin + inside, length));
            }
        }
        Axis {
            samples,
            taps,
            bins: bins as usize,
        }
    }

    /// Two taps per sample.
    fn bins(&self) -> impl Iterator<Item = &[(i64, f32)]> {
        let per_bin = 2 * self.samples as usize;
        (0..self.bins).map(move |b| &self.taps[b * per_bin..(b + 1) * per_bin])
    }
}

fn neighbours(at: f32, length: i64) -> [(i64, f32); 2] {
    if at < -1.0 || at > length as f32 {
        return [(0, 0.0); 2];
    }
    let at = at.max(0.0);
    let low = at as i64;
    if low >= length - 1 {
        return [(length - 1, 1.0), (length - 1, 0.0)];
    }
    let fraction = at - low as f32;
    [(low, 1.0 - fraction), (low + 1, fraction)]
}

/// Indices of the boxes that stay, best first, as [`shim::nms_on_cpu`] gives them.
pub fn nms(
    boxes: &Tensor,
    scores: &Tensor,
    labels: Option<&Tensor>,
    threshold: f64,
) -> Result<Tensor> {
    if boxes.device() == Device::Cpu {
        return shim::nms_on_cpu(boxes, scores, labels, threshold);
    }
    let (_, order) = scores.f_sort_stable(true, 0, true)?;
    let ranked = boxes.f_index_select(0, &order)?;
    let labels = labels.map(|l| l.f_index_select(0, &order)).transpose()?;
    let count = ranked.size()[0];
    let kept = match &labels {
        Some(labels) if count > ALL_PAIRS => {
            let mut kept = Vec::new();
            let (each, ..) = labels.f_internal_unique2(true, false, false)?;
            for label in Vec::<i64>::try_from(each)? {
                let own = labels.f_eq(label)?.f_nonzero()?.f_flatten(0, -1)?;
                let keep = greedy(&ranked.f_index_select(0, &own)?, None, threshold)?;
                kept.push(own.f_index_select(0, &keep)?);
            }
            Tensor::f_cat(&kept, 0)?.f_sort(0, false)?.0
        }
        labels => greedy(&ranked, labels.as_ref(), threshold)?,
    };
    Ok(order.f_index_select(0, &kept)?)
}

/// Ranks (ascending) that greedy suppression keeps of boxes in order of score. A box stays where no
/// better box that stays overlaps it: repeated from "all stay" until nothing changes, which the
/// first k boxes do not any more after k rounds.
fn greedy(ranked: &Tensor, labels: Option<&Tensor>, threshold: f64) -> Result<Tensor> {
    let count = ranked.size()[0];
    let mut over = boxes::iou(ranked, ranked).f_gt(threshold)?;
    if let Some(labels) = labels {
        let same = labels
            .f_unsqueeze(0)?
            .f_eq_tensor(&labels.f_unsqueeze(1)?)?;
        over = over.f_logical_and(&same)?;
    }
    let over = over.f_triu(1)?;
    let mut keep = Tensor::f_ones([count], (Kind::Bool, ranked.device()))?;
    for _ in 0..=count {
        let suppressed = over
            .f_logical_and(&keep.f_unsqueeze(1)?)?
            .f_any_dim(0, false)?;
        let next = suppressed.f_logical_not()?;
        if next.f_equal(&keep)? {
            break;
        }
        keep = next;
    }
    Ok(keep.f_nonzero()?.f_flatten(0, -1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random_boxes(count: i64, side: f64) -> Tensor {
        let corner = Tensor::rand([count, 2], (Kind::Float, Device::Cpu)) * side;
        let size = Tensor::rand([count, 2], (Kind::Float, Device::Cpu)) * (side / 3.0);
        Tensor::cat(&[&corner, &(&corner + size)], 1)
    }

    #[test]
    fn tensor_code_keeps_the_boxes_that_native_code_keeps() {
        let boxes = random_boxes(300, 50.0);
        let scores = (Tensor::rand([300], (Kind::Float, Device::Cpu)) * 20.0).round() / 20.0;
        let labels = Tensor::randint(4, [300], (Kind::Int64, Device::Cpu));
        for labels in [None, Some(&labels)] {
            let native = shim::nms_on_cpu(&boxes, &scores, labels, 0.5).unwrap();
            let (_, order) = scores.sort_stable(true, 0, true);
            let ranked = boxes.index_select(0, &order);
            let labels = labels.map(|l| l.index_select(0, &order));
            let kept = greedy(&ranked, labels.as_ref(), 0.5).unwrap();
            assert!(order.index_select(0, &kept).equal(&native));
        }
    }

    #[test]
    fn bags_pool_as_native_code_does() {
        let map = Tensor::rand([2, 24, 13, 17], (Kind::Float, Device::Cpu));
        let image = Tensor::randint(2, [9, 1], (Kind::Int64, Device::Cpu)).to_kind(Kind::Float);
        let rois = Tensor::cat(&[image, random_boxes(9, 40.0) - 6.0], 1);
        for (ratio, aligned) in [(2, false), (0, true), (-1, false), (1, true)] {
            let settings = RoiAlign {
                size: (3, 4),
                scale: 0.5,
                ratio,
                aligned,
            };
            let pool = |native: bool| {
                let map = map.detach().copy().set_requires_grad(true);
                let pooled = match native {
                    true => shim::roi_align_on_cpu(&map, &rois, &settings).unwrap(),
                    false => by_bags(&map, &rois, &settings, Device::Cpu).unwrap(),
                };
                (pooled.sin() * 3.0).sum(Kind::Float).backward();
                (pooled.detach(), map.grad())
            };
            let (native, bags) = (pool(true), pool(false));
            assert!(
                native.0.allclose(&bags.0, 1e-5, 1e-6, false),
                "{settings:?}"
            );
            assert!(
                native.1.allclose(&bags.1, 1e-5, 1e-6, false),
                "{settings:?}"
            );
        }
    }
}
