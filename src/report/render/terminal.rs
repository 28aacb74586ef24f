//! The table on the terminal, as wide as that is.

use super::super::columns;
use super::super::table::{Cell, Table};
use super::{Renderer, text, width};
use crate::Result;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement};
use std::fmt::Write;

pub struct Terminal;

impl Renderer for Terminal {
    fn name(&self) -> &'static str {
        "terminal"
    }

    fn title(&self) -> &'static str {
        "text"
    }

    fn ending(&self) -> Option<&'static str> {
        None
    }

    fn render(&self, table: &Table) -> Result<String> {
        Ok(render_within(table, width::available()))
    }
}

/// The table in at most `available` columns: intervals go first, then columns by
/// [`columns::least_needed`]; what is hidden is said.
pub fn render_within(table: &Table, available: Option<usize>) -> String {
    let mut shown = table.clone();
    let mut hidden: Vec<String> = Vec::new();
    let mut body = draw(&shown);
    if let Some(available) = available {
        if width::in_columns(&body) > available && without_intervals(&mut shown) {
            hidden.push("intervals".to_string());
            body = draw(&shown);
        }
        while width::in_columns(&body) > available {
            let keys: Vec<&str> = shown.columns.iter().map(|c| c.key.as_str()).collect();
            let Some(index) = columns::least_needed(&keys) else {
                break;
            };
            hidden.push(shown.remove_column(index).title);
            body = draw(&shown);
        }
    }
    let mut out = format!("{}\n{body}\n", table.title);
    let cells = || {
        let rows = 0..shown.rows.len();
        rows.flat_map(|row| (0..shown.columns.len()).map(move |column| (row, column)))
    };
    if cells().any(|(row, column)| shown.is_best(row, column)) {
        out.push_str("* best of the column");
        if cells().any(|(row, column)| shown.is_second(row, column)) {
            out.push_str(", + second best");
        }
        out.push('\n');
    }
    for note in &table.notes {
        let _ = writeln!(out, "{note}");
    }
    if let (Some(available), false) = (available, hidden.is_empty()) {
        out += &width::hidden(&hidden, available, "--csv, --markdown and --json have them");
    }
    out
}

/// Whether there were any.
fn without_intervals(table: &mut Table) -> bool {
    let mut any = false;
    for cell in table.rows.iter_mut().flatten() {
        if let Cell::Number(metric) = cell {
            any |= metric.low.is_some();
            (metric.low, metric.high) = (None, None);
        }
    }
    any
}

fn draw(table: &Table) -> String {
    let mut view = comfy_table::Table::new();
    view.load_style(UTF8_FULL_CONDENSED.with_rounded_corners())
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(table.columns.iter().map(|c| &c.title));
    for (r, row) in table.rows.iter().enumerate() {
        let cells = row.iter().zip(&table.columns).enumerate();
        view.add_row(cells.map(|(c, (cell, column))| {
            let mut shown = text(column, cell);
            if table.is_best(r, c) {
                shown.push_str(" *");
            } else if table.is_second(r, c) {
                shown.push_str(" +");
            }
            let alignment = match cell {
                Cell::Number(_) => CellAlignment::Right,
                _ => CellAlignment::Left,
            };
            comfy_table::Cell::new(shown).set_alignment(alignment)
        }));
    }
    view.to_string()
}
