//! Backbones: students, teachers and users' TorchScript files behind one trait.

pub mod architecture;
pub mod attention_pool;
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
pub mod options;
pub mod pe;
pub mod positions;
pub mod radio;
pub mod radio1d;
pub mod recognise;
pub mod request;
pub mod resolve;
pub mod sam;
pub mod siglip;
pub mod student;
pub mod text;
pub mod torchscript;
pub mod vit;
pub mod zoo;

pub use architecture::{ARCHITECTURES, Architecture};
pub use backbone::{AdaptorFeatures, Backbone, BackboneInfo, Features, Intermediate};
pub use eradio::Window;
pub use options::{BuildOptions, Flag, Purpose};
pub use request::{Aggregation, AlphaScheme, Indices, IntermediateRequest, Request};
pub use resolve::{ModelSpec, Resolved, architecture_of, locate, resolve, weights_sha256};
pub use text::TextTower;
