//! Numbers on the command line, within what makes sense and what a machine can hold.

pub use crate::data::image::MAX_SIDE;

use clap::builder::{RangedI64ValueParser, RangedU64ValueParser};

/// Threads of a kind: more than any machine's cores, and far below what the system gives.
pub const MAX_THREADS: usize = 1_024;
/// Images per batch.
pub const MAX_BATCH: usize = 65_536;

/// 1 to `most` of something.
pub fn count(most: usize) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=most as u64)
}

/// A length of 1 to [`MAX_SIDE`].
pub fn side() -> RangedI64ValueParser<i64> {
    RangedI64ValueParser::new().range(1..=MAX_SIDE)
}

/// A finite number above 0.
pub fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value.is_finite() => Ok(value),
        _ => Err("must be a positive number".into()),
    }
}

/// A finite number of at least 0.
pub fn not_negative(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value >= 0.0 && value.is_finite() => Ok(value),
        _ => Err("must be a number of at least 0".into()),
    }
}
