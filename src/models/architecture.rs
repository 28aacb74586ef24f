//! The list of architectures: how a checkpoint finds the code that runs it.

use super::backbone::Backbone;
use super::options::{BuildOptions, Flag};
use super::recognise;
use crate::weights::{Checkpoint, WeightSource};
use crate::{Error, Result};
use serde_json::Value;
use tch::Kind;

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

    /// Builds the network; strict about tensors. With [`crate::weights::WeightSource::Random`], sizes
    /// come from `checkpoint.config` alone.
    fn build(&self, checkpoint: &Checkpoint, options: &BuildOptions) -> Result<Box<dyn Backbone>>;

    /// The flags of single families that mean something to its networks.
    fn flags(&self) -> &'static [Flag] {
        &[]
    }

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
    // Before CLIP, whose names its tower has.
    &super::pe::PeArchitecture,
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
    if options.run_kind() != Kind::Float {
        return Err(Error::usage(
            "weights are trained in fp32; for passes in bf16 or fp16 use autocast",
        ));
    }
    if matches!(checkpoint.source, WeightSource::Random(_)) && !architecture.trains_from_scratch() {
        return Err(Error::usage(format!(
            "{name} networks are trained from a checkpoint only, not from random weights"
        )));
    }
    Ok(())
}
