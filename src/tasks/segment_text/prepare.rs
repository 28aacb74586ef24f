//! Everything that can be wrong before the first picture: method, sizes, names, text.

use super::decide::{Below, Rules};
use super::method::{Chosen, Method};
use super::names::ClassNames;
use super::protocol::{Changes, Settings};
use super::segmenter::Segmenter;
use crate::models::Resolved;
use crate::models::dense::{self, TextFamily};
use crate::runtime::Runtime;
use crate::tasks::zero_shot::{self, Templates, classifier};
use crate::{Error, Result};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Instant;

/// What the user asked for.
#[derive(Debug, Clone)]
pub struct Options {
    pub adaptor: Option<String>,
    pub method: Option<Method>,
    pub chosen: Chosen,
    pub changes: Changes,
    /// `None`: the protocol's.
    pub templates: Option<Templates>,
    /// Names of the data's classes, instead of the protocol's.
    pub classnames: Option<PathBuf>,
    pub text_weights: Option<PathBuf>,
    /// Where predictions are drawn.
    pub predictions: Option<PathBuf>,
    /// Forget what an earlier run finished.
    pub restart: bool,
    /// Leave out the check of all masks.
    pub skip_check: bool,
    /// Show progress bars.
    pub show: bool,
}

/// A network that is ready to segment, and what the record says of its text.
pub struct Prepared<'a> {
    pub segmenter: Segmenter<'a>,
    pub names: ClassNames,
    pub templates: Templates,
    pub text_path: String,
    pub text_sha256: String,
    pub text_settings: Value,
    /// Seconds to load the text tower, and to embed the names.
    pub seconds: (f64, f64),
}

impl<'a> Prepared<'a> {
    /// `set`: the label set whose row of the protocol counts; `names` finds the names for the
    /// settings.
    ///
    /// # Errors
    /// A network without patches in a space of text; a method or a setting that it cannot be used
    /// with; and those of names and text tower.
    pub fn new(
        model: &'a Resolved,
        options: &Options,
        set: Option<&str>,
        background: bool,
        runtime: &Runtime,
        names: impl FnOnce(&Settings) -> Result<ClassNames>,
    ) -> Result<Self> {
        let info = model.backbone.info();
        let family = dense::text_aligned(model.backbone.as_ref())?.family();
        let method = Method::choose(options.method, family, &info.architecture)?;
        let constants = method.constants(options.chosen)?;
        let settings = Settings::new(&options.changes, set, family, background)?;
        let names = names(&settings)?;
        let templates = match &options.templates {
            Some(templates) => templates.clone(),
            None => Templates::open(settings.protocol.templates())?,
        };
        let adaptor = choose_adaptor(model, family, options.adaptor.as_deref())?;
        let started = Instant::now();
        let named = options.text_weights.as_deref();
        let text = zero_shot::text(model, &adaptor, named, runtime.device)?;
        let loaded_s = started.elapsed().as_secs_f64();
        let started = Instant::now();
        let text_sha256 = text.checkpoint.sha256()?.unwrap_or_default();
        let prompts = classifier::Prompts {
            names: &names.names,
            templates: &templates,
            weights: text_sha256.clone(),
            device: runtime.device,
        };
        let vectors = classifier::build(text.tower.as_ref(), &prompts, options.show)?;
        let embedded_s = started.elapsed().as_secs_f64();
        let segmenter = Segmenter::new(
            model,
            &adaptor,
            method,
            constants,
            settings,
            &vectors,
            runtime.device,
        )?;
        Ok(Prepared {
            segmenter,
            names,
            templates,
            text_path: text.checkpoint.path.display().to_string(),
            text_settings: text.tower.settings()?.into(),
            text_sha256,
            seconds: (loaded_s, embedded_s),
        })
    }

    /// What decides labels.
    pub fn rules(&self, below: Below) -> Rules<'_> {
        let settings = &self.segmenter.settings;
        Rules {
            class_of: &self.names.class_of,
            classes: self.names.classes,
            logit_scale: settings.logit_scale,
            denoise: settings.denoise,
            prob_threshold: settings.prob_threshold,
            area_threshold: settings.area_threshold,
            below,
        }
    }

    /// Everything that decides labels besides network, text weights and pictures.
    pub fn describe(&self) -> Value {
        let segmenter = &self.segmenter;
        json!({
            "adaptor": segmenter.adaptor,
            "method": segmenter.method,
            "constants": segmenter.constants,
            "settings": segmenter.settings,
            "names": self.names.names,
            "class_of": self.names.class_of,
            "templates": self.templates.lines,
            "text_settings": self.text_settings,
            "windows_per_pass": super::segmenter::WINDOWS,
        })
    }
}

/// The adaptor asked for; else the only one into a space of text that there is.
fn choose_adaptor(model: &Resolved, family: TextFamily, asked: Option<&str>) -> Result<String> {
    let info = model.backbone.info();
    if let Some(asked) = asked {
        info.check_adaptor(asked)?;
        if matches!(asked, "sam" | "sam3" | "dino_v2" | "dino_v3" | "dino_v3_7b") {
            return Err(Error::usage(format!(
                "the teacher of the adaptor `{asked}` has no text tower; use one of {}",
                zero_shot::likely_adaptors(model).join(", ")
            )));
        }
        return Ok(asked.to_string());
    }
    let likely = zero_shot::likely_adaptors(model);
    let student = matches!(family, TextFamily::Radio | TextFamily::ERadio);
    if student && likely.len() > 1 {
        return Err(Error::usage(format!(
            "{} has several adaptors into a space of text, which give different labels; choose one with --adaptor {}",
            model.name,
            likely.join(" or ")
        )));
    }
    Ok(zero_shot::adaptor(model, None)?.to_string())
}
