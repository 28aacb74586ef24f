//! A page with the table in it, without scripts and without the network; the table alone for the
//! report.

use super::super::table::{Cell, Table};
use super::{Renderer, text};
use crate::Result;
use std::fmt::Write;

pub struct Html;

impl Renderer for Html {
    fn name(&self) -> &'static str {
        "html"
    }

    fn title(&self) -> &'static str {
        "HTML"
    }

    fn ending(&self) -> Option<&'static str> {
        Some("html")
    }

    fn render(&self, table: &Table) -> Result<String> {
        Ok(format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n<style>{}</style>\n<main>\n{}</main>\n</html>\n",
            escape(&table.title),
            super::super::page::STYLE,
            fragment(table)
        ))
    }
}

/// Heading, table and notes.
pub fn fragment(table: &Table) -> String {
    let mut out = format!("<h2>{}</h2>\n", escape(&table.title));
    out += "<div class=\"wide\"><table>\n<thead><tr>";
    for column in &table.columns {
        let class = class(column.digits.is_some());
        let _ = write!(out, "<th{class}>{}</th>", escape(&column.title));
    }
    out += "</tr></thead>\n<tbody>\n";
    for (r, row) in table.rows.iter().enumerate() {
        out += "<tr>";
        for (c, (cell, column)) in row.iter().zip(&table.columns).enumerate() {
            let class = class(matches!(cell, Cell::Number(_)));
            let shown = with_small_interval(&escape(&text(column, cell)), cell);
            let shown = if table.is_best(r, c) {
                format!("<strong title=\"best\">{shown}</strong>")
            } else if table.is_second(r, c) {
                format!("<u title=\"second best\">{shown}</u>")
            } else {
                shown
            };
            let tag = if c == 0 { "th scope=\"row\"" } else { "td" };
            let end = if c == 0 { "th" } else { "td" };
            let _ = write!(out, "<{tag}{class}>{shown}</{end}>");
        }
        out += "</tr>\n";
    }
    out += "</tbody></table></div>\n";
    if !table.notes.is_empty() {
        out += "<ul class=\"notes\">\n";
        for note in &table.notes {
            let _ = writeln!(out, "<li>{}</li>", escape(note).replace('\n', "<br>"));
        }
        out += "</ul>\n";
    }
    out
}

fn class(is_number: bool) -> &'static str {
    match is_number {
        true => " class=\"n\"",
        false => "",
    }
}

/// `86.00 <small>[83.00, 89.00]</small>`
fn with_small_interval(shown: &str, cell: &Cell) -> String {
    match (cell, shown.split_once(" [")) {
        (Cell::Number(_), Some((value, interval))) => {
            format!("{value} <small>[{interval}</small>")
        }
        _ => shown.to_string(),
    }
}

pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
