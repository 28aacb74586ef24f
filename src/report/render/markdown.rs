//! GitHub Markdown; the best value of a column is bold, the second best slanted.

use super::super::table::Table;
use super::{Renderer, text};
use crate::Result;

pub struct Markdown;

impl Renderer for Markdown {
    fn name(&self) -> &'static str {
        "markdown"
    }

    fn title(&self) -> &'static str {
        "Markdown"
    }

    fn ending(&self) -> Option<&'static str> {
        Some("md")
    }

    fn render(&self, table: &Table) -> Result<String> {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let mut out = format!("**{}**\n\n", escape(&table.title));
        out += &line(table.columns.iter().map(|c| escape(&c.title)).collect());
        let rule = |digits: Option<usize>| if digits.is_some() { "---:" } else { "---" };
        out += &line(
            table
                .columns
                .iter()
                .map(|c| rule(c.digits).to_string())
                .collect(),
        );
        for (r, row) in table.rows.iter().enumerate() {
            let cells = row.iter().zip(&table.columns).enumerate();
            out += &line(
                cells
                    .map(|(c, (cell, column))| {
                        let shown = escape(&text(column, cell));
                        if table.is_best(r, c) {
                            format!("**{shown}**")
                        } else if table.is_second(r, c) {
                            format!("*{shown}*")
                        } else {
                            shown
                        }
                    })
                    .collect(),
            );
        }
        for note in &table.notes {
            out += &format!("\n{}\n", escape(note));
        }
        Ok(out)
    }
}

fn escape(text: &str) -> String {
    text.replace('|', "\\|")
}
