//! Outcomes: the record of one cell, and the tables made from records.

pub mod builder;
pub mod columns;
pub mod environment;
pub mod files;
pub mod plot;
pub mod published;
pub mod record;
pub mod render;
pub mod table;

pub use builder::RecordBuilder;
pub use files::{write_record, write_text};
pub use record::{DataPart, Metric, ModelPart, Record};
pub use table::Table;
