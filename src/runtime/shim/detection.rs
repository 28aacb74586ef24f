//! RoIAlign and non-maximum suppression on the CPU, with torchvision's rules (0.28).

use super::packed::{owned, pointer};
use super::{check, re_nms, re_roi_align};
use crate::Result;
use std::ffi::c_int;
use std::ptr::null_mut;
use tch::Tensor;

/// How regions are pooled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RoiAlign {
    /// (height, width) of the output
    pub size: (i64, i64),
    /// Pixels of the map per pixel of the boxes.
    pub scale: f64,
    /// Samples per bin and axis; 0 or less for as many as the bin has pixels, rounded up.
    pub ratio: i64,
    /// Half-pixel centres (detectron2's `aligned`), and no least size of regions.
    pub aligned: bool,
}

/// `map` `[B,C,H,W]`, `rois` `[K,5]` (image, x0, y0, x1, y1), both fp32 on the CPU -> `[K,C,h,w]`,
/// with gradients to `map`. Sums are the same whatever the number of threads.
pub fn roi_align_on_cpu(map: &Tensor, rois: &Tensor, settings: &RoiAlign) -> Result<Tensor> {
    let mut out = null_mut();
    // SAFETY: the tensors are alive; `out` receives a tensor that we own.
    check(unsafe {
        re_roi_align(
            pointer(Some(map)),
            pointer(Some(rois)),
            settings.size.0,
            settings.size.1,
            settings.scale,
            settings.ratio,
            c_int::from(settings.aligned),
            &mut out,
        )
    })?;
    Ok(unsafe { owned(out) })
}

/// Indices of the boxes that stay, best first; of equal scores the earlier box goes first. `boxes`
/// `[N,4]` (x0, y0, x1, y1), `scores` `[N]` fp32, `labels` `[N]` int64: boxes of different labels
/// do not suppress each other. A box goes where its IoU with a better one is above `threshold`.
pub fn nms_on_cpu(
    boxes: &Tensor,
    scores: &Tensor,
    labels: Option<&Tensor>,
    threshold: f64,
) -> Result<Tensor> {
    let mut keep = null_mut();
    // SAFETY: the tensors are alive; `keep` receives a tensor that we own.
    check(unsafe {
        re_nms(
            pointer(Some(boxes)),
            pointer(Some(scores)),
            pointer(labels),
            threshold,
            &mut keep,
        )
    })?;
    Ok(unsafe { owned(keep) })
}
