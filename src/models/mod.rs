//! Backbones: students, teachers and users' TorchScript files behind one trait.

pub mod architecture;
pub mod backbone;
pub mod clip;
pub mod derived;
pub mod dinov2;
pub mod dinov3;
pub mod eradio;
pub mod facts;
pub mod fetch;
pub mod internvit;
pub mod layers;
pub mod normalise;
pub mod positions;
pub mod radio;
pub mod radio1d;
pub mod recognise;
pub mod request;
pub mod resolve;
pub mod sam;
pub mod siglip;
pub mod text;
pub mod torchscript;
pub mod vit;
pub mod zoo;

pub use architecture::{ARCHITECTURES, Architecture, BuildOptions, Purpose, Window};
pub use backbone::{AdaptorFeatures, Backbone, BackboneInfo, Features, Intermediate};
pub use request::{Aggregation, AlphaScheme, Indices, IntermediateRequest, Request};
pub use resolve::{ModelSpec, Resolved, resolve};
pub use text::TextTower;
