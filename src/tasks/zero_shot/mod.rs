//! Zero-shot classification (spec/radio.md §5.3): an image belongs to the class whose prompts lie
//! nearest to it in the joint space of images and text.
//!
//! Scores are cosines. The temperature of CLIP, and SigLIP's scale and bias, are left out: they
//! are monotone and so change no ranking.

pub mod classifier;
mod names;
mod pairing;
mod templates;

pub use names::Names;
pub use pairing::adaptor;
pub use templates::Templates;

use super::classify::{self, Job, Outcome, RANKED};
use super::extract::{Extractor, Rows};
use crate::metrics::accuracy::{ZERO_SHOT_TOP1, ZERO_SHOT_TOP5};
use crate::{Error, Result};
use classifier::Prompts;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tch::{Device, Tensor};

/// Name of the task in records.
pub const TASK: &str = "zero_shot";

#[derive(Debug, Clone)]
pub struct Options {
    pub templates: Templates,
    /// Whether the data set's class list is one the user gave.
    pub names_given: bool,
    /// The text tower's weights, where they are not found by themselves.
    pub text_weights: Option<PathBuf>,
}

/// # Errors
/// A model without image-text adaptor or text tower, classes without names, and those of
/// [`super::extract::Extractor::summaries`].
pub fn run(job: &Job, options: &Options) -> Result<Outcome> {
    let extractor = &job.extractor;
    let adaptor = pairing::adaptor(extractor.model, extractor.adaptor)?;
    let job = Job {
        extractor: Extractor {
            adaptor: Some(adaptor),
            ..*extractor
        },
        ..*job
    };
    let record = job.record(TASK);
    // Cheap mistakes first: names and text before an hour of images.
    let names = Names::of(job.data, options.names_given)?;
    let val_source = job.data.need_val()?;
    let device = extractor.runtime.device;
    let started = Instant::now();
    let text = pairing::text(
        extractor.model,
        adaptor,
        options.text_weights.as_deref().map(Path::new),
        device,
    )?;
    let loaded_s = started.elapsed().as_secs_f64();

    let started = Instant::now();
    let weights = text.checkpoint.sha256()?.unwrap_or_default();
    let prompts = Prompts {
        names: &names.names,
        templates: &options.templates,
        weights: weights.clone(),
        device,
    };
    let classifier = classifier::build(text.tower.as_ref(), &prompts, extractor.progress)?;
    let classifier_s = started.elapsed().as_secs_f64();
    let settings = text.tower.settings()?;
    drop(text.tower);

    let val = job.val(&job.extractor)?;
    let labels = classify::labels(val_source.as_ref(), &val.indices)?;
    let rows = val.rows()?;
    if rows.dim() as i64 != classifier.size()[1] {
        return Err(Error::usage(format!(
            "the adaptor `{adaptor}` of {} gives {} numbers per image, the text tower of {} gives {}; they do not belong together",
            extractor.model.name,
            rows.dim(),
            text.checkpoint.path.display(),
            classifier.size()[1]
        )));
    }
    let rankings = rank(rows, &classifier, device)?;

    let record = record
        .option("templates", options.templates.name.as_str())
        .option("prompts_per_class", options.templates.lines.len())
        .option("class_names", names.source)
        .option("text_weights", text.checkpoint.path.display().to_string())
        .option("text_sha256", weights)
        .option("text_settings", settings)
        .stage("load_text", loaded_s)
        .stage("classifier", classifier_s);
    let record =
        classify::with_features(record, &val).images_per_s(classify::images_per_s(&[&val]));
    let seed = extractor.runtime.seed;
    let record = classify::with_accuracy(
        record,
        [&ZERO_SHOT_TOP1, &ZERO_SHOT_TOP5],
        &rankings,
        &labels,
        seed,
    );
    Ok(Outcome {
        record: record.build(),
        indices: val.indices,
        rankings,
    })
}

/// Images scored at a time.
const BLOCK: usize = 4096;

/// The best classes of each image. `classifier`: [classes, D] fp32 with rows of unit length.
pub fn rank(images: Rows, classifier: &Tensor, device: Device) -> Result<Vec<Vec<u32>>> {
    let (classes, _) = classifier.size2()?;
    let classifier = classifier.f_to_device(device)?.f_numpy_t()?;
    let top = classes.min(RANKED as i64);
    let mut rankings = Vec::with_capacity(images.len());
    for start in (0..images.len()).step_by(BLOCK) {
        let end = images.len().min(start + BLOCK);
        let scores = images
            .normalised(start..end, device)?
            .f_matmul(&classifier)?;
        let (_, best) = scores.f_topk(top, 1, true, true)?;
        let best = Vec::<i64>::try_from(best.f_to_device(Device::Cpu)?.f_reshape([-1])?)?;
        rankings.extend(
            best.chunks_exact(top as usize)
                .map(|row| row.iter().map(|class| *class as u32).collect()),
        );
    }
    Ok(rankings)
}
