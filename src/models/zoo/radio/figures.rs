//! Published figures of the RADIO students (spec/published.md §1.1, 1.2, 1.9, 1.10).
//!
//! Where upstream gives two figures for one checkpoint, the conditions tell them apart, or both
//! stand with their sources.

use crate::metrics::benchmark::VOC_2012;
use crate::models::zoo::published::{
    C_RADIO_V4, Published, TABLE_1, knn, miou, paper_miou, sam_iou, speed, zero_shot,
    zero_shot_top5,
};

const README_2024: &str = "NVlabs/RADIO README at 490daf2 (2024-03-20)";
const README_2025: &str = "NVlabs/RADIO README at 4ab96ce (2025-08-05)";
const EXAMPLES: &str = "NVlabs/RADIO examples/README.md";
const REPORT: &str = "NVlabs/RADIO RADIOv2.5_tech_report.md";

/// The README's 82.73 for radio_v1 was another checkpoint's; these are the released one's.
pub const RADIO_V1: &[Published] = &[
    zero_shot(82.654, EXAMPLES, "clip")
        .at(378)
        .square()
        .stated(),
    zero_shot_top5(97.282, EXAMPLES, "clip")
        .at(378)
        .square()
        .stated(),
    zero_shot(82.928, EXAMPLES, "clip")
        .at(378)
        .shortest_side()
        .stated(),
    zero_shot_top5(97.364, EXAMPLES, "clip")
        .at(378)
        .shortest_side()
        .stated(),
    knn(85.29, README_2024),
    miou(50.32, README_2024),
    miou(85.17, README_2024).on(&VOC_2012),
];

pub const RADIO_V2: &[Published] = &[
    zero_shot(82.71, README_2024, "clip").shortest_side(),
    knn(85.92, README_2024),
    miou(51.33, README_2024),
    sam_iou(76.21, README_2024),
];

/// The paper's row `RADIO-ViT-H/16`; the README gives another figure for SAM (§1.10).
pub const RADIO_V2_1: &[Published] = &[
    zero_shot(82.93, TABLE_1, "clip").at(432).shortest_side(),
    report(78.892, "clip", 224),
    report(80.780, "clip", 256),
    report(82.320, "clip", 336),
    report(82.800, "clip", 432),
    report(82.882, "clip", 512),
    report(1.292, "clip", 768),
    report(0.204, "clip", 1024),
    report(82.370, "clip", 512).windowed(16),
    report(0.192, "clip", 1024).windowed(16),
    knn(86.06, TABLE_1).at(432),
    paper_miou(51.34, TABLE_1, 512),
    paper_miou(84.71, TABLE_1, 512).on(&VOC_2012),
    sam_iou(76.23, TABLE_1),
    sam_iou(76.58, README_2024),
    speed(158.0, TABLE_1, 432),
];

pub const RADIO_V2_5_B: &[Published] = &[
    readme(74.57).at(768),
    report(62.344, "clip", 224),
    report(68.892, "clip", 256),
    report(72.626, "clip", 336),
    report(73.628, "clip", 432),
    report(73.894, "clip", 512),
    report(74.386, "clip", 768),
    report(74.280, "clip", 1024),
    report(70.488, "clip", 512).windowed(16),
    report(72.182, "clip", 1024).windowed(16),
    report(58.670, "siglip", 224),
    report(65.190, "siglip", 256),
    report(69.110, "siglip", 336),
    report(70.276, "siglip", 432),
    report(70.694, "siglip", 512),
    report(71.102, "siglip", 768),
    report(70.900, "siglip", 1024),
    knn(81.89, README_2025),
    miou(48.94, README_2025),
    miou(84.35, README_2025).on(&VOC_2012),
    sam_iou(73.87, README_2025),
];

pub const RADIO_V2_5_L: &[Published] = &[
    readme(81.01).at(1024),
    report(74.852, "clip", 224),
    report(78.220, "clip", 256),
    report(80.004, "clip", 336),
    report(80.460, "clip", 432),
    report(80.542, "clip", 512),
    report(80.804, "clip", 768),
    report(80.886, "clip", 1024),
    report(78.102, "clip", 512).windowed(16),
    report(79.878, "clip", 1024).windowed(16),
    report(72.492, "siglip", 224),
    report(75.962, "siglip", 256),
    report(77.830, "siglip", 336),
    report(78.582, "siglip", 432),
    report(78.828, "siglip", 512),
    report(78.930, "siglip", 768),
    report(78.922, "siglip", 1024),
    knn(84.68, README_2025),
    miou(51.47, README_2025),
    miou(85.49, README_2025).on(&VOC_2012),
    sam_iou(75.06, README_2025),
];

pub const RADIO_V2_5_H: &[Published] = &[
    readme(82.51).at(1024),
    report(79.158, "clip", 224),
    report(80.156, "clip", 256),
    report(81.426, "clip", 336),
    report(81.944, "clip", 432),
    report(82.162, "clip", 512),
    report(82.088, "clip", 768),
    report(82.304, "clip", 1024),
    report(80.058, "clip", 512).windowed(16),
    report(81.834, "clip", 1024).windowed(16),
    report(76.796, "siglip", 224),
    report(77.984, "siglip", 256),
    report(79.400, "siglip", 336),
    report(79.990, "siglip", 432),
    report(80.258, "siglip", 512),
    report(80.172, "siglip", 768),
    report(80.476, "siglip", 1024),
    knn(85.81, README_2025),
    miou(51.58, README_2025),
    miou(85.97, README_2025).on(&VOC_2012),
    sam_iou(76.14, README_2025),
];

/// The README of August 2025 holds two pairs of segmentation figures (§1.10).
pub const RADIO_V2_5_G: &[Published] = &[
    readme(83.33).at(1024),
    knn(85.34, README_2025),
    miou(51.94, README_2025),
    miou(54.56, README_2025),
    miou(85.50, README_2025).on(&VOC_2012),
    miou(87.37, README_2025).on(&VOC_2012),
    sam_iou(76.17, README_2025),
];

pub const C_RADIO_H: &[Published] = &[
    readme(82.24).at(1024),
    knn(85.27, README_2025),
    miou(52.55, README_2025),
    miou(85.88, README_2025).on(&VOC_2012),
    sam_iou(74.82, README_2025),
];

pub const C_RADIO_V3_B: &[Published] = &c_radio_v3(71.30, 81.22, 49.79, 84.68, 74.95);
pub const C_RADIO_V3_L: &[Published] = &c_radio_v3(79.95, 84.33, 51.87, 86.12, 75.82);
pub const C_RADIO_V3_H: &[Published] = &c_radio_v3(82.65, 86.23, 52.75, 86.41, 76.56);
pub const C_RADIO_V3_G: &[Published] = &c_radio_v3(83.54, 86.59, 52.68, 85.97, 76.36);

pub const C_RADIO_V4_SO400M: &[Published] = &[
    zero_shot(82.01, C_RADIO_V4, "siglip2-g"),
    knn(85.76, C_RADIO_V4).of_unknown_shape(),
    miou(55.14, C_RADIO_V4).at(512),
    miou(87.22, C_RADIO_V4).on(&VOC_2012),
];

pub const C_RADIO_V4_H: &[Published] = &[
    zero_shot(83.09, C_RADIO_V4, "siglip2-g"),
    knn(86.59, C_RADIO_V4).of_unknown_shape(),
    miou(55.20, C_RADIO_V4).at(512),
    miou(57.02, C_RADIO_V4).at(1024),
    miou(57.72, C_RADIO_V4).at(1536),
    miou(87.24, C_RADIO_V4).on(&VOC_2012),
];

/// A zero-shot figure of the README's tables.
const fn readme(value: f64) -> Published {
    zero_shot(value, README_2025, "clip").shortest_side()
}

/// A zero-shot figure of the tech report, which names the resolution and not the shape.
const fn report(value: f64, adaptor: &'static str, side: i64) -> Published {
    zero_shot(value, REPORT, adaptor).at(side).square()
}

/// C-RADIOv3's rows say neither size nor shape.
const fn c_radio_v3(top1: f64, knn_top1: f64, ade20k: f64, voc: f64, sam: f64) -> [Published; 5] {
    [
        zero_shot(top1, README_2025, "clip"),
        knn(knn_top1, README_2025).of_unknown_shape(),
        miou(ade20k, README_2025),
        miou(voc, README_2025).on(&VOC_2012),
        sam_iou(sam, README_2025),
    ]
}
