//! Detections as COCO's results JSON.

use super::ap::IouKind;
use super::evaluate::{Detection, result};
use crate::data::coco::CocoSet;
use crate::files::AtomicFile;
use crate::{Error, Result};
use hotcoco::types::{Annotation, Segmentation};
use serde::Serialize;
use std::io::Write;
use std::path::Path;

#[derive(Serialize)]
struct Stored {
    image_id: u64,
    category_id: u64,
    bbox: Option<[f64; 4]>,
    score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    segmentation: Option<Segmentation>,
}

/// Writes all detections, a line each.
pub fn write(path: &Path, set: &CocoSet, detections: &[Detection]) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    let mut put = |bytes: &[u8]| file.write_all(bytes);
    let mut separator: &[u8] = b"[\n";
    for detection in detections {
        let boxes = result(set, detection, IouKind::Bbox);
        let Annotation { segmentation, .. } = result(set, detection, IouKind::Segm);
        let stored = Stored {
            image_id: boxes.image_id,
            category_id: boxes.category_id,
            bbox: boxes.bbox,
            score: boxes.score,
            segmentation,
        };
        let line = serde_json::to_vec(&stored).map_err(|e| Error::file(path, e))?;
        let written = put(separator).and_then(|()| put(&line));
        written.map_err(|e| Error::file(path, e))?;
        separator = b",\n";
    }
    let start: &[u8] = if detections.is_empty() { b"[" } else { b"" };
    let written = put(start).and_then(|()| put(b"\n]\n"));
    written.map_err(|e| Error::file(path, e))?;
    file.commit()
}
