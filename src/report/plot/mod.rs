//! Plots as SVG, made from records. A new plot is one new file.

pub mod accuracy_throughput;
mod axis;
mod canvas;
mod dots;
pub mod latency;
pub mod lines;
pub mod tokens;

use super::Record;
use crate::Result;
use crate::files::write_atomically;
use std::path::Path;

/// What came of a plot.
#[derive(Debug, Clone, PartialEq)]
pub enum Plot {
    Drawn {
        svg: String,
        /// What is not in it, and why: one sentence each.
        left_out: Vec<String>,
    },
    /// Why there is nothing to draw.
    Nothing(String),
}

impl Plot {
    fn drawn(svg: String) -> Self {
        Plot::Drawn {
            svg,
            left_out: Vec::new(),
        }
    }

    /// Writes the SVG; where there is none, takes away an older one, which would show other
    /// records than those beside it. Returns what the user should hear.
    pub fn save(&self, path: &Path) -> Result<Vec<String>> {
        match self {
            Plot::Drawn { svg, left_out } => {
                write_atomically(path, with_dark_mode(svg).as_bytes())?;
                Ok(left_out.clone())
            }
            Plot::Nothing(reason) => {
                let mut sentence = format!("{} is not drawn: {reason}", path.display());
                if path.exists() {
                    std::fs::remove_file(path).map_err(|e| crate::Error::file(path, e))?;
                    sentence += "; the one of an earlier run was removed";
                }
                Ok(vec![sentence])
            }
        }
    }
}

/// The plot with a style for readers in the dark: paper, ink and grid change, colours of data stay.
fn with_dark_mode(svg: &str) -> String {
    const STYLE: &str = "<style>@media(prefers-color-scheme:dark){[fill='#FFFFFF']{fill:#14171a}text,[fill='#000000']{fill:#e6e9ec}[stroke='#000000']{stroke:#e6e9ec}}</style>";
    match svg
        .find("<svg")
        .and_then(|at| Some(at + svg[at..].find('>')? + 1))
    {
        Some(end) => format!("{}{STYLE}{}", &svg[..end], &svg[end..]),
        None => svg.to_string(),
    }
}

/// What tells a record's network from another of the same name: settings that were swept.
fn variant(record: &Record) -> String {
    let mut text = record.model.name.clone();
    let settings = &record.model.settings;
    match settings.get("window") {
        None => {}
        Some(serde_json::Value::String(value)) if value == "trained" => {}
        Some(serde_json::Value::String(value)) => text += &format!(" window {value}"),
        Some(value) => text += &format!(" window {value}"),
    }
    if let Some(vitdet) = settings.get("vitdet") {
        text += &format!(" ViTDet window {}", vitdet["window"]);
    }
    text
}

/// Name of a record's line or point: model, swept settings, precision.
fn label(record: &Record) -> String {
    format!("{} {}", variant(record), record.precision)
}
