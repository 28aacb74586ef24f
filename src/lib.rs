//! radio-eval: one set of benchmarks for distilled vision foundation models and their teachers.
//!
//! Data flows one way: a plan chooses model, task and data set; a [`data`] source yields encoded
//! images; a transform makes `[3,H,W]` pixels in `[0,1]`; a [`models::Backbone`] turns
//! `[B,3,H,W]` into [`models::Features`]; a task attaches a head and a metric; the outcome is a
//! [`report::Record`], and tables are made from records only.

pub mod assets;
pub mod cli;
pub mod config;
pub mod data;
pub mod distill;
pub mod error;
pub mod files;
pub mod hash;
pub mod heads;
pub mod hub;
pub mod metrics;
pub mod models;
pub mod report;
pub mod rng;
pub mod runtime;
pub mod store;
pub mod tasks;
pub mod weights;

pub use error::{Error, Result};
