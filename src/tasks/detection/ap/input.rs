//! The files of an evaluation, and everything in them that would silently give a wrong number.

use super::evaluation::IouKind;
use crate::runtime::guard;
use crate::{Error, Result};
use hotcoco::types::{Annotation, Segmentation};
use hotcoco::{COCO, Dataset};
use std::collections::HashSet;
use std::path::Path;

/// A COCO instances file.
///
/// # Errors
/// A file that is not one; LVIS, which is scored otherwise; ids that are 0 or there twice (a match
/// with id 0 counts as none in pycocotools); boxes that are not finite or of negative size; masks
/// of another size than their image.
pub fn ground_truth(path: &Path) -> Result<COCO> {
    exists(path)?;
    let truth = guarded(path, || COCO::new(path))?;
    check_truth(&truth.dataset).map_err(|reason| Error::file(path, reason))?;
    Ok(truth)
}

/// The same rules for annotations that are in memory already; the error is a sentence.
pub fn check_truth(dataset: &Dataset) -> Result<(), String> {
    if dataset.images.is_empty() {
        return Err("has no images; --ground-truth takes a COCO instances file".into());
    }
    let is_lvis = |image: &hotcoco::Image| {
        !image.neg_category_ids.is_empty() || !image.not_exhaustive_category_ids.is_empty()
    };
    if dataset.images.iter().any(is_lvis) {
        return Err(
            "is of LVIS, whose categories are not annotated in every image and whose score is another one; use the LVIS API"
                .into(),
        );
    }
    let mut seen = HashSet::with_capacity(dataset.annotations.len());
    let sizes = sizes(dataset);
    for annotation in &dataset.annotations {
        let about = |what: String| format!("annotation {} {what}", annotation.id);
        if annotation.id == 0 {
            return Err(
                "has an annotation without an id, or with id 0, which pycocotools takes for no match; number them from 1"
                    .into(),
            );
        }
        if !seen.insert(annotation.id) {
            return Err(about("is there twice; ids must be unique".into()));
        }
        if annotation.area.is_none_or(|area| !area.is_finite()) {
            return Err(about("has no area (pycocotools needs it)".into()));
        }
        check_geometry(annotation, &sizes).map_err(about)?;
    }
    Ok(())
}

/// Detections, ready to be compared.
pub struct Results {
    pub detections: COCO,
    pub warnings: Vec<String>,
}

/// A COCO results file for `truth`.
///
/// # Errors
/// A file that is not a list of detections, or an empty one; an image that `truth` does not have; a
/// score, box or mask that is missing, not finite, of negative size or of another image's size.
pub fn results(truth: &COCO, path: &Path) -> Result<Results> {
    exists(path)?;
    let detections = guarded(path, || truth.load_res(path))?;
    check_results(truth, detections).map_err(|reason| Error::file(path, reason))
}

/// The same for detections in memory, whose error is a sentence.
pub fn results_in_memory(truth: &COCO, detections: Vec<Annotation>) -> Result<COCO, String> {
    let loaded = guard::catch(|| truth.load_res_anns(detections))?;
    loaded.map_err(|e| e.to_string())
}

fn check_results(truth: &COCO, detections: COCO) -> Result<Results, String> {
    let dataset = &detections.dataset;
    if dataset.annotations.is_empty() {
        return Err("holds no detections".into());
    }
    let sizes = sizes(dataset);
    for (index, detection) in dataset.annotations.iter().enumerate() {
        let about = |what: String| {
            let image = detection.image_id;
            format!("detection {index} (counted from 0, image {image}) {what}")
        };
        if truth.get_img(detection.image_id).is_none() {
            return Err(about(
                "is of an image that the ground truth does not have; are both of one split?".into(),
            ));
        }
        match detection.score {
            None => return Err(about("has no score".into())),
            Some(score) if !score.is_finite() => {
                return Err(about(format!("has the score {score}")));
            }
            Some(_) => {}
        }
        if detection.bbox.is_none() && detection.segmentation.is_none() {
            return Err(about("has neither a box nor a mask".into()));
        }
        check_geometry(detection, &sizes).map_err(about)?;
    }
    let unknown: HashSet<u64> = (dataset.annotations.iter())
        .map(|detection| detection.category_id)
        .filter(|&category| truth.get_cat(category).is_none())
        .collect();
    let mut warnings = Vec::new();
    if !unknown.is_empty() {
        let mut ids: Vec<u64> = unknown.iter().copied().collect();
        ids.sort_unstable();
        let shown: Vec<String> = ids.iter().take(10).map(u64::to_string).collect();
        let count = (dataset.annotations.iter())
            .filter(|detection| unknown.contains(&detection.category_id))
            .count();
        warnings.push(format!(
            "{count} detections count nowhere: the ground truth has no category {}{}",
            shown.join(", "),
            if ids.len() > shown.len() { ", ..." } else { "" }
        ));
    }
    Ok(Results {
        detections,
        warnings,
    })
}

/// What both sides can be compared by: masks where every side has them.
pub fn kinds(truth: &COCO, detections: &COCO) -> Vec<IouKind> {
    // A detection that was given as a box gets its rectangle as a mask.
    let is_mask = |annotation: &Annotation| {
        !matches!(annotation.segmentation, None | Some(Segmentation::Rect(_)))
    };
    let has_masks = |set: &COCO| set.dataset.annotations.iter().all(is_mask);
    match !truth.dataset.annotations.is_empty() && has_masks(truth) && has_masks(detections) {
        true => vec![IouKind::Bbox, IouKind::Segm],
        false => vec![IouKind::Bbox],
    }
}

/// (height, width) by image.
type Sizes = std::collections::HashMap<u64, (u32, u32)>;

fn sizes(dataset: &Dataset) -> Sizes {
    let images = dataset.images.iter();
    images
        .map(|image| (image.id, (image.height, image.width)))
        .collect()
}

fn check_geometry(annotation: &Annotation, sizes: &Sizes) -> Result<(), String> {
    if let Some(bbox) = annotation.bbox {
        if bbox.iter().any(|v| !v.is_finite()) {
            return Err(format!("has the box {bbox:?}, which is not finite"));
        }
        if bbox[2] < 0.0 || bbox[3] < 0.0 {
            return Err(format!(
                "has the box {bbox:?} of negative size; boxes are [x, y, width, height]"
            ));
        }
    }
    let size = match &annotation.segmentation {
        Some(Segmentation::CompressedRle { size, .. })
        | Some(Segmentation::UncompressedRle { size, .. }) => (size[0], size[1]),
        _ => return Ok(()),
    };
    match sizes.get(&annotation.image_id) {
        // An image without a size says nothing about its masks.
        Some(&image) if image != (0, 0) && image != size => Err(format!(
            "has a mask of {}x{} pixels, its image {}x{} (width x height)",
            size.1, size.0, image.1, image.0
        )),
        _ => check_runs(annotation, size),
    }
}

/// That the runs of a mask make up its size.
fn check_runs(annotation: &Annotation, (height, width): (u32, u32)) -> Result<(), String> {
    let counts = match &annotation.segmentation {
        Some(Segmentation::UncompressedRle { counts, .. }) => counts.clone(),
        Some(Segmentation::CompressedRle { counts, .. }) => {
            let runs = hotcoco::mask::rle_from_string(counts, height, width);
            runs.map_err(|e| format!("has a damaged mask: {e}"))?.counts
        }
        _ => return Ok(()),
    };
    let covered: u64 = counts.iter().map(|&count| u64::from(count)).sum();
    let pixels = u64::from(height) * u64::from(width);
    match covered == pixels {
        true => Ok(()),
        false => Err(format!(
            "has a damaged mask: its runs cover {covered} of {pixels} pixels"
        )),
    }
}

fn exists(path: &Path) -> Result<()> {
    match path.is_file() {
        true => Ok(()),
        false => Err(Error::file(path, "is not a file that is there")),
    }
}

/// The crate's work on a user's file: its errors, and its panics, become ours.
fn guarded<T>(path: &Path, read: impl FnOnce() -> hotcoco::error::Result<T>) -> Result<T> {
    let outcome = guard::catch(read);
    let outcome = outcome.map_err(|panic| Error::file(path, format!("is damaged ({panic})")))?;
    outcome.map_err(|e| Error::file(path, e))
}
