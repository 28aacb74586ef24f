//! Masks of instances against annotated ones (spec/coco.md §2.1).

use super::benchmark::COCO_2017;
use super::definition::{Better, Definition, Unit, declare};

/// Side of the square whose area a small object has at most, and of the one that a large one has
/// at least (COCO's 32² and 96²).
const SMALL: f64 = 32.0 * 32.0;
const LARGE: f64 = 96.0 * 96.0;

/// Added to the union, against division by nothing (EfficientViT's harness).
const EPSILON: f64 = 1e-7;

declare! {
    /// Mean IoU of SAM's decoder on the student's features, prompted by annotated boxes; every
    /// instance weighs the same, crowds included.
    SAM_IOU {
        name: "sam_iou",
        title: "SAM IoU",
        unit: Unit::Percent,
        better: Some(Better::Higher),
        benchmark: Some(&COCO_2017),
    }
    /// Of areas of 96² pixels at least.
    SAM_IOU_LARGE {
        name: "sam_iou_large",
        title: "SAM IoU large",
        unit: Unit::Percent,
        better: Some(Better::Higher),
    }
    /// Of areas of 32² to 96² pixels, both included.
    SAM_IOU_MEDIUM {
        name: "sam_iou_medium",
        title: "SAM IoU medium",
        unit: Unit::Percent,
        better: Some(Better::Higher),
    }
    /// Of areas of 32² pixels at most.
    SAM_IOU_SMALL {
        name: "sam_iou_small",
        title: "SAM IoU small",
        unit: Unit::Percent,
        better: Some(Better::Higher),
    }
    /// Without crowds.
    SAM_IOU_NO_CROWD {
        name: "sam_iou_no_crowd",
        title: "SAM IoU no crowd",
        unit: Unit::Percent,
        better: Some(Better::Higher),
    }
    /// As [`SAM_IOU`], prompted by clicks.
    SAM_POINT_IOU {
        name: "sam_point_iou",
        title: "SAM point IoU",
        unit: Unit::Percent,
        better: Some(Better::Higher),
    }
    /// As [`SAM_IOU_LARGE`], prompted by clicks.
    SAM_POINT_IOU_LARGE {
        name: "sam_point_iou_large",
        title: "SAM point IoU large",
        unit: Unit::Percent,
        better: Some(Better::Higher),
    }
    /// As [`SAM_IOU_MEDIUM`], prompted by clicks.
    SAM_POINT_IOU_MEDIUM {
        name: "sam_point_iou_medium",
        title: "SAM point IoU medium",
        unit: Unit::Percent,
        better: Some(Better::Higher),
    }
    /// As [`SAM_IOU_SMALL`], prompted by clicks.
    SAM_POINT_IOU_SMALL {
        name: "sam_point_iou_small",
        title: "SAM point IoU small",
        unit: Unit::Percent,
        better: Some(Better::Higher),
    }
    /// As [`SAM_IOU_NO_CROWD`], prompted by clicks.
    SAM_POINT_IOU_NO_CROWD {
        name: "sam_point_iou_no_crowd",
        title: "SAM point IoU no crowd",
        unit: Unit::Percent,
        better: Some(Better::Higher),
    }
    /// COCO's mask AP of SAM's masks for a detector's boxes, with the detector's scores.
    SAM_MASK_AP {
        name: "sam_mask_ap",
        title: "SAM mask AP",
        unit: Unit::Percent,
        better: Some(Better::Higher),
    }
    SAM_MASK_AP50 {
        name: "sam_mask_ap50",
        title: "SAM mask AP50",
        unit: Unit::Percent,
        better: Some(Better::Higher),
    }
    SAM_MASK_AP75 {
        name: "sam_mask_ap75",
        title: "SAM mask AP75",
        unit: Unit::Percent,
        better: Some(Better::Higher),
    }
    SAM_MASK_AP_SMALL {
        name: "sam_mask_ap_small",
        title: "SAM mask APs",
        unit: Unit::Percent,
        better: Some(Better::Higher),
    }
    SAM_MASK_AP_MEDIUM {
        name: "sam_mask_ap_medium",
        title: "SAM mask APm",
        unit: Unit::Percent,
        better: Some(Better::Higher),
    }
    SAM_MASK_AP_LARGE {
        name: "sam_mask_ap_large",
        title: "SAM mask APl",
        unit: Unit::Percent,
        better: Some(Better::Higher),
    }
}

/// In the order of pycocotools' first six numbers.
pub static AP: [&Definition; 6] = [
    &SAM_MASK_AP,
    &SAM_MASK_AP50,
    &SAM_MASK_AP75,
    &SAM_MASK_AP_SMALL,
    &SAM_MASK_AP_MEDIUM,
    &SAM_MASK_AP_LARGE,
];

/// Which instances a mean is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bucket {
    All,
    Large,
    Medium,
    Small,
    NoCrowd,
}

impl Bucket {
    pub const EVERY: [Bucket; 5] = [
        Bucket::All,
        Bucket::Large,
        Bucket::Medium,
        Bucket::Small,
        Bucket::NoCrowd,
    ];

    /// Whether an instance of the stated `area` is in it. Both ends of a range belong to it: an
    /// area of 1024 is small and medium.
    pub fn holds(self, area: f64, crowd: bool) -> bool {
        match self {
            Bucket::All => true,
            Bucket::Large => area >= LARGE,
            Bucket::Medium => (SMALL..=LARGE).contains(&area),
            Bucket::Small => area <= SMALL,
            Bucket::NoCrowd => !crowd,
        }
    }

    /// The metric of this bucket under prompts of boxes.
    pub fn of_boxes(self) -> &'static Definition {
        match self {
            Bucket::All => &SAM_IOU,
            Bucket::Large => &SAM_IOU_LARGE,
            Bucket::Medium => &SAM_IOU_MEDIUM,
            Bucket::Small => &SAM_IOU_SMALL,
            Bucket::NoCrowd => &SAM_IOU_NO_CROWD,
        }
    }

    /// The metric of this bucket under prompts of clicks.
    pub fn of_points(self) -> &'static Definition {
        match self {
            Bucket::All => &SAM_POINT_IOU,
            Bucket::Large => &SAM_POINT_IOU_LARGE,
            Bucket::Medium => &SAM_POINT_IOU_MEDIUM,
            Bucket::Small => &SAM_POINT_IOU_SMALL,
            Bucket::NoCrowd => &SAM_POINT_IOU_NO_CROWD,
        }
    }
}

/// IoU of two masks in percent, from counts of pixels; 0 where both are empty.
pub fn iou(intersection: u64, union: u64) -> f64 {
    intersection as f64 / (union as f64 + EPSILON) * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_bucket_belong_to_it() {
        let buckets = |area: f64| -> Vec<Bucket> {
            let sizes = [Bucket::Large, Bucket::Medium, Bucket::Small];
            sizes.into_iter().filter(|b| b.holds(area, false)).collect()
        };
        assert_eq!(buckets(1023.5), [Bucket::Small]);
        assert_eq!(buckets(1024.0), [Bucket::Medium, Bucket::Small]);
        assert_eq!(buckets(9216.0), [Bucket::Large, Bucket::Medium]);
        assert_eq!(buckets(9216.5), [Bucket::Large]);
        assert!(!Bucket::NoCrowd.holds(5.0, true) && Bucket::All.holds(5.0, true));
    }

    #[test]
    fn nothing_against_nothing_is_zero() {
        assert_eq!(iou(0, 0), 0.0);
        assert!((iou(1, 3) - 100.0 / 3.0).abs() < 1e-5);
    }
}
