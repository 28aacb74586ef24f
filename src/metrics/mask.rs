//! Masks of instances against annotated ones.

use super::benchmark::COCO_2017;
use super::definition::{Better, Unit, declare};

declare! {
    /// Mean IoU of SAM's decoder on the student's features, prompted by annotated boxes.
    SAM_IOU {
        name: "sam_iou",
        title: "SAM IoU",
        unit: Unit::Percent,
        better: Some(Better::Higher),
        benchmark: Some(&COCO_2017),
    }
}
