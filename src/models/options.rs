//! What a user may choose when a network is built: for every architecture, and for one family
//! only. An architecture refuses what it does not know ([`Flag`]).

use super::architecture::{ARCHITECTURES, Architecture};
use super::{clip, eradio, radio, radio1d, torchscript};
use crate::runtime::Precision;
use crate::weights::Registry;
use crate::weights::spectral::Rule;
use crate::{Error, Result};
use serde_json::{Value, json};
use tch::{Device, Kind};

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
    /// `None`: what the file is meant to run in, else fp32.
    pub kind: Option<Kind>,
    pub purpose: Purpose,
    /// Instead of the pixel statistics that come with the weights, per channel for `[0,1]`.
    pub mean: Option<[f64; 3]>,
    pub std: Option<[f64; 3]>,
    /// LayerNorm eps in the attention head of an adaptor (RADIO, E-RADIO, RADIO1D): 1e-6
    /// (default), or 1e-5 as with timm <= 1.0.15.
    pub attention_head_eps: Option<f64>,
    pub radio: radio::Options,
    pub radio1d: radio1d::CodeOptions,
    pub eradio: eradio::Options,
    pub clip: clip::Options,
    /// What the user says about a TorchScript file.
    pub torchscript: torchscript::Declared,
    /// Facts the zoo knows and the file does not; `Null` for a path.
    pub zoo_hints: Value,
}

impl Default for BuildOptions {
    fn default() -> Self {
        BuildOptions {
            device: Device::Cpu,
            kind: None,
            purpose: Purpose::default(),
            mean: None,
            std: None,
            attention_head_eps: None,
            radio: radio::Options::default(),
            radio1d: radio1d::CodeOptions::default(),
            eradio: eradio::Options::default(),
            clip: clip::Options::default(),
            torchscript: torchscript::Declared::default(),
            zoo_hints: Value::Null,
        }
    }
}

/// A flag that only some architectures know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    AttentionHeadEps,
    LastTokens,
    Neck,
    Nhwc,
    PosAlignCorners,
    Step,
    Tokens,
    TokensBeforeNorm,
    VitdetWindow,
    Window,
}

impl Flag {
    pub fn name(self) -> &'static str {
        match self {
            Flag::AttentionHeadEps => "--attention-head-eps",
            Flag::LastTokens => "--last-tokens",
            Flag::Neck => "--neck",
            Flag::Nhwc => "--nhwc",
            Flag::PosAlignCorners => "--pos-align-corners",
            Flag::Step => "--step",
            Flag::Tokens => "--tokens",
            Flag::TokensBeforeNorm => "--tokens-before-norm",
            Flag::VitdetWindow => "--vitdet-window",
            Flag::Window => "--window",
        }
    }
}

/// A setting that a flag decided, for records: no published figure stands beside such a run
/// ([`is_by_flag`]).
pub fn by_flag(value: impl Into<Value>) -> Value {
    json!({"value": value.into(), "from": "flag"})
}

/// Whether a setting is one of [`by_flag`].
pub fn is_by_flag(setting: &Value) -> bool {
    setting["from"] == "flag"
}

impl BuildOptions {
    /// What it runs in where no file says what it is meant for.
    pub fn run_kind(&self) -> Kind {
        self.kind.unwrap_or(Kind::Float)
    }

    pub fn run_precision(&self) -> Precision {
        Precision::from_kind(self.run_kind())
    }

    /// The flags of single families that were given.
    fn given_flags(&self) -> Vec<Flag> {
        let flags = [
            (Flag::AttentionHeadEps, self.attention_head_eps.is_some()),
            (Flag::LastTokens, self.radio1d.last),
            (Flag::Neck, self.radio1d.neck.is_some()),
            (Flag::Nhwc, self.torchscript.layout.is_some()),
            (
                Flag::PosAlignCorners,
                self.radio.pos_align_corners.is_some(),
            ),
            (Flag::Step, self.torchscript.step.is_some()),
            (Flag::Tokens, self.radio1d.tokens.is_some()),
            (Flag::TokensBeforeNorm, self.clip.tokens_before_norm),
            (Flag::VitdetWindow, self.radio.vitdet_window.is_some()),
            (Flag::Window, self.eradio.window.is_some()),
        ];
        let given = flags.into_iter().filter(|(_, given)| *given);
        given.map(|(flag, _)| flag).collect()
    }

    /// An error naming a flag that would do nothing to a network of `architecture`.
    pub(super) fn check_flags(&self, architecture: &dyn Architecture) -> Result<()> {
        let known = architecture.flags();
        let Some(flag) = self
            .given_flags()
            .into_iter()
            .find(|flag| !known.contains(flag))
        else {
            return Ok(());
        };
        let knowing = ARCHITECTURES.iter().filter(|a| a.flags().contains(&flag));
        let knowing: Vec<_> = knowing.map(|a| a.name()).collect();
        Err(Error::usage(format!(
            "{} does nothing to a {} network; it is for {}: leave it out, or name those models in a command of their own",
            flag.name(),
            architecture.name(),
            knowing.join(", ")
        )))
    }

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
