//! Measured values beside published or expected ones: the table that a bench config describes.

mod summary;
mod table;

use super::record::Metric;
use crate::config::bench::Role;
use crate::metrics::Definition;
use serde::Serialize;

/// A table of cells, each with what is known of it.
#[derive(Debug, Clone)]
pub struct Comparison {
    pub title: String,
    pub columns: Vec<ComparedColumn>,
    pub rows: Vec<ComparedRow>,
    /// Lines under the table.
    pub notes: Vec<String>,
    /// A drop of more points than this between neighbouring resolutions is told.
    pub mode_switch_points: Option<f64>,
}

#[derive(Debug, Clone)]
pub struct ComparedColumn {
    pub id: String,
    pub title: String,
    pub metric: &'static Definition,
}

#[derive(Debug, Clone)]
pub struct ComparedRow {
    pub label: String,
    pub model: String,
    pub role: Option<Role>,
    pub parameters: Option<i64>,
    /// Pixels, as the config says; empty for what the model prefers.
    pub resolution: String,
    /// One for each column.
    pub cells: Vec<ComparedCell>,
}

/// What came of measuring.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measured {
    /// Not a cell of the table, or not run yet.
    #[default]
    Nothing,
    Value(Metric),
    /// Why there is no value.
    Failed(String),
    /// Why it is not measured.
    Omitted(String),
}

/// A value to compare with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reference {
    pub value: f64,
    pub kind: ReferenceKind,
    pub source: String,
    pub conditions: Option<String>,
    /// Whether the run met the conditions of the value, so that a difference means something.
    pub comparable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReferenceKind {
    Published,
    Expected,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ComparedCell {
    pub measured: Measured,
    pub reference: Option<Reference>,
    pub tolerance: Option<f64>,
    pub note: Option<String>,
    /// Line of the config that gives the reference, or the row.
    pub line: usize,
}

/// A cell that is further from its reference than its tolerance.
#[derive(Debug, Clone, PartialEq)]
pub struct Deviation {
    pub row: String,
    pub column: String,
    pub line: usize,
    /// `radio_v2.1, kNN: 85.00 measured, 86.06 published (...): 1.06 off, 0.2 allowed`
    pub sentence: String,
}

impl ComparedCell {
    pub fn value(&self) -> Option<Metric> {
        match &self.measured {
            Measured::Value(metric) => Some(*metric),
            _ => None,
        }
    }

    /// Measured minus reference, where the two may be compared.
    pub fn difference(&self) -> Option<f64> {
        let reference = self.reference.as_ref().filter(|r| r.comparable)?;
        Some(self.value()?.value - reference.value)
    }

    /// Rounding takes no cell out of tolerance that is exactly at it.
    fn is_out_of_tolerance(&self) -> bool {
        match (self.difference(), self.tolerance) {
            (Some(difference), Some(tolerance)) => difference.abs() > tolerance + 1e-9,
            _ => false,
        }
    }
}

impl Comparison {
    /// Every cell of it, with its row and its column.
    pub fn cells(&self) -> impl Iterator<Item = (&ComparedRow, &ComparedColumn, &ComparedCell)> {
        self.rows.iter().flat_map(|row| {
            let cells = row.cells.iter().zip(&self.columns);
            cells.map(move |(cell, column)| (row, column, cell))
        })
    }

    /// The cells out of tolerance.
    pub fn deviations(&self) -> Vec<Deviation> {
        let out = self
            .cells()
            .filter(|(_, _, cell)| cell.is_out_of_tolerance());
        out.filter_map(|(row, column, cell)| {
            let (reference, value) = (cell.reference.as_ref()?, cell.value()?.value);
            let digits = column.metric.digits;
            let kind = match reference.kind {
                ReferenceKind::Published => "published",
                ReferenceKind::Expected => "expected",
            };
            Some(Deviation {
                row: row.label.clone(),
                column: column.id.clone(),
                line: cell.line,
                sentence: format!(
                    "{}, {}: {value:.digits$} measured, {:.digits$} {kind} ({}): {:.digits$} off, {} allowed",
                    row.label,
                    column.title,
                    reference.value,
                    reference.source,
                    (value - reference.value).abs(),
                    cell.tolerance.unwrap_or_default()
                ),
            })
        })
        .collect()
    }

    /// Cells without a value that should have one, as sentences.
    pub fn failures(&self) -> Vec<Deviation> {
        self.cells()
            .filter_map(|(row, column, cell)| match &cell.measured {
                Measured::Failed(reason) => Some(Deviation {
                    row: row.label.clone(),
                    column: column.id.clone(),
                    line: cell.line,
                    sentence: format!("{}, {}: {reason}", row.label, column.title),
                }),
                _ => None,
            })
            .collect()
    }

    /// Everything, for programs.
    pub fn to_json(&self) -> serde_json::Value {
        let rows = self.rows.iter().map(|row| {
            let cells = self.columns.iter().zip(&row.cells).map(|(column, cell)| {
                let mut value = serde_json::json!(cell);
                value["difference"] = serde_json::json!(cell.difference());
                value["out_of_tolerance"] = cell.is_out_of_tolerance().into();
                (column.id.clone(), value)
            });
            serde_json::json!({
                "label": row.label,
                "model": row.model,
                "role": row.role,
                "parameters": row.parameters,
                "resolution": row.resolution,
                "cells": serde_json::Map::from_iter(cells),
            })
        });
        let columns = self.columns.iter().map(|column| {
            serde_json::json!({
                "id": column.id,
                "title": column.title,
                "metric": column.metric.name,
            })
        });
        serde_json::json!({
            "title": self.title,
            "columns": columns.collect::<Vec<_>>(),
            "rows": rows.collect::<Vec<_>>(),
            "summary": self.summary(),
            "notes": self.notes,
        })
    }
}
