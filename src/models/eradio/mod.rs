//! E-RADIO, the efficient RADIO student: two convolutional levels, two levels of windowed
//! attention, and a neck that gives stride-16 features (AM-RADIO, arXiv 2312.06709, §4.3; the
//! released network is NVlabs/RADIO `radio/eradio_model.py`; spec radio.md §3).
//!
//! ```text
//! radio-eval latency --model e-radio_v2 --resolution 224 --window optimal
//! ```
//!
//! Batch normalisation is folded into the convolutions at load, the position bias is computed
//! once per window, and maps stay in channels-last memory, where windows are cut without
//! transposing.

mod attention;
mod block;
mod config;
mod conv;
mod level;
mod neck;
mod network;
mod position;
mod shift;
mod stem;
mod windows;

pub use config::{Config, REGISTERED};
pub use network::Network;

use super::architecture::{Architecture, BuildOptions, Window};
use super::backbone::{Backbone, BackboneInfo, Features};
use super::normalise::Normalise;
use crate::weights::{Checkpoint, ParamStore, Params};
use crate::{Error, Result};
use indexmap::IndexMap;
use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

/// Is shown the name and the value of every stage's output.
pub type Tap<'a> = &'a mut dyn FnMut(std::fmt::Arguments, &Tensor);

/// Largest window that `set_optimal_window_size` chooses.
const LARGEST_OPTIMAL_WINDOW: i64 = 16;

/// Recognises and builds E-RADIO.
pub struct ERadio;

impl Architecture for ERadio {
    fn name(&self) -> &'static str {
        "e-radio"
    }

    fn recognises(&self, checkpoint: &Checkpoint) -> bool {
        Config::find(&checkpoint.config).is_some() || config::prefix(checkpoint).is_some()
    }

    fn build(&self, checkpoint: &Checkpoint, options: &BuildOptions) -> Result<Box<dyn Backbone>> {
        let config = Config::find(&checkpoint.config).unwrap_or_else(|| {
            Err(Error::file(
                &checkpoint.path,
                "these are E-RADIO's tensors, but nothing says its window and heads; put the checkpoint's args beside it as JSON, or name the model with --model e-radio_v2 --weights FILE",
            ))
        })?;
        Ok(Box::new(Model::new(checkpoint, options, config)?))
    }
}

/// A loaded E-RADIO.
struct Model {
    info: BackboneInfo,
    input_conditioner: Option<Normalise>,
    network: Network,
    window: Window,
    kind: Kind,
}

impl Model {
    fn new(checkpoint: &Checkpoint, options: &BuildOptions, config: Config) -> Result<Self> {
        let prefix = config::prefix(checkpoint).unwrap_or("");
        let store = ParamStore::new(checkpoint, options.device, options.kind);
        let network = Network::new(&below(&store, prefix), &config)?;
        let parameters = store.parameters();
        let conditioner =
            below(&store, prefix.strip_suffix("model").unwrap_or("")).pp("input_conditioner");
        let input_conditioner = if checkpoint.tensors().is_none() || conditioner.has("norm_mean") {
            let values = |name| -> Result<[f64; 3]> {
                let value = conditioner.buffer(name, &[3, 1, 1])?.flatten(0, -1);
                let values = Vec::<f64>::try_from(value)?;
                values
                    .try_into()
                    .map_err(|_| Error::model("a conditioner has three channels"))
            };
            let mean_std = (values("norm_mean")?, values("norm_std")?);
            Some(Normalise::new(mean_std, options.device, options.kind))
        } else {
            tracing::warn!(
                "{}: the file has no input_conditioner; pixels go to the network as they are",
                checkpoint.path.display()
            );
            None
        };
        store.finish(|name| is_dead(name, prefix))?;
        Ok(Model {
            info: info(
                &config,
                options.window,
                parameters,
                input_conditioner.is_some(),
            ),
            input_conditioner,
            network,
            window: options.window,
            kind: options.kind,
        })
    }
}

fn below<'a>(store: &'a ParamStore<'a>, prefix: &str) -> Params<'a> {
    store.root().pp(prefix.trim_end_matches('.'))
}

/// Tensors of a checkpoint that RADIO never reads (spec §3.6, §3.8).
fn is_dead(name: &str, prefix: &str) -> bool {
    let own = name.strip_prefix(prefix).unwrap_or(name);
    let own = own.strip_prefix('.').unwrap_or(own);
    let last = name.rsplit('.').next().unwrap_or(name);
    own.starts_with("norm.")
        || own.starts_with("head.")
        || matches!(
            last,
            "num_batches_tracked"
                | "relative_coords_table"
                | "relative_position_index"
                | "relative_bias"
                | "summary_idxs"
        )
}

fn info(config: &Config, window: Window, parameters: i64, conditioned: bool) -> BackboneInfo {
    let preferred = 512;
    let dim = config.full_features_head_dim;
    let trained = config.trained_window();
    let mut settings = Map::new();
    let (name, tokens) = match window {
        Window::Trained => ("trained".to_string(), json!(trained)),
        Window::Optimal => ("optimal".to_string(), json!("by resolution")),
        Window::Size(n) => (n.to_string(), json!(n)),
    };
    settings.insert("window".into(), Value::String(name));
    settings.insert("window_tokens".into(), tokens);
    if !conditioned {
        settings.insert("input_conditioner".into(), json!("none"));
    }
    BackboneInfo {
        architecture: format!("E-RADIO ({})", config.name),
        patch: config.patch(),
        step: config.step(),
        preferred: (preferred, preferred),
        fixed: None,
        native: None,
        summary_dim: dim,
        spatial_dim: dim,
        prefix_tokens: 0,
        adaptors: Vec::new(),
        parameters,
        settings,
    }
}

/// `set_optimal_window_size`: the largest divisor of min(H, W) / 32 that is at most 16.
pub fn optimal_window(height: i64, width: i64) -> i64 {
    let tokens = (height.min(width) / 32).max(1);
    (1..=LARGEST_OPTIMAL_WINDOW.min(tokens))
        .rev()
        .find(|w| tokens % w == 0)
        .unwrap_or(1)
}

impl Backbone for Model {
    fn info(&self) -> &BackboneInfo {
        &self.info
    }

    fn forward(&self, x: &Tensor, _adaptors: &[String]) -> Result<Features> {
        let (batch, _, height, width) = x.size4()?;
        let window = match self.window {
            Window::Trained => None,
            Window::Optimal => Some(optimal_window(height, width)),
            Window::Size(n) => Some(n),
        };
        let x = match &self.input_conditioner {
            Some(conditioner) => conditioner.forward(x),
            None => x.to_kind(self.kind),
        };
        let map = self.network.forward(&x, window, &mut |_, _| ());
        let (_, rows, columns, dim) = map.size4()?;
        let spatial = map.reshape([batch, rows * columns, dim]);
        let summary = spatial.mean_dim([1i64].as_slice(), false, None::<Kind>);
        Ok(Features {
            summary,
            spatial,
            grid: (rows, columns),
            adaptors: IndexMap::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::optimal_window;

    /// The pairs of spec radio.md §3.9.
    #[test]
    fn optimal_windows() {
        let expected = [
            (128, 4),
            (192, 6),
            (224, 7),
            (256, 8),
            (320, 10),
            (384, 12),
            (416, 13),
            (432, 13),
            (448, 14),
            (512, 16),
            (640, 10),
            (768, 12),
            (1024, 16),
        ];
        for (size, window) in expected {
            assert_eq!(optimal_window(size, size + 32), window, "{size}");
        }
    }
}
