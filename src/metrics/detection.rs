//! COCO's twelve numbers for boxes and for masks (spec/coco.md §3, pycocotools' `summarize`).

use super::benchmark::COCO_2017;
use super::definition::{Better, Definition, Unit, declare};

declare! {
    BOX_AP {
        name: "box_ap",
        title: "box AP",
        unit: Unit::Percent,
        better: Some(Better::Higher),
        benchmark: Some(&COCO_2017),
    }
    BOX_AP50 { name: "box_ap50", title: "box AP50", unit: Unit::Percent, better: Some(Better::Higher) }
    BOX_AP75 { name: "box_ap75", title: "box AP75", unit: Unit::Percent, better: Some(Better::Higher) }
    BOX_AP_SMALL { name: "box_ap_small", title: "box APs", unit: Unit::Percent, better: Some(Better::Higher) }
    BOX_AP_MEDIUM { name: "box_ap_medium", title: "box APm", unit: Unit::Percent, better: Some(Better::Higher) }
    BOX_AP_LARGE { name: "box_ap_large", title: "box APl", unit: Unit::Percent, better: Some(Better::Higher) }
    /// Average recall with the fewest detections per image (1 by default).
    BOX_AR1 { name: "box_ar1", title: "box AR1", unit: Unit::Percent, better: Some(Better::Higher) }
    BOX_AR10 { name: "box_ar10", title: "box AR10", unit: Unit::Percent, better: Some(Better::Higher) }
    BOX_AR100 { name: "box_ar100", title: "box AR100", unit: Unit::Percent, better: Some(Better::Higher) }
    BOX_AR_SMALL { name: "box_ar_small", title: "box ARs", unit: Unit::Percent, better: Some(Better::Higher) }
    BOX_AR_MEDIUM { name: "box_ar_medium", title: "box ARm", unit: Unit::Percent, better: Some(Better::Higher) }
    BOX_AR_LARGE { name: "box_ar_large", title: "box ARl", unit: Unit::Percent, better: Some(Better::Higher) }
    MASK_AP {
        name: "mask_ap",
        title: "mask AP",
        unit: Unit::Percent,
        better: Some(Better::Higher),
        benchmark: Some(&COCO_2017),
    }
    MASK_AP50 { name: "mask_ap50", title: "mask AP50", unit: Unit::Percent, better: Some(Better::Higher) }
    MASK_AP75 { name: "mask_ap75", title: "mask AP75", unit: Unit::Percent, better: Some(Better::Higher) }
    MASK_AP_SMALL { name: "mask_ap_small", title: "mask APs", unit: Unit::Percent, better: Some(Better::Higher) }
    MASK_AP_MEDIUM { name: "mask_ap_medium", title: "mask APm", unit: Unit::Percent, better: Some(Better::Higher) }
    MASK_AP_LARGE { name: "mask_ap_large", title: "mask APl", unit: Unit::Percent, better: Some(Better::Higher) }
    MASK_AR1 { name: "mask_ar1", title: "mask AR1", unit: Unit::Percent, better: Some(Better::Higher) }
    MASK_AR10 { name: "mask_ar10", title: "mask AR10", unit: Unit::Percent, better: Some(Better::Higher) }
    MASK_AR100 { name: "mask_ar100", title: "mask AR100", unit: Unit::Percent, better: Some(Better::Higher) }
    MASK_AR_SMALL { name: "mask_ar_small", title: "mask ARs", unit: Unit::Percent, better: Some(Better::Higher) }
    MASK_AR_MEDIUM { name: "mask_ar_medium", title: "mask ARm", unit: Unit::Percent, better: Some(Better::Higher) }
    MASK_AR_LARGE { name: "mask_ar_large", title: "mask ARl", unit: Unit::Percent, better: Some(Better::Higher) }
}

/// The box numbers in pycocotools' order: AP, AP50, AP75, APs, APm, APl, then the recalls.
pub static BOXES: [&Definition; 12] = [
    &BOX_AP,
    &BOX_AP50,
    &BOX_AP75,
    &BOX_AP_SMALL,
    &BOX_AP_MEDIUM,
    &BOX_AP_LARGE,
    &BOX_AR1,
    &BOX_AR10,
    &BOX_AR100,
    &BOX_AR_SMALL,
    &BOX_AR_MEDIUM,
    &BOX_AR_LARGE,
];

/// The mask numbers in the same order.
pub static MASKS: [&Definition; 12] = [
    &MASK_AP,
    &MASK_AP50,
    &MASK_AP75,
    &MASK_AP_SMALL,
    &MASK_AP_MEDIUM,
    &MASK_AP_LARGE,
    &MASK_AR1,
    &MASK_AR10,
    &MASK_AR100,
    &MASK_AR_SMALL,
    &MASK_AR_MEDIUM,
    &MASK_AR_LARGE,
];

/// What a table for people shows of them.
pub static HEADLINE: &[&Definition] = &[
    &BOX_AP,
    &BOX_AP50,
    &BOX_AP75,
    &BOX_AP_SMALL,
    &BOX_AP_MEDIUM,
    &BOX_AP_LARGE,
    &MASK_AP,
    &MASK_AP50,
    &MASK_AP75,
];
