//! Facts about an architecture that configs of different layouts call by different names.

use crate::weights::{Checkpoint, Description};
use crate::{Error, Result};
use serde_json::Value;

/// The first of `names` that `config` has as a whole number.
pub fn int(config: &Value, names: &[&str]) -> Option<i64> {
    names.iter().find_map(|name| config[*name].as_i64())
}

/// The first of `names` that `config` has as a number.
pub fn float(config: &Value, names: &[&str]) -> Option<f64> {
    names.iter().find_map(|name| config[*name].as_f64())
}

/// A size that must be known and positive; `what` names it in the error.
pub fn required_size(checkpoint: &Checkpoint, what: &str, value: Option<i64>) -> Result<i64> {
    match value {
        Some(n) if n > 0 => Ok(n),
        Some(n) => Err(Error::file(
            &checkpoint.path,
            format!("the config gives {n} as the {what}; it must be positive"),
        )),
        None => Err(Error::file(
            &checkpoint.path,
            format!(
                "neither the config nor the tensors say the {what}{}; put the model's own config.json beside the weights",
                beside_weights(checkpoint)
            ),
        )),
    }
}

/// What lies beside the weights all the same, for errors about what is missing there.
pub fn beside_weights(checkpoint: &Checkpoint) -> String {
    let subjects = checkpoint.descriptions.iter().map(Description::subject);
    match subjects.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => String::new(),
        some => format!(" (there is {some}, which does not say it)"),
    }
}

/// Whether `width` splits into `heads`.
pub fn check_heads(checkpoint: &Checkpoint, width: i64, heads: i64) -> Result<()> {
    if width % heads == 0 {
        return Ok(());
    }
    Err(Error::file(
        &checkpoint.path,
        format!(
            "a width of {width} does not split into {heads} attention heads; the config does not belong to these weights"
        ),
    ))
}

/// Refuses a setting of `part` (called `name` in the config) that is none of `built` and decides
/// something: ignored, it would give plausible wrong numbers.
pub fn refuse_others(
    checkpoint: &Checkpoint,
    name: &str,
    part: &Value,
    built: &[&str],
) -> Result<()> {
    let decides = |value: &Value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::Bool(true) => true,
    };
    let fields = part.as_object().into_iter().flatten();
    for (key, value) in fields {
        if decides(value) && !built.contains(&key.as_str()) {
            let reason = format!(
                "the config sets `{name}.{key}` to {value}, which is not built here; without it the results would be those of another model"
            );
            return Err(Error::file(&checkpoint.path, reason));
        }
    }
    Ok(())
}
