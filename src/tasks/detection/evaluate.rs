//! The val split through backbone and detector, into detections and their average precision.

use super::ap::{self, Evaluation, IouKind, Settings, input};
use super::batches;
use super::frozen::FrozenMap;
use crate::data::Source;
use crate::data::annotation::{InstanceShape, RunLengths};
use crate::data::coco::{CocoSet, mask};
use crate::data::geometry::BoundingBox;
use crate::data::transform::Placement;
use crate::heads::detection::mask_head::MASK_SIDE;
use crate::heads::detection::paste::{Pasted, paste};
use crate::heads::detection::{Detections, Detector, Images};
use crate::runtime::{Runtime, progress};
use crate::{Error, Result};
use hotcoco::types::{Annotation, Segmentation};
use hotcoco::{COCO, Category, Dataset};
use std::sync::Arc;
use tch::{Kind, Tensor};

/// Probability from which on a pixel belongs to the object.
const INSIDE: f32 = 0.5;

/// One detected object, in pixels of the image as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    /// Position of the image in the set.
    pub image: usize,
    /// The category's id.
    pub category: u32,
    pub bounds: BoundingBox,
    pub score: f64,
    pub mask: Option<RunLengths>,
}

/// What the detector finds in every image of `set`, image by image, best first.
pub fn detect(
    frozen: &FrozenMap,
    detector: &Detector,
    set: &Arc<CocoSet>,
    batch: usize,
    runtime: &Runtime,
    show: bool,
) -> Result<Vec<Detection>> {
    let frame = frozen.frame();
    let bar = progress::bar(show, "evaluation", "images", set.len() as u64, 0);
    let mut all = Vec::new();
    for batch in batches::testing(set, batch, frame, runtime) {
        let batch = batch?;
        let map = frozen.map(&batch.pixels)?;
        let side = frozen.resolution;
        let size = |placement: &Placement| {
            let length = |n: usize| ((n as f64 * frame.enlarged()).round() as i64).min(side);
            (length(placement.resized.0), length(placement.resized.1))
        };
        let images = Images {
            padded: (side, side),
            sizes: batch.placements.iter().map(size).collect(),
        };
        let found = detector.detect(&map, &images)?;
        let each = batch.indices.iter().zip(&batch.placements).zip(found);
        for ((&image, placement), found) in each {
            let place = Place {
                set,
                image,
                placement,
                enlarged: frame.enlarged(),
            };
            all.extend(place.detections(&found)?);
        }
        bar.inc(batch.indices.len() as u64);
    }
    bar.finish_and_clear();
    Ok(all)
}

/// From the detector's input back into an image.
struct Place<'a> {
    set: &'a CocoSet,
    image: usize,
    placement: &'a Placement,
    enlarged: f64,
}

impl Place<'_> {
    fn detections(&self, found: &Detections) -> Result<Vec<Detection>> {
        let floats = |tensor: &Tensor| -> Result<Vec<f32>> {
            let flat = tensor.f_to_kind(Kind::Float)?.f_flatten(0, -1)?;
            Ok(Vec::<f32>::try_from(flat)?)
        };
        let (boxes, scores) = (floats(&found.boxes)?, floats(&found.scores)?);
        let labels = Vec::<i64>::try_from(&found.labels)?;
        let masks = found.masks.as_ref().map(floats).transpose()?;
        let pixels = (MASK_SIDE * MASK_SIDE) as usize;
        let (height, width) = self.placement.original;
        let mut all = Vec::with_capacity(scores.len());
        for (i, (corners, &score)) in boxes.chunks_exact(4).zip(&scores).enumerate() {
            let corner = |i: usize| f64::from(corners[i]) / self.enlarged;
            let seen = BoundingBox::from_corners([corner(0), corner(1)], [corner(2), corner(3)]);
            let bounds = self.placement.box_in_image(&seen).clipped(width, height);
            let category = usize::try_from(labels[i] - 1).ok();
            let category = category.and_then(|at| self.set.categories.get(at));
            let category = category.ok_or_else(|| {
                Error::model(format!("the detector gave the class {}", labels[i]))
            })?;
            let mask = masks.as_ref().map(|values| {
                let mask = &values[i * pixels..(i + 1) * pixels];
                let corners = [bounds.x0, bounds.y0, bounds.x1, bounds.y1].map(|v| v as f32);
                let part = paste(mask, MASK_SIDE as usize, corners, (height, width));
                runs(&part, height, width)
            });
            all.push(Detection {
                image: self.image,
                category: category.id,
                bounds,
                score: f64::from(score),
                mask,
            });
        }
        Ok(all)
    }
}

/// The pixels of a pasted mask that belong to the object, as run lengths of the whole image.
fn runs(part: &Pasted, height: usize, width: usize) -> RunLengths {
    let mut counts = Vec::new();
    // Ends of the last run that was closed, and whether the open one is inside.
    let (mut begun, mut inside) = (0, false);
    let mut switch = |at: usize, begun: &mut usize| {
        counts.push((at - *begun) as u32);
        *begun = at;
    };
    for x in 0..part.width {
        let first = (part.x + x) * height + part.y;
        for y in 0..part.height {
            let is_in = part.values[y * part.width + x] > INSIDE;
            if is_in != inside {
                switch(first + y, &mut begun);
                inside = is_in;
            }
        }
        // The rest of the column is outside of the box.
        if inside && part.y + part.height < height {
            switch(first + part.height, &mut begun);
            inside = false;
        }
        // Likewise the start of the next one.
        if inside && part.y > 0 {
            switch(first + part.height, &mut begun);
            inside = false;
        }
    }
    let pixels = height * width;
    if inside {
        let end = (part.x + part.width) * height;
        switch(end.min(pixels), &mut begun);
    }
    if begun < pixels {
        counts.push((pixels - begun) as u32);
    }
    RunLengths {
        height: height as u32,
        width: width as u32,
        counts,
    }
}

/// A set's annotations as hotcoco wants them.
pub fn truth(set: &CocoSet) -> Result<COCO> {
    let mut dataset = Dataset {
        categories: (set.categories.iter())
            .map(|category| Category {
                id: category.id.into(),
                name: category.name.clone(),
                ..Category::default()
            })
            .collect(),
        ..Dataset::default()
    };
    for index in 0..set.len() {
        let id = set.image_id(index);
        let (height, width) = set.stated_size(index).unwrap_or((0, 0));
        dataset.images.push(hotcoco::Image {
            id,
            height: height as u32,
            width: width as u32,
            file_name: set.key(index).to_string(),
            ..hotcoco::Image::default()
        });
        for object in set.instances(index) {
            let bounds = object.bounds;
            dataset.annotations.push(Annotation {
                id: object.id,
                image_id: id,
                category_id: object.category.into(),
                bbox: Some([bounds.x0, bounds.y0, bounds.width(), bounds.height()]),
                area: Some(object.area),
                iscrowd: object.crowd,
                segmentation: object.shape.as_ref().map(segmentation),
                ..Annotation::default()
            });
        }
    }
    input::check_truth(&dataset).map_err(|reason| Error::file(&set.annotations_path, reason))?;
    Ok(COCO::from_dataset(dataset))
}

fn segmentation(shape: &InstanceShape) -> Segmentation {
    match shape {
        InstanceShape::Polygons(polygons) => {
            Segmentation::Polygon(polygons.iter().map(|corners| corners.concat()).collect())
        }
        InstanceShape::Runs(runs) => Segmentation::UncompressedRle {
            size: [runs.height, runs.width],
            counts: runs.counts.clone(),
        },
    }
}

/// A detection as COCO's results have it.
pub fn result(set: &CocoSet, detection: &Detection, kind: IouKind) -> Annotation {
    let bounds = detection.bounds;
    let compressed = |runs: &RunLengths| Segmentation::CompressedRle {
        size: [runs.height, runs.width],
        counts: mask::compressed(runs),
    };
    // By masks without boxes, as detectron2 does: areas are then those of the masks.
    let (bbox, segmentation) = match kind {
        IouKind::Bbox => (
            Some([bounds.x0, bounds.y0, bounds.width(), bounds.height()]),
            None,
        ),
        IouKind::Segm => (None, detection.mask.as_ref().map(compressed)),
    };
    Annotation {
        image_id: set.image_id(detection.image),
        category_id: detection.category.into(),
        bbox,
        segmentation,
        score: Some(detection.score),
        ..Annotation::default()
    }
}

/// By boxes, and by masks where both sides have them. `None` where nothing was detected.
pub fn average_precision(
    truth: &Arc<COCO>,
    set: &CocoSet,
    detections: &[Detection],
    settings: &Settings,
) -> Result<Option<Vec<Evaluation>>> {
    if detections.is_empty() {
        return Ok(None);
    }
    let has_masks = truth
        .dataset
        .annotations
        .iter()
        .all(|a| a.segmentation.is_some())
        && detections.iter().all(|d| d.mask.is_some());
    let kinds: &[IouKind] = match has_masks {
        true => &[IouKind::Bbox, IouKind::Segm],
        false => &[IouKind::Bbox],
    };
    let evaluate = |&kind: &IouKind| {
        let results = detections.iter().map(|d| result(set, d, kind)).collect();
        let loaded = input::results_in_memory(truth, results).map_err(Error::model)?;
        ap::evaluation::evaluate(truth, &Arc::new(loaded), kind, settings).map_err(Error::model)
    };
    kinds.iter().map(evaluate).collect::<Result<_>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the mask of one byte per pixel, for boxes in every corner.
    #[test]
    fn runs_are_those_of_the_whole_image() {
        let (height, width) = (5, 6);
        let mut checked = 0;
        for (x, y, w, h) in [
            (0, 0, 6, 5),
            (2, 1, 3, 2),
            (0, 0, 2, 2),
            (3, 2, 3, 3),
            (1, 0, 4, 5),
        ] {
            for pattern in 0u32..64 {
                let values: Vec<f32> = (0..w * h)
                    .map(|i| {
                        if pattern >> (i * 5 % 6) & 1 == 1 {
                            0.9
                        } else {
                            0.1
                        }
                    })
                    .collect();
                let part = Pasted {
                    x,
                    y,
                    width: w,
                    height: h,
                    values: values.clone(),
                };
                let mut rows = vec![0u8; height * width];
                for (i, value) in values.iter().enumerate() {
                    rows[(y + i / w) * width + x + i % w] = u8::from(*value > INSIDE);
                }
                let expected = mask::from_raster(&rows, height, width).unwrap();
                assert_eq!(runs(&part, height, width), expected, "{part:?}");
                checked += 1;
            }
        }
        assert_eq!(checked, 320);
    }
}
