//! What is trained or attached on top of frozen features.

pub mod adamw;
pub mod detection;
pub mod enlarged_loss;
pub mod linear_seg;
pub mod schedule;
pub mod upsample;

pub use adamw::AdamW;
pub use linear_seg::LinearSegHead;
pub use schedule::{Curve, Schedule};
