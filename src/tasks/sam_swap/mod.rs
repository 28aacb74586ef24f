//! The "SAM COCO" figure: SAM's mask decoder on a student's features in the place of SAM's own
//! encoder, prompted by annotated boxes or by clicks, mean IoU over the instances of COCO's val
//! split (AM-RADIO, arXiv 2312.06709, Table 1; spec/coco.md §2).
//!
//! Embeddings are computed once and kept as all features are; prompts and options reuse them.

mod boxes;
pub mod clicks;
mod encoder;
mod judge;
mod outcomes;
mod output;
pub mod settings;
mod size;

pub use encoder::resized;
pub use judge::{Judge, Outcome, Target, best};
pub use output::Judged;
pub use settings::{Grid, Padding, Preset, PromptKind, Settings};

use crate::data::Source;
use crate::data::annotation::Instance;
use crate::data::coco::CocoSet;
use crate::data::subset::evenly_spread;
use crate::data::transform::{Placement, Transform};
use crate::metrics::{Benchmark, benchmark};
use crate::models::sam::{SamDecoder, load_decoder};
use crate::models::{Resolved, resolve, zoo};
use crate::report::{ModelPart, RecordBuilder};
use crate::runtime::Runtime;
use crate::runtime::limits::check_batch;
use crate::store::Dtype;
use crate::tasks::extract::{Extractor, FeatureRows, Level, Output, Subset, key};
use crate::tasks::finished::{Beside, Contents, Finished};
use crate::weights::Checkpoint;
use crate::{Error, Result};
use boxes::{Boxes, Prompted};
use outcomes::Images;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tch::{Kind, Tensor};

/// Instances of a smaller stated area are left out (spec/coco.md §2.1).
const LEAST_AREA: f64 = 1.0;

/// The student's head that imitates SAM, where none is named.
const ADAPTOR: &str = "sam";

/// What to do besides the settings.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The adaptor that imitates SAM; `sam` by default.
    pub adaptor: Option<String>,
    /// A zoo name or a path of a whole SAM; by default the model itself where it is one, else
    /// SAM-H.
    pub sam_weights: Option<String>,
    /// Pixels of the square input, with [`Grid::Resize`].
    pub resolution: Option<i64>,
    pub batch_size: usize,
    pub skip_bad: usize,
    /// This many images, evenly spread.
    pub limit: Option<usize>,
    /// A detector's boxes, with [`PromptKind::Boxes`]: a file in COCO's results format.
    pub boxes: Option<PathBuf>,
    pub show: bool,
}

/// The instances that count, in the file's order.
pub fn counted(instances: &[Instance]) -> impl Iterator<Item = &Instance> {
    instances
        .iter()
        .filter(|instance| instance.area >= LEAST_AREA)
}

/// Measures `model`, which is SAM itself where `is_sam` says so.
pub fn run(
    model: Resolved,
    is_sam: bool,
    set: &Arc<CocoSet>,
    settings: &Settings,
    options: &Options,
    runtime: &Runtime,
) -> Result<Finished> {
    check(&model, is_sam, set, settings, options)?;
    let (sam_name, sam) = sam_weights(&model, is_sam, options.sam_weights.as_deref())?;
    let (neck, decoder) = load_decoder(&sam, runtime.device)?;
    let sam_sha256 = sam.sha256()?;
    let sam_part = json!({"name": sam_name, "sha256": sam_sha256, "path": sam.path});
    let (frame, transform) = frame(&model, is_sam, &decoder, settings, options)?;
    check_batch(options.batch_size, frame, frame)?;
    let adaptor = (!is_sam).then(|| options.adaptor.clone().unwrap_or(ADAPTOR.to_string()));
    let neck_weights = json!(sam_sha256.clone().unwrap_or(sam.path.display().to_string()));
    let model = encoder::swapped(model, adaptor.clone(), neck, neck_weights, settings)?;
    let part = ModelPart::for_model(&model)?;
    let mut record = RecordBuilder::new("sam_swap", part.clone(), runtime, (frame, frame))
        .adaptor(adaptor.as_deref())
        .benchmark(recognise(set));
    for (name, value) in settings.describe() {
        record = record.option(name, value);
    }
    record = record
        .option("changes", json!(settings.changes()))
        .option("sam", sam_part)
        .option("batch_size", options.batch_size)
        .option("annotations", set.annotations_path.display().to_string())
        .option("annotations_sha256", set.annotations_sha256.clone());
    for warning in &set.warnings {
        record = record.warning(warning);
    }

    let boxes = match &options.boxes {
        None => None,
        Some(path) => {
            let boxes = Boxes::read(path, set)?;
            record = record
                .option("boxes", path.display().to_string())
                .option("boxes_sha256", boxes.sha256.clone())
                .option("detections", boxes.count);
            Some(boxes)
        }
    };
    let images = evenly_spread(set.len(), options.limit);
    let asked = |&index: &usize| match &boxes {
        Some(boxes) => boxes.has(index),
        None => counted(set.instances(index)).next().is_some(),
    };
    let indices: Vec<usize> = images.iter().copied().filter(asked).collect();
    if indices.is_empty() {
        return Err(Error::file(
            &set.annotations_path,
            "has nothing to prompt with in the images in use: no instance of an area of one pixel or more, and no box",
        ));
    }
    let source: Arc<dyn Source> = set.clone();
    let subset = Subset {
        name: &set.name,
        path: set.images_path().display().to_string(),
        split: "val",
        source: &source,
        indices,
    };
    let extractor = Extractor {
        model: &model,
        part: &part,
        transform,
        runtime,
        batch_size: options.batch_size,
        skip_bad: options.skip_bad,
        padding: model.backbone.padding(),
        progress: options.show,
    };
    let embeddings = Output {
        adaptor: None,
        level: Level::Spatial,
        dtype: Dtype::F32,
    };
    let rows = extractor.extract(&subset, std::slice::from_ref(&embeddings))?;

    let started = Instant::now();
    let judge = Judge {
        decoder: &decoder,
        settings,
        frame,
    };
    let key = json!({
        "network": key::network_key(&model, &part, runtime)?,
        "transform": transform.describe(),
        "batch_size": options.batch_size,
        "images": rows.data.fingerprint,
        "annotations": set.annotations_sha256,
        "boxes": boxes.as_ref().map(|boxes| &boxes.sha256),
        "settings": settings,
        "sam": neck_key(&sam)?,
    });
    let in_use = Images {
        set,
        indices: &rows.indices,
        transform,
        workers: runtime.workers,
        show: options.show,
    };
    let embedding = |position: usize| read_embedding(&rows, &embeddings, position, &decoder);
    let (found, judged) = match &boxes {
        Some(boxes) => {
            let (prompted, judged) = boxes::prompted(&in_use, boxes, &judge, key, embedding)?;
            (Found::Masks(prompted), judged)
        }
        None => {
            let judge = |position: usize, placement: &Placement, targets: &[Target]| {
                judge.judge(&embedding(position)?, placement, targets)
            };
            let (outcomes, judged) = outcomes::outcomes(&in_use, key, judge)?;
            (Found::Outcomes(outcomes), judged)
        }
    };
    let prompting_s = started.elapsed().as_secs_f64();

    // Of images that went all the way in this run.
    let rate = (rows.computed > 0 && rows.computed == judged)
        .then(|| judged as f64 / (rows.seconds + prompting_s).max(1e-9));
    let mut data = rows.data.clone();
    data.samples = images.len() as u64 - data.skipped;
    record = record
        .data(data)
        .option("images_prompted", rows.indices.len())
        .stage("embedding", rows.seconds)
        .stage("prompting", prompting_s)
        .images_per_s(rate);
    for skipped in &rows.skipped {
        record = record.warning(format!("left out {}: {}", skipped.key, skipped.reason));
    }
    let (record, ending, text) = match &found {
        Found::Masks(prompted) => {
            let record = prompted.metrics(record, &images)?;
            (record, "segm.json", prompted.json()?)
        }
        Found::Outcomes(outcomes) => {
            let all = Judged {
                set,
                indices: &rows.indices,
                outcomes,
            };
            let record = all.metrics(record, settings.prompt, runtime.seed);
            (record, "instances.csv", all.csv()?)
        }
    };
    Ok(Finished {
        beside: vec![Beside {
            ending: ending.to_string(),
            contents: Contents::Text(text),
        }],
        ..Finished::record(record.build())
    })
}

/// What came of the prompts.
enum Found<'a> {
    /// Of each image's instances.
    Outcomes(Vec<Vec<Outcome>>),
    /// For a detector's boxes.
    Masks(Prompted<'a>),
}

/// Whatever can be known to be wrong before any weights of SAM are read.
fn check(
    model: &Resolved,
    is_sam: bool,
    set: &CocoSet,
    settings: &Settings,
    options: &Options,
) -> Result<()> {
    let info = model.backbone.info();
    let fail = |reason: String| Err(Error::usage(reason));
    if is_sam {
        let changes = settings.changes();
        if let Some(change) = changes.first() {
            return fail(format!(
                "--{change} is about a student's features; {} is SAM itself, whose way is fixed",
                model.name
            ));
        }
        if options.adaptor.is_some() {
            return fail(format!("{} is SAM itself and has no adaptors", model.name));
        }
    } else {
        let wanted = options.adaptor.as_deref().unwrap_or(ADAPTOR);
        refuse_sam3(&model.name, &info.adaptors, wanted)?;
        info.check_adaptor(wanted)?;
    }
    if options.resolution.is_some() && settings.grid != Grid::Resize {
        return fail(
            "--resolution goes with --grid resize; otherwise the size follows from SAM's grid"
                .to_string(),
        );
    }
    if settings.padding == Padding::None && settings.grid == Grid::Resize {
        return fail(
            "--padding none puts the features into SAM's grid as they are; it cannot go with --grid resize"
                .to_string(),
        );
    }
    if (settings.prompt == PromptKind::Boxes) != options.boxes.is_some() {
        return fail(
            "--prompt boxes takes a file of a detector's boxes: --prompt boxes FILE".to_string(),
        );
    }
    match (settings.preset, set.first_compressed) {
        (Preset::StrictHarness, Some(id)) => Err(Error::file(
            &set.annotations_path,
            format!(
                "annotation {id} has a compressed run-length mask, which EfficientViT's harness cannot read; use another --preset"
            ),
        )),
        _ => Ok(()),
    }
}

/// C-RADIOv4 and RADIO1D imitate SAM 3 (spec/coco.md §2.3 i).
fn refuse_sam3(model: &str, adaptors: &[String], wanted: &str) -> Result<()> {
    let has = |name: &str| adaptors.iter().any(|adaptor| adaptor == name);
    if wanted != "sam3" && (has(wanted) || !has("sam3")) {
        return Ok(());
    }
    Err(Error::usage(format!(
        "{model} imitates SAM 3, whose features are 1024 wide and whose decoder is another; the decoder of SAM 1 cannot use them"
    )))
}

/// The weights of neck and decoder, and what they are called.
fn sam_weights(
    model: &Resolved,
    is_sam: bool,
    named: Option<&str>,
) -> Result<(String, Checkpoint)> {
    let of_zoo = |name: &str| -> Result<(String, Checkpoint)> {
        let entry = zoo::find(name)?;
        let place = resolve::locate_in(entry, entry.repository(name))?;
        Ok((entry.name.to_string(), Checkpoint::open(&place)?))
    };
    match (named, &model.checkpoint.source) {
        (Some(named), _) => match Path::new(named) {
            path if path.exists() => Ok((named.to_string(), Checkpoint::open(path)?)),
            _ => of_zoo(named),
        },
        (None, _) if is_sam => Ok((model.name.clone(), model.checkpoint.clone())),
        (None, crate::weights::WeightSource::Random(seed)) => {
            let config = (zoo::find("sam-h")?.config)();
            Ok(("sam-h".to_string(), Checkpoint::random(config, *seed)))
        }
        (None, _) => of_zoo("sam-h"),
    }
}

/// Pixels per side of the square that pictures are placed in, and how they come there.
fn frame(
    model: &Resolved,
    is_sam: bool,
    decoder: &SamDecoder,
    settings: &Settings,
    options: &Options,
) -> Result<(i64, Transform)> {
    let info = model.backbone.info();
    let frame = match settings.grid {
        _ if is_sam => decoder.image,
        Grid::Run => decoder.side * info.patch,
        Grid::Resize => {
            let wanted = options.resolution.unwrap_or(decoder.image);
            match options.resolution {
                Some(side) => side,
                None => info.nearest_resolution(wanted, wanted).0,
            }
        }
    };
    info.check_resolution(frame, frame)?;
    let size = frame as usize;
    let transform = match settings.padding {
        Padding::None => Transform::sam_floored(size, info.step as usize),
        Padding::SamMean | Padding::Black => Transform::sam_padded(size),
    };
    Ok((frame, transform))
}

/// What tells one decoder's weights from another's.
fn neck_key(sam: &Checkpoint) -> Result<Value> {
    Ok(json!([sam.sha256()?, sam.path, sam.config]))
}

/// `[1,C,side,side]` on the decoder's device.
fn read_embedding(
    rows: &FeatureRows,
    output: &Output,
    position: usize,
    decoder: &SamDecoder,
) -> Result<Tensor> {
    let column = rows.column(output)?;
    let bytes = column
        .row(position)
        .ok_or_else(|| Error::model("the image embeddings end before their images do"))?;
    let (side, width) = (decoder.side, decoder.width);
    let tokens = Tensor::f_from_data_size(bytes, &[1, side * side, width], Kind::Float)?;
    let tokens = tokens.f_to_device(decoder.device)?;
    Ok(tokens
        .f_transpose(1, 2)?
        .f_reshape([1, width, side, side])?
        .f_contiguous()?)
}

/// The benchmark that the split is.
fn recognise(set: &CocoSet) -> Option<&'static Benchmark> {
    let name = |category: Option<&crate::data::coco::Category>| {
        vec![category.map_or(String::new(), |category| category.name.clone())]
    };
    let categories = &set.categories;
    benchmark::recognise(
        set.len() as u64,
        categories.len(),
        [&name(categories.first()), &name(categories.last())],
        || (0..set.len()).map(|i| set.size(i)).sum(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn students_of_sam_3_are_refused_by_name() {
        let adaptors = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<Vec<_>>();
        let v4 = adaptors(&["siglip2-g", "dino_v3", "sam3"]);
        let error = refuse_sam3("c-radio_v4-h", &v4, "sam")
            .unwrap_err()
            .to_string();
        assert!(error.contains("c-radio_v4-h imitates SAM 3"), "{error}");
        refuse_sam3("c-radio_v4-h", &v4, "sam3").unwrap_err();
        // A model without either is told what adaptors it has elsewhere.
        refuse_sam3("x", &adaptors(&["clip"]), "sam").unwrap();
        refuse_sam3("x", &adaptors(&["sam", "sam3"]), "sam").unwrap();
    }
}
