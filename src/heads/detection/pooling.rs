//! RoIAlign out of the level of the pyramid that fits a box (Lin et al. 2017, equation 1).

use super::boxes;
use super::regions::roi_align;
use crate::Result;
use crate::runtime::shim::RoiAlign;
use tch::{Kind, Tensor};

/// Levels that boxes are pooled from: p2 to p5.
const LEVELS: std::ops::RangeInclusive<i64> = 2..=5;
/// A box of this side is pooled from p4.
const CANONICAL_SIDE: f64 = 224.0;
const CANONICAL_LEVEL: f64 = 4.0;
/// Samples per bin and axis (torchvision's `sampling_ratio`).
const RATIO: i64 = 2;

/// The level of each box `[N,4]`: int64 `[N]`, 2 to 5.
pub fn levels(all: &Tensor) -> Tensor {
    let octaves = (boxes::areas(all).sqrt() / CANONICAL_SIDE).log2();
    (octaves + CANONICAL_LEVEL + 1e-6)
        .floor()
        .clamp(*LEVELS.start() as f64, *LEVELS.end() as f64)
        .to_kind(Kind::Int64)
}

/// Boxes per image as regions `[K,5]`.
pub fn regions(per_image: &[Tensor]) -> Tensor {
    let numbered = per_image.iter().enumerate().map(|(image, boxes)| {
        let index = Tensor::full(
            [boxes.size()[0], 1],
            image as f64,
            (Kind::Float, boxes.device()),
        );
        Tensor::cat(&[&index, boxes], 1)
    });
    Tensor::cat(&numbered.collect::<Vec<_>>(), 0)
}

/// Features of the boxes `[K,5]`, `[K,C,side,side]`, in their order. `pyramid`: p2 first.
pub fn pool(pyramid: &[Tensor], rois: &Tensor, side: i64) -> Result<Tensor> {
    let level_of = levels(&rois.narrow(1, 1, 4));
    let (mut pooled, mut places) = (Vec::new(), Vec::new());
    for (level, map) in LEVELS.zip(pyramid) {
        let own = level_of.eq(level).nonzero().flatten(0, -1);
        if own.size()[0] == 0 {
            continue;
        }
        let settings = RoiAlign {
            size: (side, side),
            scale: 1.0 / f64::from(1u32 << level),
            ratio: RATIO,
            aligned: false,
        };
        let map = map.to_kind(Kind::Float);
        pooled.push(roi_align(&map, &rois.index_select(0, &own), &settings)?);
        places.push(own);
    }
    if pooled.is_empty() {
        let channels = pyramid[0].size()[1];
        return Ok(Tensor::zeros(
            [0, channels, side, side],
            (Kind::Float, rois.device()),
        ));
    }
    // Back into the boxes' order.
    let (_, order) = Tensor::cat(&places, 0).sort(0, false);
    Ok(Tensor::cat(&pooled, 0).index_select(0, &order))
}
