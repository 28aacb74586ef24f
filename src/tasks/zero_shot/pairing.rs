//! Which text tower belongs to a model's image embeddings.

use crate::models::resolve::locate;
use crate::models::{BuildOptions, Resolved, TextTower, text, zoo};
use crate::weights::Checkpoint;
use crate::{Error, Result};
use serde_json::Value;
use std::path::Path;
use tch::Device;

/// A loaded text tower and the file it is from.
pub struct Text {
    pub tower: Box<dyn TextTower>,
    pub checkpoint: Checkpoint,
}

/// Adaptors into a joint space of images and text, the likeliest first (RADIO's default is
/// `clip`).
const JOINT: [&str; 5] = ["clip", "siglip2-g", "siglip2-so400m", "siglip2", "siglip"];

/// The model's adaptors into a joint space, the likeliest first.
pub fn likely_adaptors(model: &Resolved) -> Vec<&'static str> {
    let known = &model.backbone.info().adaptors;
    let is_known = |name: &&str| known.iter().any(|adaptor| adaptor == name);
    JOINT.into_iter().filter(is_known).collect()
}

/// The adaptor whose summary is compared with text: `asked` where the user said so.
pub fn adaptor<'a>(model: &'a Resolved, asked: Option<&'a str>) -> Result<&'a str> {
    if let Some(asked) = asked {
        return Ok(asked);
    }
    let info = model.backbone.info();
    likely_adaptors(model).first().copied().ok_or_else(|| {
        let adaptors = match info.adaptors.as_slice() {
            [] => "it has no adaptors".to_string(),
            names => format!("its adaptors are {}; --adaptor chooses one", names.join(", ")),
        };
        Error::usage(format!(
            "{} has no summary in a joint space of images and text (as CLIP and SigLIP have), which zero-shot needs; {adaptors}",
            info.architecture
        ))
    })
}

/// The text tower for `adaptor`: of the file the user named, of the model's own file (teachers),
/// or of the teacher that the adaptor imitates.
pub fn text(model: &Resolved, adaptor: &str, named: Option<&Path>, device: Device) -> Result<Text> {
    let teacher = teacher_of(&model.checkpoint.config, adaptor);
    let teacher_hints = || {
        let entry = teacher.and_then(|name| zoo::find(name).ok());
        entry.map_or(Value::Null, |entry| (entry.hints)())
    };
    let (checkpoint, hints) = if let Some(path) = named {
        let checkpoint = text::open(path)?;
        // A config tells for itself; bare tensors are what the adaptor's teacher is.
        let hints = match checkpoint.config {
            Value::Null => teacher_hints(),
            _ => Value::Null,
        };
        (checkpoint, hints)
    } else if text::present(&model.checkpoint) {
        let hints = model.entry.map_or(Value::Null, |entry| (entry.hints)());
        (model.checkpoint.clone(), hints)
    } else {
        let name = teacher.ok_or_else(|| {
            Error::usage(format!(
                "the file of {} holds no text tower, and which teacher its adaptor `{adaptor}` imitates is not known; name that teacher's weights with --text-weights",
                model.name
            ))
        })?;
        let entry = zoo::find(name)?;
        let path = locate(entry).map_err(|e| {
            Error::model(format!(
                "zero-shot with the adaptor `{adaptor}` of {} needs the text tower of its teacher {name}: {e}, or --text-weights",
                model.name
            ))
        })?;
        (text::open(&path)?, (entry.hints)())
    };
    if checkpoint.tensors().is_none() {
        return Err(Error::usage(
            "zero-shot with random weights measures nothing; name weights with --weights",
        ));
    }
    let options = BuildOptions {
        device,
        zoo_hints: hints,
        ..BuildOptions::default()
    };
    let tower = text::load(&checkpoint, &options)?;
    Ok(Text { tower, checkpoint })
}

/// Zoo name of the teacher behind a RADIO adaptor: by the model's own list of teachers (`args`:
/// `teachers: [{name, type, model, pretrained}]`), else by the adaptor's usual teacher.
fn teacher_of(config: &Value, adaptor: &str) -> Option<&'static str> {
    let teachers = [&config["teachers"], &config["args"]["teachers"]];
    let listed = teachers
        .iter()
        .filter_map(|list| list.as_array())
        .flatten()
        .find(|teacher| teacher["name"] == adaptor);
    let tag = |key: &str| listed.and_then(|teacher| teacher[key].as_str());
    match (tag("pretrained"), tag("model")) {
        (Some("openai"), _) => return Some("openai-clip-l14-336"),
        (Some("laion2b_s32b_b79k"), _) => return Some("openclip-h14"),
        (Some(metaclip), _) if metaclip.starts_with("metaclip") => return Some("metaclip-h14"),
        (Some("dfn5b"), _) => return Some("dfn-clip-h14-378"),
        (Some("webli"), Some("ViT-SO400M-14-SigLIP-384")) => return Some("siglip-so400m-384"),
        (_, Some("siglip2-g-384")) => return Some("siglip2-g-384"),
        (_, Some("siglip2-so400m")) => return Some("siglip2-so400m-naflex"),
        _ => {}
    }
    // `radio-eval distill` writes the zoo's own names.
    if let Some(Ok(entry)) = tag("model").map(zoo::find) {
        return Some(entry.name);
    }
    match adaptor {
        "clip" => Some("dfn-clip-h14-378"),
        "siglip" => Some("siglip-so400m-384"),
        "siglip2-g" => Some("siglip2-g-384"),
        "siglip2-so400m" => Some("siglip2-so400m-naflex"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::teacher_of;
    use serde_json::{Value, json};

    #[test]
    fn the_models_own_list_of_teachers_comes_first() {
        let config = json!({"args": {"teachers": [
            {"name": "dino_v2", "model": "dinov2_vitg14_reg"},
            {"name": "clip", "model": "ViT-L-14-336", "pretrained": "openai"},
        ]}});
        assert_eq!(teacher_of(&config, "clip"), Some("openai-clip-l14-336"));
        assert_eq!(teacher_of(&Value::Null, "clip"), Some("dfn-clip-h14-378"));
        assert_eq!(teacher_of(&config, "siglip2-g"), Some("siglip2-g-384"));
        assert_eq!(teacher_of(&config, "sam"), None);
    }
}
