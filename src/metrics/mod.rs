//! Pure functions on numbers, and the declaration of every metric.

pub mod accuracy;
pub mod average_precision;
pub mod benchmark;
pub mod bootstrap;
pub mod definition;
pub mod detection;
pub mod latency;
pub mod mask;
pub mod paired;
pub mod segmentation;
pub mod vote;

pub use benchmark::Benchmark;
pub use definition::{Better, Definition, PUBLISHED_ONLY, Unit, declared, find};
