//! What to measure.

use crate::models::{BuildOptions, ModelSpec, Window, zoo};
use crate::runtime::Precision;
use crate::{Error, Result};
use tch::Device;

/// Images per batch.
const MAX_BATCH: i64 = 65_536;
/// Patches per side of a window; more than any picture has.
const MAX_WINDOW: i64 = 16_384;
/// Timed passes; their times are held in memory.
const MAX_ROUNDS: usize = 1_000_000;
/// Seconds of timing per case: a day.
const MAX_SECONDS: f64 = 86_400.0;

/// The sweep and how long each case may take.
#[derive(Debug, Clone)]
pub struct Options {
    pub models: Vec<ModelSpec>,
    /// (height, width); empty: each model's preferred resolution.
    pub resolutions: Vec<(i64, i64)>,
    pub batches: Vec<i64>,
    pub precisions: Vec<Precision>,
    /// E-RADIO windows to sweep; other models are built once.
    pub windows: Vec<Window>,
    /// ViTDet windows to sweep in addition to global attention (RADIO ViT).
    pub vitdet_windows: Vec<i64>,
    /// Adaptors run along with the backbone.
    pub adaptors: Vec<String>,
    pub device: Device,
    pub seed: u64,
    /// Timed rounds per case: at least `min_rounds`, then until `seconds` have passed.
    pub min_rounds: usize,
    pub seconds: f64,
    /// Model whose time is the baseline of the speed-up column.
    pub baseline: Option<String>,
    /// Replay a captured graph instead of launching operators (CUDA).
    pub cuda_graph: bool,
    /// Whether fp32 matrix products and convolutions on CUDA may use TF32.
    pub tf32: bool,
    /// Print where the time goes, by operator.
    pub profile: bool,
}

/// One network to build: a model with one setting of the swept build options.
#[derive(Debug, Clone)]
pub struct Variant {
    pub spec: ModelSpec,
    pub window: Window,
    pub vitdet_window: Option<i64>,
}

impl Variant {
    pub fn label(&self) -> String {
        let mut label = self.spec.model.clone();
        match self.window {
            Window::Trained => {}
            Window::Optimal => label.push_str(" window=optimal"),
            Window::Size(n) => label.push_str(&format!(" window={n}")),
        }
        if let Some(n) = self.vitdet_window {
            label.push_str(&format!(" vitdet={n}"));
        }
        label
    }

    pub fn build_options(&self, device: Device, precision: Precision) -> BuildOptions {
        BuildOptions {
            device,
            kind: precision.kind(),
            window: self.window,
            vitdet_window: self.vitdet_window,
            ..BuildOptions::default()
        }
    }
}

impl Options {
    pub fn check(&self) -> Result<()> {
        let outside = |values: &[i64], most: i64| {
            let outside = |value: &&i64| !(1..=most).contains(*value);
            values.iter().find(outside).copied()
        };
        if let Some(batch) = outside(&self.batches, MAX_BATCH) {
            return Err(Error::usage(format!(
                "--batch {batch}: a batch has at least one image, and at most {MAX_BATCH}"
            )));
        }
        if let Some(window) = outside(&self.vitdet_windows, MAX_WINDOW) {
            return Err(Error::usage(format!(
                "--vitdet-window {window}: use 1 to {MAX_WINDOW} patches"
            )));
        }
        if !(1..=MAX_ROUNDS).contains(&self.min_rounds) {
            return Err(Error::usage(format!(
                "--rounds {}: use 1 to {MAX_ROUNDS}",
                self.min_rounds
            )));
        }
        if !(0.0..=MAX_SECONDS).contains(&self.seconds) {
            return Err(Error::usage(format!(
                "--seconds {}: use 0 to {MAX_SECONDS}",
                self.seconds
            )));
        }
        if self.cuda_graph && !self.device.is_cuda() {
            return Err(Error::usage("--cuda-graph needs --device cuda"));
        }
        if let Some(baseline) = &self.baseline
            && !self.models.iter().any(|m| &m.model == baseline)
        {
            return Err(Error::usage(format!(
                "--baseline {baseline} is not one of the measured models; add it with --model"
            )));
        }
        Ok(())
    }

    /// Every network to build. Windows are swept only where the name is an E-RADIO's, ViTDet
    /// windows only where it is not: the other combinations do not exist.
    pub fn variants(&self) -> Vec<Variant> {
        let mut variants = Vec::new();
        for spec in &self.models {
            let has_window = zoo::normalise(&spec.model).starts_with("eradio");
            let windows: &[Window] = if has_window {
                &self.windows
            } else {
                &[Window::Trained]
            };
            for &window in windows {
                variants.push(Variant {
                    spec: spec.clone(),
                    window,
                    vitdet_window: None,
                });
            }
            if !has_window {
                variants.extend(self.vitdet_windows.iter().map(|&n| Variant {
                    spec: spec.clone(),
                    window: Window::Trained,
                    vitdet_window: Some(n),
                }));
            }
        }
        variants
    }

    /// (resolution, batch) in the order measured; `None` stands for the preferred resolution.
    pub fn shapes(&self) -> Vec<(Option<(i64, i64)>, i64)> {
        let resolutions: Vec<Option<(i64, i64)>> = if self.resolutions.is_empty() {
            vec![None]
        } else {
            self.resolutions.iter().copied().map(Some).collect()
        };
        resolutions
            .iter()
            .flat_map(|&r| self.batches.iter().map(move |&b| (r, b)))
            .collect()
    }
}
