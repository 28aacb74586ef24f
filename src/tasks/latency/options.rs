//! What to measure.

use crate::models::radio1d::{CodeOptions, MOST_TOKENS};
use crate::models::{self, BuildOptions, Flag, ModelSpec, Window, eradio, radio, zoo};
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
    /// E-RADIO windows to sweep (none: as trained); other models are built once.
    pub windows: Vec<Window>,
    /// ViTDet windows to sweep in addition to global attention (RADIO ViT).
    pub vitdet_windows: Vec<i64>,
    /// Lengths of the code to sweep (RADIO1D; none: as many tokens as there are).
    pub tokens: Vec<i64>,
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
    /// E-RADIO only.
    pub window: Option<Window>,
    pub vitdet_window: Option<i64>,
    /// RADIO1D only.
    pub tokens: Option<i64>,
}

impl Variant {
    pub fn label(&self) -> String {
        let mut label = self.spec.model.clone();
        match self.window {
            None | Some(Window::Trained) => {}
            Some(Window::Optimal) => label.push_str(" window=optimal"),
            Some(Window::Size(n)) => label.push_str(&format!(" window={n}")),
        }
        if let Some(n) = self.vitdet_window {
            label.push_str(&format!(" vitdet={n}"));
        }
        if let Some(n) = self.tokens {
            label.push_str(&format!(" tokens={n}"));
        }
        label
    }

    pub fn build_options(&self, device: Device, precision: Precision) -> BuildOptions {
        BuildOptions {
            device,
            kind: Some(precision.kind()),
            radio: radio::Options {
                vitdet_window: self.vitdet_window,
                ..Default::default()
            },
            eradio: eradio::Options {
                window: self.window,
            },
            radio1d: CodeOptions {
                tokens: self.tokens,
                ..Default::default()
            },
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
        if let Some(tokens) = outside(&self.tokens, MOST_TOKENS) {
            return Err(Error::usage(format!(
                "--tokens {tokens}: use 1 to {MOST_TOKENS} tokens"
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
        if !self.windows.is_empty() && !self.models.iter().any(has_window) {
            return Err(Error::usage(
                "--window does nothing: none of these models is an E-RADIO; leave it out",
            ));
        }
        if !self.vitdet_windows.is_empty() && self.models.iter().all(has_window) {
            return Err(Error::usage(
                "--vitdet-window does nothing: every one of these models is an E-RADIO; leave it out",
            ));
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

    /// Every network to build. Windows are swept only where the name is an E-RADIO's, tokens only
    /// where the network makes a code, ViTDet windows only where it is neither: the other
    /// combinations do not exist.
    ///
    /// # Errors
    /// [`Error::Usage`] where no network makes a code of --tokens.
    pub fn variants(&self) -> Result<Vec<Variant>> {
        let mut variants = Vec::new();
        for spec in &self.models {
            let mut vary = |window: Option<Window>, vitdet_window: Option<i64>| {
                variants.push(Variant {
                    spec: spec.clone(),
                    window,
                    vitdet_window,
                    tokens: None,
                });
            };
            if !self.tokens.is_empty() && makes_code(spec)? {
                variants.extend(self.tokens.iter().map(|&tokens| Variant {
                    spec: spec.clone(),
                    window: None,
                    vitdet_window: None,
                    tokens: Some(tokens),
                }));
            } else if !has_window(spec) {
                vary(None, None);
                self.vitdet_windows
                    .iter()
                    .for_each(|&n| vary(None, Some(n)));
            } else if self.windows.is_empty() {
                vary(None, None);
            } else {
                self.windows.iter().for_each(|&w| vary(Some(w), None));
            }
        }
        if !self.tokens.is_empty() && variants.iter().all(|variant| variant.tokens.is_none()) {
            return Err(Error::usage(
                "--tokens does nothing: none of these models makes a code of tokens (RADIO1D); leave it out",
            ));
        }
        Ok(variants)
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

/// Whether the length of a model's code can be chosen.
fn makes_code(spec: &ModelSpec) -> Result<bool> {
    let architecture = models::architecture_of(spec)?;
    Ok(architecture.flags().contains(&Flag::Tokens))
}

/// Whether a model attends in windows of E-RADIO's kind, by its name.
fn has_window(spec: &ModelSpec) -> bool {
    zoo::normalise(&spec.model).starts_with("eradio")
}
