//! The list of architectures: how a checkpoint finds the code that runs it.

use super::backbone::Backbone;
use super::recognise;
use crate::weights::spectral::Rule;
use crate::weights::{Checkpoint, Registry, Source};
use crate::{Error, Result};
use serde_json::Value;
use tch::{Device, Kind};

/// E-RADIO's attention window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Window {
    /// The window the weights were trained with.
    #[default]
    Trained,
    /// The largest divisor of min(H,W)/32 that is at most 16 (`set_optimal_window_size`).
    Optimal,
    Size(i64),
}

/// What a network is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Purpose {
    /// Constants are folded into weights, weights packed, tables kept: fast, and fixed.
    #[default]
    Inference,
    /// Every parameter is an fp32 leaf of its own that gathers gradients; nothing is computed from
    /// one before the pass that needs it. The network can be saved
    /// ([`Backbone::trainable`](super::Backbone::trainable)).
    Training,
}

/// What the user may choose when a network is built.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    pub device: Device,
    pub kind: Kind,
    pub purpose: Purpose,
    /// Overrides the zoo entry's rule for interpolating positions (RADIO ViT).
    pub pos_align_corners: Option<bool>,
    pub window: Window,
    /// ViTDet window in patches (RADIO ViT); tightens the resolution step.
    pub vitdet_window: Option<i64>,
    /// Patch tokens of CLIP teachers after (default) or before `ln_post` (spec teachers.md §0.3).
    pub tokens_before_norm: bool,
    /// What the user says about a TorchScript file.
    pub torchscript: super::torchscript::Given,
    /// LayerNorm eps in RADIO's attention head: 1e-6 (default), or 1e-5 as with timm <= 1.0.15.
    pub attention_head_eps: Option<f64>,
    /// Code length and neck (RADIO1D).
    pub radio1d: super::radio1d::Given,
    /// Facts the zoo knows and the file does not; `Null` for a path.
    pub zoo_hints: serde_json::Value,
}

impl Default for BuildOptions {
    fn default() -> Self {
        BuildOptions {
            device: Device::Cpu,
            kind: Kind::Float,
            purpose: Purpose::default(),
            pos_align_corners: None,
            window: Window::default(),
            vitdet_window: None,
            tokens_before_norm: false,
            torchscript: super::torchscript::Given::default(),
            attention_head_eps: None,
            radio1d: super::radio1d::Given::default(),
            zoo_hints: serde_json::Value::Null,
        }
    }
}

impl BuildOptions {
    /// Where parameters are noted while a network is built for training.
    pub(super) fn registry(&self) -> Option<Registry> {
        self.registry_with(|_| Rule::default())
    }

    /// The same for weights that may be spectrally reparametrised.
    pub(super) fn registry_with(
        &self,
        rule_of: impl Fn(&str) -> Rule + 'static,
    ) -> Option<Registry> {
        (self.purpose == Purpose::Training).then(|| Registry::new(rule_of))
    }
}

/// A family of networks that one file of code can run.
pub trait Architecture: Sync {
    /// Short name, as in records (`radio-vit`, `e-radio`, `clip`, ...).
    fn name(&self) -> &'static str;

    /// Whether `checkpoint` holds such a network: by its config or args, else by its keys.
    fn recognises(&self, checkpoint: &Checkpoint) -> bool;

    /// Whether `config` is in this architecture's own words: what lies beside weights, or inside
    /// them, may as well be a trainer's settings or of another model.
    fn describes(&self, config: &Value) -> bool;

    /// Names of tensors by which files of this architecture are known, for messages.
    fn landmarks(&self) -> &'static [&'static str] {
        &[]
    }

    /// Builds the network; strict about tensors. With [`crate::weights::Source::Random`], sizes
    /// come from `checkpoint.config` alone.
    fn build(&self, checkpoint: &Checkpoint, options: &BuildOptions) -> Result<Box<dyn Backbone>>;

    /// Whether its networks can be built for training.
    fn trains(&self) -> bool {
        true
    }

    /// Whether one drawn at random can be trained: its tensors under our names must be a layout
    /// that loading takes for the same network.
    fn trains_from_scratch(&self) -> bool {
        false
    }
}

/// Every architecture; the first that recognises a checkpoint builds it.
pub static ARCHITECTURES: &[&dyn Architecture] = &[
    &super::dinov2::DinoV2Architecture,
    &super::eradio::ERadio,
    &super::clip::ClipArchitecture,
    &super::torchscript::TorchScript,
    // Before the ViT, whose patch generator it shares.
    &super::radio1d::Radio1dArchitecture,
    &super::radio::RadioArchitecture,
    &super::sam::SamArchitecture,
    &super::siglip::SiglipArchitecture,
    &super::dinov3::DinoV3Architecture,
    &super::internvit::InternVitArchitecture,
];

/// Builds whatever network `checkpoint` holds.
pub fn build(checkpoint: &Checkpoint, options: &BuildOptions) -> Result<Box<dyn Backbone>> {
    recognise::find(checkpoint)?.build(options)
}

/// Whether a network of this architecture can be built for training from `checkpoint`.
pub(super) fn check_trainable(
    architecture: &dyn Architecture,
    checkpoint: &Checkpoint,
    options: &BuildOptions,
) -> Result<()> {
    let name = architecture.name();
    if !architecture.trains() {
        return Err(Error::usage(format!("{name} networks cannot be trained")));
    }
    if options.kind != Kind::Float {
        return Err(Error::usage(
            "weights are trained in fp32; for passes in bf16 or fp16 use autocast",
        ));
    }
    if matches!(checkpoint.source, Source::Random(_)) && !architecture.trains_from_scratch() {
        return Err(Error::usage(format!(
            "{name} networks are trained from a checkpoint only, not from random weights"
        )));
    }
    Ok(())
}
