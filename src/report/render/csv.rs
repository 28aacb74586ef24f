//! CSV for programs: machine names, full precision, intervals in columns of their own.

use super::super::table::{Cell, Table};
use super::Renderer;
use crate::{Error, Result};

pub struct Csv;

impl Renderer for Csv {
    fn name(&self) -> &'static str {
        "csv"
    }

    fn title(&self) -> &'static str {
        "CSV"
    }

    fn ending(&self) -> Option<&'static str> {
        Some("csv")
    }

    fn is_complete(&self) -> bool {
        true
    }

    fn render(&self, table: &Table) -> Result<String> {
        let with_interval: Vec<bool> = (0..table.columns.len())
            .map(|c| {
                let has = |row: &Vec<Cell>| matches!(&row[c], Cell::Number(m) if m.low.is_some());
                table.rows.iter().any(has)
            })
            .collect();
        let mut header = Vec::new();
        for (column, &interval) in table.columns.iter().zip(&with_interval) {
            header.push(column.key.clone());
            if interval {
                header.push(format!("{}_low", column.key));
                header.push(format!("{}_high", column.key));
            }
        }
        let mut rows = vec![header];
        for row in &table.rows {
            let mut fields = Vec::new();
            for (cell, &interval) in row.iter().zip(&with_interval) {
                let (value, low, high) = match cell {
                    Cell::Empty => (String::new(), None, None),
                    Cell::Text(text) => (text.clone(), None, None),
                    Cell::Number(m) => (m.value.to_string(), m.low, m.high),
                };
                fields.push(value);
                if interval {
                    let bound = |b: Option<f64>| b.map_or_else(String::new, |b| b.to_string());
                    fields.push(bound(low));
                    fields.push(bound(high));
                }
            }
            rows.push(fields);
        }
        to_csv(&rows)
    }
}

/// Rows of fields as CSV text (RFC 4180 quoting).
pub fn to_csv(rows: &[Vec<String>]) -> Result<String> {
    let failed = |reason: String| Error::Model(format!("cannot make CSV: {reason}"));
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer
            .write_record(row)
            .map_err(|e| failed(e.to_string()))?;
    }
    let bytes = writer.into_inner().map_err(|e| failed(e.to_string()))?;
    String::from_utf8(bytes).map_err(|e| failed(e.to_string()))
}
