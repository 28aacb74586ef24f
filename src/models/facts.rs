//! Facts about an architecture that configs of different layouts call by different names.

use crate::weights::Checkpoint;
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
pub fn known(checkpoint: &Checkpoint, what: &str, value: Option<i64>) -> Result<i64> {
    match value {
        Some(n) if n > 0 => Ok(n),
        Some(n) => Err(Error::file(
            &checkpoint.path,
            format!("the config gives {n} as the {what}; it must be positive"),
        )),
        None => Err(Error::file(
            &checkpoint.path,
            format!(
                "neither the config nor the tensors say the {what}; put the model's config.json beside the weights"
            ),
        )),
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
