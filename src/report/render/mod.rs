//! Tables as text. A new format is one file beside this one and one line in [`RENDERERS`].

mod csv;
mod html;
mod latex;
mod markdown;
mod terminal;
pub mod width;

pub use csv::to_csv;
pub use html::{escape as escape_html, fragment as html_fragment};
pub use terminal::render_within;

use super::table::{Cell, Column, Table};
use crate::Result;

pub trait Renderer: Sync {
    /// Format name (`terminal`, `markdown`, `csv`); every command that measures has a flag of that
    /// name.
    fn name(&self) -> &'static str;

    /// What people call it.
    fn title(&self) -> &'static str;

    /// Ending of its files; `None` for a format that is only printed.
    fn ending(&self) -> Option<&'static str>;

    /// Whether it is for programs, and so always has every column.
    fn is_complete(&self) -> bool {
        false
    }

    fn render(&self, table: &Table) -> Result<String>;
}

pub static TERMINAL: &dyn Renderer = &terminal::Terminal;
pub static MARKDOWN: &dyn Renderer = &markdown::Markdown;
pub static CSV: &dyn Renderer = &csv::Csv;
pub static LATEX: &dyn Renderer = &latex::Latex;
pub static HTML: &dyn Renderer = &html::Html;

/// Every format.
pub static RENDERERS: &[&dyn Renderer] = &[TERMINAL, MARKDOWN, CSV, LATEX, HTML];

/// A cell for people: fixed digits in the unit they read, the 95 % interval in brackets.
fn text(column: &Column, cell: &Cell) -> String {
    let digits = column.digits.unwrap_or(0);
    let shown = |value: f64| column.unit.map_or(value, |unit| unit.for_people(value));
    match cell {
        Cell::Empty => String::new(),
        Cell::Text(text) => text.clone(),
        Cell::Number(m) => match (m.low, m.high) {
            (Some(low), Some(high)) => {
                let (value, low, high) = (shown(m.value), shown(low), shown(high));
                format!("{value:.digits$} [{low:.digits$}, {high:.digits$}]")
            }
            _ => format!("{:.digits$}", shown(m.value)),
        },
    }
}
