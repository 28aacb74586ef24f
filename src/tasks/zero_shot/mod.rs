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
pub use pairing::{Text, adaptor, likely_adaptors, text};
pub use templates::Templates;

use super::classify::{self, Job, Method, RANKED, Splits};
use super::extract::{Output, Rows};
use super::finished::Finished;
use crate::metrics::accuracy::{ZERO_SHOT_TOP1, ZERO_SHOT_TOP5};
use crate::report::RecordBuilder;
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

/// Zero-shot on one job, with the classifier made.
pub struct ZeroShot {
    summary: Output,
    /// [classes, D] fp32 with rows of unit length.
    classifier: Tensor,
    record: RecordBuilder,
}

impl ZeroShot {
    /// # Errors
    /// A model without image-text adaptor or text tower, a text tower of another width, classes
    /// without names, val images without labels, and those of the text tower.
    pub fn prepare(job: &Job, options: &Options) -> Result<Self> {
        let extractor = &job.extractor;
        let adaptor = pairing::adaptor(extractor.model, job.adaptor)?;
        let summary = job.summary(Some(adaptor))?;
        let record = job.record(TASK, Some(adaptor));
        // Cheap mistakes first: names and text before an hour of images.
        let names = Names::from_data(job.data, options.names_given)?;
        classify::labels(job.data.need_val()?.as_ref(), &job.val_indices()?)?;
        let device = extractor.runtime.device;
        let started = Instant::now();
        let text = pairing::text(
            extractor.model,
            adaptor,
            options.text_weights.as_deref().map(Path::new),
            device,
        )?;
        let loaded_s = started.elapsed().as_secs_f64();
        let (of_images, of_text) = (job.width(&summary)?, text.tower.embed_dim());
        if of_images as i64 != of_text {
            return Err(Error::usage(format!(
                "the adaptor `{adaptor}` of {} gives {of_images} numbers per image, the text tower of {} gives {of_text}; they do not belong together",
                extractor.model.name,
                text.checkpoint.path.display(),
            )));
        }

        let started = Instant::now();
        let weights = text.checkpoint.sha256()?.unwrap_or_default();
        let prompts = Prompts {
            names: &names.names,
            templates: &options.templates,
            weights: weights.clone(),
            device,
        };
        let classifier = classifier::build(text.tower.as_ref(), &prompts, extractor.progress)?;
        let record = record
            .option("templates", options.templates.name.as_str())
            .option("prompts_per_class", options.templates.lines.len())
            .option("class_names", names.source)
            .option("text_weights", text.checkpoint.path.display().to_string())
            .option("text_sha256", weights)
            .option("text_settings", text.tower.settings()?)
            .stage("load_text", loaded_s)
            .stage("classifier", started.elapsed().as_secs_f64());
        Ok(ZeroShot {
            summary,
            classifier,
            record,
        })
    }
}

impl Method for ZeroShot {
    fn val(&self) -> &Output {
        &self.summary
    }

    fn classify(&self, job: &Job, splits: &Splits) -> Result<Vec<Finished>> {
        let val = &splits.val;
        let labels = classify::labels(job.data.need_val()?.as_ref(), &val.indices)?;
        let device = job.extractor.runtime.device;
        let rankings = rank(val.rows(&self.summary)?, &self.classifier, device)?;
        let record = classify::with_features(self.record.clone(), val)
            .images_per_s(classify::images_per_s(&[val]));
        let record = classify::with_accuracy(
            record,
            [&ZERO_SHOT_TOP1, &ZERO_SHOT_TOP5],
            &rankings,
            &labels,
            job.extractor.runtime.seed,
        );
        Ok(vec![classify::finished(record, &val.indices, rankings)])
    }
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
