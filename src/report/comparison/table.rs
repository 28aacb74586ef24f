//! A comparison as a [`Table`]: up to three columns for each metric.

use super::{ComparedCell, Comparison, Measured, Reference, ReferenceKind};
use crate::report::record::Metric;
use crate::report::table::{Cell, Column, Table};
use indexmap::IndexSet;

impl Comparison {
    /// Measured values with their intervals, references beside them, and differences where the two
    /// may be compared. A column that would be empty is left out.
    pub fn to_table(&self) -> Table {
        let text = |key: &str, title: &str| Column {
            key: key.to_string(),
            title: title.to_string(),
            digits: None,
            unit: None,
            better: None,
        };
        let mut columns = vec![text("model", "model")];
        let has_size = self.rows.iter().any(|row| row.parameters.is_some());
        let has_resolution = self.rows.iter().any(|row| !row.resolution.is_empty());
        if has_size {
            columns.push(text("params", "params"));
        }
        if has_resolution {
            columns.push(text("resolution", "px"));
        }
        let mut failures: IndexSet<String> = IndexSet::new();
        let mut rows: Vec<Vec<Cell>> = Vec::new();
        for row in &self.rows {
            let mut cells = vec![Cell::Text(row.label.clone())];
            if has_size {
                let millions = |n: i64| Cell::Text(format!("{:.1}M", n as f64 / 1e6));
                cells.push(row.parameters.map_or(Cell::Empty, millions));
            }
            if has_resolution {
                cells.push(Cell::Text(row.resolution.clone()));
            }
            rows.push(cells);
        }
        for (index, column) in self.columns.iter().enumerate() {
            let cells = || self.rows.iter().map(|row| &row.cells[index]);
            let metric = column.metric;
            let of_metric = |suffix: &str, title: String, better| Column {
                key: format!("{}{suffix}", column.id),
                title,
                digits: Some(metric.digits),
                unit: Some(metric.unit),
                better,
            };
            if cells().any(|cell| !matches!(cell.measured, Measured::Nothing)) {
                columns.push(of_metric("", column.title.clone(), metric.better));
                for (row, cell) in rows.iter_mut().zip(cells()) {
                    row.push(measured(cell, &mut failures));
                }
            }
            for (kind, word) in [
                (ReferenceKind::Published, "published"),
                (ReferenceKind::Expected, "expected"),
            ] {
                let value = |cell: &ComparedCell| {
                    let reference = cell.reference.as_ref().filter(|r| r.kind == kind);
                    reference.map_or(Cell::Empty, |r| Cell::Number(Metric::value(r.value)))
                };
                if cells().any(|cell| value(cell) != Cell::Empty) {
                    let title = format!("{} ({word})", column.title);
                    columns.push(of_metric(&format!("_{word}"), title, None));
                    for (row, cell) in rows.iter_mut().zip(cells()) {
                        row.push(value(cell));
                    }
                }
            }
            if cells().any(|cell| cell.difference().is_some()) {
                columns.push(of_metric("_difference", "diff".into(), None));
                for (row, cell) in rows.iter_mut().zip(cells()) {
                    let difference = cell.difference().map(Metric::value);
                    row.push(difference.map_or(Cell::Empty, Cell::Number));
                }
            }
        }
        Table {
            title: self.title.clone(),
            columns,
            rows,
            notes: self.lines(failures),
            marks_second: true,
        }
    }

    fn lines(&self, failures: IndexSet<String>) -> Vec<String> {
        let mut lines: Vec<String> = failures
            .into_iter()
            .enumerate()
            .map(|(index, reason)| format!("[{}] {reason}", index + 1))
            .collect();
        lines.extend(self.summary());
        let references: Vec<&Reference> = self
            .cells()
            .filter_map(|(_, _, cell)| cell.reference.as_ref())
            .collect();
        for (kind, word) in [
            (ReferenceKind::Published, "published"),
            (ReferenceKind::Expected, "expected"),
        ] {
            let own = references.iter().filter(|r| r.kind == kind);
            let sources: IndexSet<&str> = own.map(|r| r.source.as_str()).collect();
            if !sources.is_empty() {
                let sources: Vec<&str> = sources.into_iter().collect();
                lines.push(format!("{word}: {}", sources.join("; ")));
            }
        }
        let measured = |cell: &ComparedCell| {
            cell.value().is_some() && cell.reference.as_ref().is_some_and(|r| !r.comparable)
        };
        if self.cells().any(|(_, _, cell)| measured(cell)) {
            lines.push(
                "no difference: the run does not meet the published value's conditions".into(),
            );
        }
        for (row, column, cell) in self.cells() {
            if let Some(note) = &cell.note {
                lines.push(format!("{}, {}: {note}", row.label, column.title));
            }
        }
        lines.extend(self.notes.iter().cloned());
        lines
    }
}

fn measured(cell: &ComparedCell, failures: &mut IndexSet<String>) -> Cell {
    match &cell.measured {
        Measured::Nothing => Cell::Empty,
        Measured::Value(metric) => Cell::Number(*metric),
        Measured::Omitted(_) => Cell::Text("-".into()),
        Measured::Failed(reason) => {
            let (index, _) = failures.insert_full(reason.clone());
            Cell::Text(format!("failed [{}]", index + 1))
        }
    }
}
