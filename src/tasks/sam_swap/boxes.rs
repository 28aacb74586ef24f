//! A detector's boxes as prompts: SAM's masks for them, scored as mask AP (EfficientViT's
//! `box_from_detector`, spec/coco.md §2.1).

use super::judge::Judge;
use super::outcomes::Images;
use crate::data::annotation::RunLengths;
use crate::data::coco::{CocoSet, mask};
use crate::data::geometry::BoundingBox;
use crate::data::transform::Placement;
use crate::files::text;
use crate::hash::sha256;
use crate::metrics::mask::AP;
use crate::report::{Metric, RecordBuilder};
use crate::runtime::guard;
use crate::store::{Column, Dtype, Reader, Row};
use crate::{Error, Result};
use hotcoco::types::Segmentation;
use hotcoco::{Annotation, COCO, COCOeval, Dataset, IouType};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use tch::Tensor;

const MASKS: &str = "masks";

/// One entry of a file in COCO's results format.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Detection {
    image_id: u64,
    category_id: u32,
    bbox: Vec<f64>,
    score: f64,
}

/// A detector's boxes by image.
pub struct Boxes {
    /// By position in the data set, in the file's order.
    by_image: HashMap<usize, Vec<Detection>>,
    /// SHA-256 (hex) of the file.
    pub sha256: String,
    /// Boxes in the file.
    pub count: usize,
}

/// A mask as COCO's results format has it.
#[derive(Serialize)]
struct MaskResult<'a> {
    image_id: u64,
    category_id: u32,
    segmentation: CompressedRuns<'a>,
    score: f64,
}

#[derive(Serialize, Deserialize)]
struct CompressedRuns<'a> {
    size: [u32; 2],
    counts: std::borrow::Cow<'a, str>,
}

impl Boxes {
    /// Reads `path`, a list of detections of images and categories of `set`.
    ///
    /// # Errors
    /// A file that is not such a list, or an empty one; an image or category that `set` does not
    /// have; a box or score that is not finite, a negative side.
    pub fn read(path: &Path, set: &CocoSet) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::file(path, e))?;
        let hash = sha256(&bytes);
        let fail = |reason: String| Error::file(path, reason);
        let list: Vec<Detection> =
            serde_json::from_str(&text::decode(bytes, path)?).map_err(|e| {
                fail(format!(
                    "is no list of detections (`image_id`, `category_id`, `bbox`, `score`): {e}"
                ))
            })?;
        if list.is_empty() {
            return Err(fail("holds no detection".to_string()));
        }
        let positions: HashMap<u64, usize> = set.positions().collect();
        let categories: HashSet<u32> = set.categories.iter().map(|category| category.id).collect();
        let count = list.len();
        let mut by_image: HashMap<usize, Vec<Detection>> = HashMap::new();
        for (at, detection) in list.into_iter().enumerate() {
            let fault = |what: String| fail(format!("detection {at} (counted from 0) {what}"));
            let Some(&image) = positions.get(&detection.image_id) else {
                let id = detection.image_id;
                return Err(fault(format!(
                    "is of image {id}, which the data set does not have"
                )));
            };
            if !categories.contains(&detection.category_id) {
                let id = detection.category_id;
                return Err(fault(format!(
                    "is of category {id}, which the data set does not have"
                )));
            }
            let sides = match detection.bbox[..] {
                [x, y, w, h] if x.is_finite() && y.is_finite() => Some((w, h)),
                _ => None,
            };
            let sound = |side: f64| side >= 0.0 && side.is_finite();
            if !sides.is_some_and(|(w, h)| sound(w) && sound(h)) {
                return Err(fault(
                    "has no box [x, y, width, height] of finite numbers, none negative in size"
                        .to_string(),
                ));
            }
            if !detection.score.is_finite() {
                return Err(fault("has a score that is not finite".to_string()));
            }
            by_image.entry(image).or_default().push(detection);
        }
        Ok(Boxes {
            by_image,
            sha256: hash,
            count,
        })
    }

    pub fn has(&self, image: usize) -> bool {
        self.by_image.contains_key(&image)
    }

    fn bounds(&self, image: usize) -> Vec<BoundingBox> {
        let detections = self.by_image.get(&image).into_iter().flatten();
        let corners = detections.filter_map(|detection| detection.bbox[..].try_into().ok());
        corners.map(BoundingBox::from_xywh).collect()
    }
}

/// The masks of a run.
pub struct Prompted<'a> {
    pub boxes: &'a Boxes,
    pub set: &'a CocoSet,
    /// Images with masks.
    pub indices: &'a [usize],
    reader: Reader,
}

/// Masks for the boxes of each image, from the store of `key` as far as it has them; and the images
/// that took. `embedding` gives that of the image at a position.
pub fn prompted<'a>(
    images: &Images<'a>,
    boxes: &'a Boxes,
    judge: &Judge,
    key: Value,
    embedding: impl Fn(usize) -> Result<Tensor>,
) -> Result<(Prompted<'a>, usize)> {
    let row = |position: usize, placement: &Placement, (): ()| {
        let bounds = boxes.bounds(images.indices[position]);
        let masks = judge.masks(&embedding(position)?, placement, &bounds)?;
        let strings: Vec<CompressedRuns> = masks.iter().map(compressed).collect();
        let bytes = serde_json::to_vec(&strings).map_err(|e| Error::model(e.to_string()))?;
        Ok(Row { cells: vec![bytes] })
    };
    let columns = [Column::ragged(MASKS, Dtype::U8, &[])];
    let (reader, judged) = images.judged(key, &columns, |_, _, _| Ok(()), row)?;
    let prompted = Prompted {
        boxes,
        set: images.set,
        indices: images.indices,
        reader,
    };
    Ok((prompted, judged))
}

fn compressed(runs: &RunLengths) -> CompressedRuns<'static> {
    CompressedRuns {
        size: [runs.height, runs.width],
        counts: mask::compressed(runs).into(),
    }
}

impl Prompted<'_> {
    /// Calls `each` with every detection's image id, category, score and mask, in order of images.
    fn visit(&self, mut each: impl FnMut(&Detection, CompressedRuns)) -> Result<()> {
        let damaged =
            || Error::model("kept masks are damaged; radio-eval cache prune takes them away");
        let masks = self.reader.column(MASKS)?;
        for (position, index) in self.indices.iter().enumerate() {
            let bytes = masks.row(position).ok_or_else(damaged)?;
            let masks: Vec<CompressedRuns> =
                serde_json::from_slice(bytes).map_err(|_| damaged())?;
            let detections = self.boxes.by_image.get(index).into_iter().flatten();
            detections
                .zip(masks)
                .for_each(|(detection, mask)| each(detection, mask));
        }
        Ok(())
    }

    /// The masks as a file in COCO's results format, scores as the detector gave them.
    pub fn json(&self) -> Result<String> {
        let mut lines = Vec::new();
        self.visit(|detection, segmentation| {
            let result = MaskResult {
                image_id: detection.image_id,
                category_id: detection.category_id,
                segmentation,
                score: detection.score,
            };
            lines.push(serde_json::to_string(&result));
        })?;
        let lines: Result<Vec<String>, _> = lines.into_iter().collect();
        let lines = lines.map_err(|e| Error::model(e.to_string()))?;
        Ok(format!("[\n{}\n]\n", lines.join(",\n")))
    }

    /// Adds mask AP over `images`, those in use, with or without a detection.
    pub fn metrics(&self, record: RecordBuilder, images: &[usize]) -> Result<RecordBuilder> {
        let fail = |reason: String| Error::file(&self.set.annotations_path, reason);
        let bytes = self.set.read_annotations()?;
        let text = text::decode(bytes, &self.set.annotations_path)?;
        let mut truth: Dataset = serde_json::from_str(&text).map_err(|e| fail(e.to_string()))?;
        let used: HashSet<u64> = images
            .iter()
            .map(|&index| self.set.image_id(index))
            .collect();
        truth.images.retain(|image| used.contains(&image.id));
        truth
            .annotations
            .retain(|annotation| used.contains(&annotation.image_id));
        if truth
            .annotations
            .iter()
            .any(|annotation| annotation.id == 0)
        {
            return Err(fail(
                "has an annotation of id 0, which pycocotools takes for no match; number them from 1"
                    .to_string(),
            ));
        }
        let mut detections = Vec::new();
        self.visit(|detection, mask| detections.push(annotation(detection, mask)))?;
        let stats = guard::catch(|| average_precision(truth, detections))
            .and_then(|stats| stats)
            .map_err(fail)?;
        let measured = AP.iter().zip(stats).filter(|(_, value)| *value >= 0.0);
        Ok(measured.fold(record, |record, (metric, value)| {
            let value = Metric {
                n: Some(images.len() as u64),
                ..Metric::value(100.0 * value)
            };
            record.metric(metric, value)
        }))
    }
}

fn annotation(detection: &Detection, mask: CompressedRuns) -> Annotation {
    Annotation {
        id: 0,
        image_id: detection.image_id,
        category_id: u64::from(detection.category_id),
        bbox: None,
        area: None,
        segmentation: Some(Segmentation::CompressedRle {
            size: mask.size,
            counts: mask.counts.into_owned(),
        }),
        iscrowd: false,
        keypoints: None,
        num_keypoints: None,
        obb: None,
        score: Some(detection.score),
        is_group_of: None,
        extra: Default::default(),
    }
}

/// pycocotools' first six numbers for masks, -1 where undefined; an error is a sentence.
fn average_precision(truth: Dataset, detections: Vec<Annotation>) -> Result<Vec<f64>, String> {
    let truth = COCO::from_dataset(truth);
    let detections = truth.load_res_anns(detections).map_err(|e| e.to_string())?;
    let mut evaluation = COCOeval::new(Arc::new(truth), Arc::new(detections), IouType::Segm);
    evaluation.evaluate().map_err(|e| e.to_string())?;
    evaluation.accumulate();
    // Computes the numbers; its lines are for a terminal.
    let _lines = evaluation.summarize_lines();
    let stats = evaluation.stats().ok_or("the evaluation gave no numbers")?;
    Ok(stats.iter().take(AP.len()).copied().collect())
}
