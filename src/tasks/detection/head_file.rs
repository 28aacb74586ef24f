//! A trained detector as a file: parameters under torchvision's names, and in the metadata what it
//! takes to use them.

use super::recipe::Recipe;
use crate::data::coco::CocoSet;
use crate::heads::detection::{Detector, DetectorOptions};
use crate::weights::{StateDict, safetensors};
use crate::{Error, Result};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;
use tch::Device;

/// What a file says besides its tensors.
pub struct HeadFile {
    pub recipe: Recipe,
    pub options: DetectorOptions,
    /// `[[id, name], ...]` in the order of labels.
    categories: String,
    tensors: StateDict,
}

/// `[[id, name], ...]` in the order of labels.
pub fn categories(set: &CocoSet) -> Value {
    json!(
        set.categories
            .iter()
            .map(|c| json!([c.id, c.name]))
            .collect::<Vec<_>>()
    )
}

/// The metadata of a trained detector.
pub fn metadata(
    recipe: &Recipe,
    options: &DetectorOptions,
    set: &CocoSet,
    backbone: [(&str, String); 3],
) -> Result<HashMap<String, String>> {
    let text = |value: serde_json::Result<String>| {
        value.map_err(|e| Error::model(format!("a recipe is no JSON: {e}")))
    };
    let mut metadata = HashMap::from([
        ("recipe".to_string(), text(serde_json::to_string(recipe))?),
        (
            "detector".to_string(),
            text(serde_json::to_string(options))?,
        ),
        ("categories".to_string(), categories(set).to_string()),
        ("data".to_string(), set.name.clone()),
    ]);
    metadata.extend(backbone.map(|(name, value)| (name.to_string(), value)));
    Ok(metadata)
}

impl HeadFile {
    /// # Errors
    /// A file that this command did not write.
    pub fn open(path: &Path) -> Result<Self> {
        let (tensors, metadata) = safetensors::open(path)?;
        let field = |name: &str| {
            metadata.get(name).ok_or_else(|| {
                Error::file(
                    path,
                    format!("has no `{name}` in its metadata; --head takes a file that this command wrote"),
                )
            })
        };
        let damaged =
            |e: serde_json::Error| Error::file(path, format!("has damaged metadata: {e}"));
        Ok(HeadFile {
            recipe: serde_json::from_str(field("recipe")?).map_err(damaged)?,
            options: serde_json::from_str(field("detector")?).map_err(damaged)?,
            categories: field("categories")?.clone(),
            tensors,
        })
    }

    /// The detector, for a map of `channels` and the categories of `set`.
    pub fn detector(
        &self,
        path: &Path,
        channels: i64,
        set: &CocoSet,
        device: Device,
    ) -> Result<Detector> {
        let own = categories(set).to_string();
        if own != self.categories {
            return Err(Error::file(
                path,
                format!(
                    "detects other categories ({}) than those of the data ({own})",
                    self.categories
                ),
            ));
        }
        if self.options.input != channels {
            return Err(Error::file(
                path,
                format!(
                    "takes features of {} channels, this model's have {channels}",
                    self.options.input
                ),
            ));
        }
        let read = |name: &str| {
            let stored = self.tensors.get(name);
            stored
                .map(|tensor| tensor.read(device, tensor.kind))
                .transpose()
        };
        Detector::new(self.options.clone(), device, Some(&read)).map_err(|e| match e {
            Error::Model(reason) => Error::file(path, reason),
            other => other,
        })
    }
}
