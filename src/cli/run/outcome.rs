//! From the records of the runs to the comparison.

use super::plan::Run;
use crate::config::bench::{BenchFile, CellConfig, ColumnConfig, Role, RowConfig};
use crate::metrics;
use crate::models::zoo;
use crate::report::Record;
use crate::report::comparison::{
    ComparedCell, ComparedColumn, ComparedRow, Comparison, Measured, Reference, ReferenceKind,
};
use std::path::Path;

/// What came of a run.
#[derive(Debug, Clone)]
pub enum RunOutcome {
    Records(Vec<Record>),
    Failed(String),
    /// Not run this time.
    Open,
}

/// The table of the config with what the runs gave.
pub fn compare(file: &BenchFile, runs: &[Run], outcomes: &[RunOutcome]) -> Comparison {
    let config = &file.config;
    let columns: Vec<ComparedColumn> = config
        .columns
        .iter()
        .filter_map(|column| {
            let column = column.get_ref();
            let metric = match &column.metric {
                Some(name) => metrics::find(name)?,
                None => &metrics::PUBLISHED_ONLY,
            };
            Some(ComparedColumn {
                id: column.id.clone(),
                title: column
                    .title
                    .clone()
                    .unwrap_or_else(|| metric.title.to_string()),
                metric,
            })
        })
        .collect();
    let rows = config.rows.iter().enumerate().map(|(r, spanned)| {
        let row = spanned.get_ref();
        let entry = zoo::find(&row.model).ok();
        let cells = config.columns.iter().enumerate().map(|(c, column)| {
            let column = column.get_ref();
            let own = row.cells.get(&column.id);
            let span = own.map_or(spanned.span(), |cell| cell.span());
            let outcome = runs.iter().zip(outcomes);
            let mut outcome = outcome.filter(|(run, _)| run.cells.contains(&(r, c)));
            let outcome = outcome.next().map(|(_, outcome)| outcome);
            ComparedCell {
                line: file.line(span),
                ..cell(file, row, column, own.map(|cell| cell.get_ref()), outcome)
            }
        });
        ComparedRow {
            label: row.label().to_string(),
            model: entry.map_or(row.model.clone(), |entry| entry.name.to_string()),
            role: row.role.or(match entry.map(|entry| entry.role) {
                Some("student") => Some(Role::Student),
                Some("teacher") => Some(Role::Teacher),
                _ => None,
            }),
            parameters: entry.and_then(|entry| entry.parameters),
            resolution: row.resolution.as_ref().map_or(String::new(), |value| {
                value.as_str().map_or(value.to_string(), String::from)
            }),
            cells: cells.collect(),
        }
    });
    let mut notes = config.notes.clone();
    for row in &config.rows {
        let row = row.get_ref();
        notes.extend(
            row.note
                .iter()
                .map(|note| format!("{}: {note}", row.label())),
        );
    }
    Comparison {
        title: config.title.clone(),
        rows: rows.collect(),
        columns,
        notes,
        mode_switch_points: config.mode_switch_points,
    }
}

fn cell(
    file: &BenchFile,
    row: &RowConfig,
    column: &ColumnConfig,
    own: Option<&CellConfig>,
    outcome: Option<&RunOutcome>,
) -> ComparedCell {
    let none = CellConfig::default();
    let own = own.unwrap_or(&none);
    let metric = column.metric.as_deref().unwrap_or_default();
    let record = match outcome {
        Some(RunOutcome::Records(records)) => Some(record_of(records, row, metric)),
        _ => None,
    };
    let measured = match (&own.omit, outcome, &record) {
        (Some(reason), _, _) => Measured::Omitted(reason.clone()),
        (_, Some(RunOutcome::Failed(reason)), _) => Measured::Failed(reason.clone()),
        (_, _, Some(Err(reason))) => Measured::Failed(reason.clone()),
        (_, _, Some(Ok(record))) => Measured::Value(record.metrics[metric]),
        _ => Measured::Nothing,
    };
    let value = own.published.map(|value| (value, ReferenceKind::Published));
    let value = value.or(own.expected.map(|value| (value, ReferenceKind::Expected)));
    let source = own.source.clone().or_else(|| file.config.source.clone());
    ComparedCell {
        measured,
        reference: value.map(|(value, kind)| Reference {
            value,
            kind,
            source: source.unwrap_or_default(),
            conditions: own.conditions.clone(),
            comparable: match record {
                Some(Ok(record)) => may_compare(record, kind, metric),
                _ => false,
            },
        }),
        tolerance: own.tolerance.or(column.tolerance),
        note: own.note.clone(),
        line: 0,
    }
}

/// The one record of the row's model with the column's metric.
fn record_of<'a>(
    records: &'a [Record],
    row: &RowConfig,
    metric: &str,
) -> Result<&'a Record, String> {
    let name = match zoo::find(&row.model) {
        Ok(entry) => entry.name.to_string(),
        Err(_) => {
            let stem = Path::new(&row.model).file_stem().unwrap_or_default();
            stem.to_string_lossy().into_owned()
        }
    };
    let mut found = records
        .iter()
        .filter(|record| record.model.name == name && record.metrics.contains_key(metric));
    match (found.next(), found.next()) {
        (Some(record), None) => Ok(record),
        (None, _) => Err(format!("its run gave no {metric}")),
        (Some(_), Some(_)) => Err(format!(
            "its run gave several values of {metric}: let its options name one"
        )),
    }
}

/// A published value is compared with where the record itself found that the run meets the
/// conditions of one (src/report/published.rs); an expected value always.
fn may_compare(record: &Record, kind: ReferenceKind, metric: &str) -> bool {
    match kind {
        ReferenceKind::Expected => true,
        ReferenceKind::Published => record.published.iter().any(|p| p.metric == metric),
    }
}
