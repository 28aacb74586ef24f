//! The table on the terminal.

use super::super::table::{Cell, Table};
use super::{Renderer, text};
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
        let mut view = comfy_table::Table::new();
        view.load_style(UTF8_FULL_CONDENSED.with_rounded_corners())
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(table.columns.iter().map(|c| &c.title));
        let mut marked = false;
        for (r, row) in table.rows.iter().enumerate() {
            let cells = row.iter().zip(&table.columns).enumerate();
            view.add_row(cells.map(|(c, (cell, column))| {
                let mut shown = text(column, cell);
                if table.is_best(r, c) {
                    marked = true;
                    shown.push_str(" *");
                }
                let alignment = match cell {
                    Cell::Number(_) => CellAlignment::Right,
                    _ => CellAlignment::Left,
                };
                comfy_table::Cell::new(shown).set_alignment(alignment)
            }));
        }
        let mut out = format!("{}\n{view}\n", table.title);
        if marked {
            out.push_str("* best of the column\n");
        }
        for note in &table.notes {
            let _ = writeln!(out, "{note}");
        }
        Ok(out)
    }
}
