//! Outcomes: the record of one cell, and the tables made from records.

pub mod record;

pub use record::{Metric, Record};
