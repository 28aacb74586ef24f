//! E-RADIO, the efficient RADIO student: two convolutional levels, two levels of windowed
//! attention, and a neck that gives stride-16 features (AM-RADIO, arXiv 2312.06709, §4.3; the
//! released network is NVlabs/RADIO `radio/eradio_model.py`; spec radio.md §3).
//!
//! ```text
//! radio-eval latency --model e-radio_v2 --resolution 224 --window optimal
//! ```
//!
//! For inference, batch normalisation is folded into the convolutions at load and the position bias
//! computed once per window; and maps stay in channels-last memory, where windows are cut without
//! transposing.

mod attention;
mod block;
mod config;
mod conv;
mod level;
mod load;
mod neck;
mod network;
mod position;
mod shift;
mod stem;
mod windows;

pub use config::{Config, REGISTERED};
pub use load::ERadio;
pub use network::Network;

use super::backbone::{Backbone, BackboneInfo, Features, Intermediate};
use super::dense::{LastBlock, TextAligned, TextFamily};
use super::normalise::Normalise;
use super::request::{Aggregation, BlockPlan, Request};
use super::student::adaptor::{self, Adaptor};
use super::student::normalizer::FeatureNormalizer;
use crate::weights::Trainable;
use crate::{Error, Result};
use tch::{Kind, Tensor};

/// The attention window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Window {
    /// The window the weights were trained with.
    #[default]
    Trained,
    /// The largest divisor of min(H,W)/32 that is at most 16 (`set_optimal_window_size`).
    Optimal,
    Size(i64),
}

/// What may be chosen for E-RADIO alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// `None`: as trained.
    pub window: Option<Window>,
}

/// Is shown the name and the value of every stage's output.
pub type Tap<'a> = &'a mut dyn FnMut(std::fmt::Arguments, &Tensor);

/// Largest window that `set_optimal_window_size` chooses.
const LARGEST_OPTIMAL_WINDOW: i64 = 16;

/// A loaded E-RADIO.
struct Model {
    info: BackboneInfo,
    /// `None` where the file has none: the network alone.
    input_conditioner: Option<Normalise>,
    network: Network,
    feature_normalizer: Option<FeatureNormalizer>,
    adaptors: Vec<Adaptor>,
    window: Window,
    kind: Kind,
    trainable: Option<Trainable>,
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

    fn trainable(&self) -> Option<&Trainable> {
        self.trainable.as_ref()
    }

    fn text_aligned(&self) -> Option<&dyn TextAligned> {
        Some(self)
    }

    fn forward(&self, x: &Tensor, request: &Request) -> Result<Features> {
        let levels = self.network.depth();
        let plan = BlockPlan::new(request, levels)?;
        let dense = |r: &super::IntermediateRequest| r.aggregation == Aggregation::Dense;
        if levels > 1 && request.intermediates.as_ref().is_some_and(dense) {
            return Err(Error::usage(
                "E-RADIO's levels differ in grid and width and have no mean; ask for sparse intermediate features",
            ));
        }
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
        let mut intermediates = Vec::new();
        let mut see_level = |level: usize, map: &Tensor| {
            if plan.is_chosen(level) {
                let size = map.size();
                let spatial = map.flatten(2, 3).transpose(1, 2);
                intermediates.push(Intermediate {
                    block: level,
                    summary: Some(spatial.mean_dim(1, false, None)),
                    spatial,
                    grid: (size[2], size[3]),
                });
            }
        };
        let map = self
            .network
            .forward(&x, window, &mut see_level, &mut |_, _| ());
        let (_, rows, columns, dim) = map.size4()?;
        let mut spatial = map.reshape([batch, rows * columns, dim]);
        let summary = spatial.mean_dim([1i64].as_slice(), false, None::<Kind>);
        if let Some(normalizer) = &self.feature_normalizer {
            spatial = normalizer.forward(&spatial);
        }
        let grid = (rows, columns);
        // Every adaptor reads the one summary, whatever its head index says.
        let adaptors = self
            .adaptors
            .iter()
            .filter(|adaptor| request.wants(&adaptor.name))
            .map(|a| (a.name.clone(), a.forward(&summary, &spatial, grid)))
            .collect();
        Ok(Features {
            summary,
            spatial,
            grid,
            adaptors,
            intermediates,
        })
    }
}

/// Its summary is the mean of its patch features, so the summary head knows their space.
impl TextAligned for Model {
    fn family(&self) -> TextFamily {
        TextFamily::ERadio
    }

    fn tokens(&self, x: &Tensor, last: &LastBlock) -> Result<(Tensor, (i64, i64))> {
        if !last.is_ordinary() {
            return Err(Error::usage(
                "E-RADIO's last block attends inside windows and cannot be changed; use --method plain",
            ));
        }
        let features = self.forward(x, &Request::default())?;
        Ok((features.spatial, features.grid))
    }

    fn align(&self, tokens: &Tensor, adaptor: &str) -> Result<Tensor> {
        adaptor::align(&self.adaptors, tokens, adaptor)
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
