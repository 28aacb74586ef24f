//! Pure functions on numbers.

pub mod accuracy;
pub mod bootstrap;
pub mod latency;
pub mod segmentation;
pub mod vote;
