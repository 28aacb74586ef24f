//! Outcomes: the record of one cell, and the tables made from records.

pub mod builder;
pub mod columns;
pub mod comparison;
pub mod environment;
pub mod files;
pub mod html;
pub mod page;
pub mod plot;
pub mod published;
pub mod record;
pub mod render;
pub mod table;

pub use builder::RecordBuilder;
pub use comparison::Comparison;
pub use files::{write_record, write_text};
pub use record::{DataPart, Metric, ModelPart, Record};
pub use table::Table;
