//! Sentences under a comparison: students against teachers, and mode switches.

use super::{ComparedCell, ComparedColumn, ComparedRow, Comparison};
use crate::config::bench::Role;
use crate::metrics::Unit;

/// Which values of the cells are compared.
#[derive(Clone, Copy, PartialEq)]
enum Values {
    Measured,
    References,
}

impl Values {
    fn of_cell(self, cell: &ComparedCell) -> Option<f64> {
        match self {
            Values::Measured => cell.value().map(|metric| metric.value),
            Values::References => cell.reference.as_ref().map(|r| r.value),
        }
    }
}

impl Comparison {
    /// What the table says of its students, measured and by the references, and where a model
    /// falls off between neighbouring resolutions.
    pub fn summary(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (values, word) in [
            (Values::Measured, "measured"),
            (Values::References, "by the reference values"),
        ] {
            let students = self.rows.iter().filter(|r| r.role == Some(Role::Student));
            for student in students {
                if let Some(sentence) = self.against_teachers(student, values) {
                    lines.push(format!("{word}: {} {sentence}", student.label));
                }
            }
        }
        lines.extend(self.mode_switches());
        lines
    }

    /// `surpasses its teachers in 3 of 5 columns (kNN, ADE20k, VOC); speed 1.9x SAM-H`
    fn against_teachers(&self, student: &ComparedRow, values: Values) -> Option<String> {
        let teachers: Vec<&ComparedRow> = self
            .rows
            .iter()
            .filter(|row| row.role == Some(Role::Teacher))
            .collect();
        let mut compared = 0;
        let mut better: Vec<&str> = Vec::new();
        let mut speeds: Vec<String> = Vec::new();
        for (index, column) in self.columns.iter().enumerate() {
            let (Some(direction), Some(own)) =
                (column.metric.better, values.of_cell(&student.cells[index]))
            else {
                continue;
            };
            let rivals: Vec<(&str, f64)> = teachers
                .iter()
                .filter_map(|row| Some((row.label.as_str(), values.of_cell(&row.cells[index])?)))
                .collect();
            if rivals.is_empty() {
                continue;
            }
            match column.metric.unit {
                Unit::ImagesPerSecond | Unit::Milliseconds => {
                    speeds.extend(rivals.iter().map(|&(name, rival)| {
                        let ratio = match column.metric.unit {
                            Unit::Milliseconds => rival / own,
                            _ => own / rival,
                        };
                        format!("{ratio:.2}x {name}")
                    }));
                }
                _ => {
                    compared += 1;
                    if rivals
                        .iter()
                        .all(|&(_, rival)| direction.is_better(own, rival))
                    {
                        better.push(&column.title);
                    }
                }
            }
        }
        let mut parts = Vec::new();
        if compared > 0 {
            let list = match better.is_empty() {
                true => String::new(),
                false => format!(" ({})", better.join(", ")),
            };
            parts.push(format!(
                "surpasses its teachers in {} of {compared} columns{list}",
                better.len()
            ));
        }
        if !speeds.is_empty() {
            parts.push(format!("speed {}", speeds.join(", ")));
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    /// Neighbouring resolutions of one model between which a measured value drops.
    fn mode_switches(&self) -> Vec<String> {
        let Some(limit) = self.mode_switch_points else {
            return Vec::new();
        };
        let mut lines = Vec::new();
        for (index, column) in self.columns.iter().enumerate() {
            for pair in self.neighbours().windows(2) {
                let (low, high) = (pair[0], pair[1]);
                if low.model == high.model {
                    lines.extend(drop_between(column, index, low, high, limit));
                }
            }
        }
        lines
    }

    /// Rows by model, then by resolution.
    fn neighbours(&self) -> Vec<&ComparedRow> {
        let mut rows: Vec<&ComparedRow> = self.rows.iter().collect();
        let first = |row: &ComparedRow| self.rows.iter().position(|r| r.model == row.model);
        let side = |row: &ComparedRow| row.resolution.parse::<i64>().unwrap_or(0);
        rows.sort_by_key(|row| (first(row), side(row)));
        rows
    }
}

fn drop_between(
    column: &ComparedColumn,
    index: usize,
    low: &ComparedRow,
    high: &ComparedRow,
    limit: f64,
) -> Option<String> {
    let value = |row: &ComparedRow| {
        let cell = &row.cells[index];
        let measured = Values::Measured.of_cell(cell).map(|v| (v, "measured"));
        measured.or_else(|| Some((Values::References.of_cell(cell)?, "reference")))
    };
    let ((before, kind), (after, other)) = (value(low)?, value(high)?);
    let is_drop = kind == other && before - after > limit;
    is_drop.then(|| {
        format!(
            "mode switch ({kind}): {} drops by {:.1} points from {} to {} px ({}: {before:.2} to {after:.2})",
            low.model,
            before - after,
            low.resolution,
            high.resolution,
            column.title
        )
    })
}
