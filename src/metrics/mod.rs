//! Pure functions on numbers.

pub mod accuracy;
pub mod bootstrap;
pub mod vote;
