//! A loaded network that takes part in a comparison.

use super::options::{Options, Variant};
use crate::models::{self, Request, Resolved};
use crate::report::ModelPart;
use crate::runtime::Precision;
use crate::{Error, Result};

pub struct Rival {
    pub label: String,
    pub model: Resolved,
    pub part: ModelPart,
    /// The named adaptors.
    pub request: Request,
    pub is_baseline: bool,
}

impl Rival {
    pub fn load(variant: &Variant, options: &Options, precision: Precision) -> Result<Self> {
        let model = models::resolve(
            &variant.spec,
            &variant.build_options(options.device, precision),
        )?;
        let known = &model.backbone.info().adaptors;
        if let Some(missing) = options.adaptors.iter().find(|a| !known.contains(a)) {
            return Err(Error::usage(format!(
                "{} has no adaptor `{missing}`; it has: {}",
                variant.label(),
                known.join(", ")
            )));
        }
        Ok(Rival {
            label: variant.label(),
            part: ModelPart::for_model(&model)?,
            request: Request::adaptors(&options.adaptors),
            is_baseline: options.baseline.as_ref() == Some(&variant.spec.model),
            model,
        })
    }
}
