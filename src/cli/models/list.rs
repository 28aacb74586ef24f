//! The list of models: as many columns as the terminal has room for.

use super::Row;
use crate::metrics::Definition;
use crate::metrics::accuracy::{KNN_TOP1, ZERO_SHOT_TOP1};
use crate::metrics::mask::SAM_IOU;
use crate::metrics::segmentation::MIOU;
use crate::report::render::width;
use comfy_table::{CellAlignment, Table, presets::NOTHING};

/// A column: heading, whether its cells stand at the right, what it says of a model.
struct Column {
    title: &'static str,
    right: bool,
    cell: fn(&Row) -> String,
}

/// In the order shown.
const COLUMNS: [Column; 13] = [
    column("name", false, |row| row.name.to_string()),
    column("role", false, |row| row.role.to_string()),
    column("params M", true, Row::millions),
    column("patch", true, |row| row.patch.to_string()),
    column("step", true, |row| row.step.to_string()),
    column("resolution", true, Row::resolution),
    column("adaptors", false, |row| row.adaptors.join(" ")),
    column("weights", false, |row| match row.weights {
        Some(_) => "here".to_string(),
        None => "not here".to_string(),
    }),
    column("kNN", true, |row| figure(row, &KNN_TOP1)),
    column("zero-shot", true, |row| figure(row, &ZERO_SHOT_TOP1)),
    column("ADE20k", true, |row| figure(row, &MIOU)),
    column("SAM-COCO", true, |row| figure(row, &SAM_IOU)),
    // Its name; what it allows is told of one model.
    column("licence", false, |row| {
        let name = row.licence.split(" (").next();
        name.unwrap_or_default().to_string()
    }),
];

/// Its own, since it is the widest.
const SOURCE: Column = column("from", false, Row::source);

/// Headings of what goes first where there is no room, the first of all first.
const LEAST: [&str; 12] = [
    "from",
    "adaptors",
    "patch",
    "step",
    "SAM-COCO",
    "role",
    "zero-shot",
    "ADE20k",
    "resolution",
    "kNN",
    "params M",
    "licence",
];

const fn column(title: &'static str, right: bool, cell: fn(&Row) -> String) -> Column {
    Column { title, right, cell }
}

/// A representative published figure: the first of the metric on its usual benchmark.
fn figure(row: &Row, metric: &Definition) -> String {
    let found = row.published.iter().find(|p| {
        p.metric.name == metric.name
            && p.benchmark.map(|b| b.name) == metric.benchmark.map(|b| b.name)
    });
    found.map_or(String::new(), |p| format!("{:.2}", p.value))
}

/// The table, what was left out for the terminal's width, and the sources of published figures.
pub fn text(rows: &[Row]) -> String {
    let all: Vec<&Column> = COLUMNS.iter().chain([&SOURCE]).collect();
    let mut left_out: Vec<&str> = Vec::new();
    let mut text = table(rows, &all);
    if let Some(columns) = width::available() {
        for title in LEAST {
            if width::in_columns(&text) <= columns {
                break;
            }
            left_out.push(title);
            let shown = all.iter().copied();
            let shown: Vec<&Column> = shown.filter(|c| !left_out.contains(&c.title)).collect();
            text = table(rows, &shown);
        }
        if !left_out.is_empty() {
            let titles: Vec<String> = left_out.iter().map(ToString::to_string).collect();
            text += "\n";
            text += &width::hidden(
                &titles,
                columns,
                "a wider terminal, `models NAME` or --json",
            );
        }
    }
    if rows.iter().any(|row| !row.published.is_empty()) {
        text += "\nPublished figures in percent, one of each kind; `radio-eval models NAME` has all of them, with sources and conditions.\n";
    }
    text
}

fn table(rows: &[Row], columns: &[&Column]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|c| c.title));
    for (index, column) in columns.iter().enumerate() {
        if let (true, Some(column)) = (column.right, table.column_mut(index)) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for row in rows {
        table.add_row(columns.iter().map(|column| (column.cell)(row)));
    }
    format!("{}\n", table.trim_fmt())
}
