//! Training a student from several frozen teachers at once (AM-RADIO, arXiv 2312.06709; PHI-S,
//! arXiv 2410.01680). What one step computes is defined in spec/distillation.md; the section of
//! each definition stands with its code.

pub mod balance;
pub mod cache;
pub mod case;
pub mod config;
pub mod dropping;
pub mod ema;
pub mod learner;
pub mod log;
pub mod losses;
pub mod objective;
pub mod optimiser;
pub mod run;
pub mod schedule;
pub mod standardise;
pub mod stream;
pub mod student;
pub mod teacher;
