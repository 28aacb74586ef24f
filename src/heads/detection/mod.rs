//! Detectors on the map of a frozen backbone (spec/coco.md §4): ViTDet's simple feature pyramid with
//! Faster R-CNN or Mask R-CNN behind it, by torchvision's rules (0.28) and under its names.
//!
//! Boxes are (x0, y0, x1, y1) in pixels of the network's input, labels count from 1: 0 is
//! background.

pub mod anchors;
pub mod box_head;
pub mod boxes;
pub mod detector;
mod layers;
pub mod mask_head;
pub mod matching;
pub mod parameters;
pub mod paste;
pub mod pooling;
pub mod pyramid;
pub mod regions;
pub mod rpn;

pub use detector::{Detections, Detector, Losses};
pub use matching::{Sampler, Sampling, Stage};
pub use rpn::RpnOptions;

use serde::{Deserialize, Serialize};
use tch::Tensor;

/// Which heads stand behind the pyramid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeadKind {
    /// Mask R-CNN as ViTDet has it: convolutions with norms before box and mask.
    MaskVitdet,
    /// Mask R-CNN (He et al. 2017) as torchvision has it.
    MaskRcnn,
    /// Faster R-CNN: no masks.
    FasterRcnn,
}

impl HeadKind {
    pub fn has_masks(self) -> bool {
        self != HeadKind::FasterRcnn
    }
}

/// Sizes and thresholds of a detector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DetectorOptions {
    pub kind: HeadKind,
    /// Channels of the backbone's map.
    pub input: i64,
    /// A trainable norm of that map before everything else.
    pub input_norm: bool,
    /// Background included.
    pub classes: i64,
    /// Of the pyramid and of convolutions behind it.
    pub channels: i64,
    /// Width of the box head's layers.
    pub hidden: i64,
    /// Whether masks are found too.
    pub masks: bool,
    /// Convolutions of the mask head.
    pub mask_depth: usize,
    /// Channels of the enlarged map in it.
    pub mask_hidden: i64,
    pub rpn: RpnOptions,
    /// Of proposals, for the box head.
    pub sampling: Sampling,
    /// Detections below go.
    pub score_threshold: f64,
    /// Most detections per image.
    pub detections: i64,
}

impl DetectorOptions {
    /// torchvision's and ViTDet's numbers for a map of `input` channels and `objects` classes.
    pub fn new(kind: HeadKind, input: i64, objects: i64) -> Self {
        DetectorOptions {
            kind,
            input,
            input_norm: true,
            classes: objects + 1,
            channels: 256,
            hidden: 1024,
            masks: kind.has_masks(),
            mask_depth: 4,
            mask_hidden: 256,
            rpn: RpnOptions {
                depth: match kind {
                    HeadKind::MaskVitdet => 2,
                    _ => 1,
                },
                anchor_sizes: vec![32.0, 64.0, 128.0, 256.0, 512.0],
                candidates: (2000, 1000),
                proposals: (2000, 1000),
                sampling: Sampling {
                    batch: 256,
                    positive: 0.5,
                },
            },
            sampling: Sampling {
                batch: 512,
                positive: 0.25,
            },
            score_threshold: 0.05,
            detections: 100,
        }
    }
}

/// The network's inputs of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    /// (height, width) of all of them.
    pub padded: (i64, i64),
    /// (height, width) of what each shows, without padding at the right and the bottom.
    pub sizes: Vec<(i64, i64)>,
}

/// What is to be found in an image.
#[derive(Debug)]
pub struct Target {
    /// `[G,4]` fp32
    pub boxes: Tensor,
    /// int64 `[G]`, from 1
    pub labels: Tensor,
    /// uint8 `[G,H,W]`, where masks are trained
    pub masks: Option<Tensor>,
}
