//! Plots as SVG, made from records. A new plot is one new file.

pub mod accuracy_throughput;
pub mod latency_curve;

use crate::files::write_atomically;
use crate::{Error, Result};
use plotters::style::RGBColor;
use std::path::Path;

/// Width and height in pixels.
const SIZE: (u32, u32) = (860, 520);

/// Okabe and Ito's colours, which people with any colour vision can tell apart.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];

fn colour(index: usize) -> RGBColor {
    COLOURS[index % COLOURS.len()]
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::model(format!("cannot draw the plot: {error}"))
}

/// Writes an SVG.
pub fn save(path: &Path, svg: &str) -> Result<()> {
    write_atomically(path, svg.as_bytes())
}

/// Name of a record's line or point: model, settings that were swept, precision.
fn label(record: &super::Record) -> String {
    let mut text = record.model.name.clone();
    let settings = &record.model.settings;
    match settings.get("window") {
        None => {}
        Some(serde_json::Value::String(value)) if value == "trained" => {}
        Some(serde_json::Value::String(value)) => text.push_str(&format!(" window {value}")),
        Some(value) => text.push_str(&format!(" window {value}")),
    }
    if let Some(vitdet) = settings.get("vitdet") {
        text.push_str(&format!(" ViTDet window {}", vitdet["window"]));
    }
    format!("{text} {}", record.precision)
}
