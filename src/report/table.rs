//! A table as a value: made from records, turned into text by a [`super::render::Renderer`].

use super::columns;
use super::published;
use super::record::{Metric, Record};
use crate::metrics::{Better, Definition, Unit};
use indexmap::{IndexMap, IndexSet};
use serde_json::Value;

/// Conditions that belong to a model.
const WEIGHTS: &str = "weights";
const SETTING: &str = "setting:";
/// Options that belong to a model's text tower.
const TEXT: &str = "text_";

/// One column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Machine name, the CSV header.
    pub key: String,
    /// Heading for people.
    pub title: String,
    /// Digits after the point; `None` for text.
    pub digits: Option<usize>,
    /// What its numbers count, where that is declared.
    pub unit: Option<Unit>,
    /// Which direction is better, where one is; such columns get their best value marked.
    pub better: Option<Better>,
}

impl Column {
    fn text(key: &str, title: &str) -> Self {
        Column {
            key: key.to_string(),
            title: title.to_string(),
            digits: None,
            unit: None,
            better: None,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    Empty,
    Text(String),
    Number(Metric),
}

/// Rows of cells under columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    pub title: String,
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Cell>>,
    /// Lines under the table: what a mark means, where published values are from.
    pub notes: Vec<String>,
    /// Whether the second best of a column is marked too.
    pub marks_second: bool,
}

/// Records of one model under the same conditions: one row.
struct Group<'a> {
    records: Vec<&'a Record>,
}

impl Table {
    /// One row per model and conditions; records of several tasks under the same conditions share
    /// a row. Conditions (resolution, k, data set, ...) get a column where rows differ in them.
    pub fn from_records(title: &str, records: &[Record]) -> Self {
        let groups = group(records);
        let conditions: Vec<IndexMap<String, String>> =
            groups.iter().map(Group::conditions).collect();
        let names: IndexSet<&String> = conditions.iter().flat_map(IndexMap::keys).collect();
        let shown: Vec<&String> = names
            .into_iter()
            .filter(|name| is_shown(name, &conditions))
            .collect();

        let mut table = Table {
            title: title.to_string(),
            columns: shown
                .iter()
                .map(|name| Column::text(name, &columns::condition_title(name)))
                .collect(),
            rows: conditions
                .iter()
                .map(|c| {
                    let cell =
                        |name: &&String| c.get(*name).cloned().map_or(Cell::Empty, Cell::Text);
                    shown.iter().map(cell).collect()
                })
                .collect(),
            notes: Vec::new(),
            marks_second: false,
        };
        for metric in columns::in_order(records.iter().flat_map(|r| r.metrics.keys())) {
            table.push_metric(&metric, &groups);
        }
        table
    }

    /// Adds the column of `metric`, and one with published values where any row may be put beside
    /// one.
    fn push_metric(&mut self, metric: &str, groups: &[Group]) {
        let column = columns::metric_column(metric);
        let mut sources = IndexSet::new();
        let mut published_cells = Vec::with_capacity(groups.len());
        for (row, group) in self.rows.iter_mut().zip(groups) {
            let record = group
                .records
                .iter()
                .find(|r| r.metrics.contains_key(metric));
            let value = record.and_then(|r| r.metrics.get(metric));
            row.push(value.map_or(Cell::Empty, |m| Cell::Number(*m)));
            published_cells.push(match record.and_then(|r| published::beside(r, metric)) {
                None => Cell::Empty,
                Some(published) => {
                    sources.insert(format!("{}: {}", column.title, published.describe()));
                    Cell::Number(Metric::value(published.value))
                }
            });
        }
        if !sources.is_empty() {
            self.notes
                .extend(sources.into_iter().map(|s| format!("published {s}")));
            for (row, cell) in self.rows.iter_mut().zip(published_cells) {
                row.push(cell);
            }
        }
        let published = Column {
            key: format!("{metric}_published"),
            title: published::heading(metric, &column.title),
            better: None,
            ..column.clone()
        };
        let with_published = self.rows.first().map_or(0, Vec::len) > self.columns.len() + 1;
        self.columns.push(column);
        if with_published {
            self.columns.push(published);
        }
    }

    /// Only the named metric columns, with their published twins; conditions stay.
    pub fn with_metrics(mut self, metrics: &[&Definition]) -> Self {
        let keep: Vec<bool> = self
            .columns
            .iter()
            .map(|c| {
                let name = c.key.strip_suffix("_published").unwrap_or(&c.key);
                c.digits.is_none() || metrics.iter().any(|m| m.name == name)
            })
            .collect();
        let mut column = keep.iter();
        self.columns.retain(|_| column.next() == Some(&true));
        for row in &mut self.rows {
            let mut cell = keep.iter();
            row.retain(|_| cell.next() == Some(&true));
        }
        self
    }

    /// Takes a column out of the table.
    pub fn remove_column(&mut self, index: usize) -> Column {
        for row in &mut self.rows {
            row.remove(index);
        }
        self.columns.remove(index)
    }

    /// Whether the cell holds its column's best value; never with fewer than two values.
    pub fn is_best(&self, row: usize, column: usize) -> bool {
        self.place(row, column) == Some(0)
    }

    /// Whether one value alone is better, where such cells are marked; never with fewer than three
    /// values.
    pub fn is_second(&self, row: usize, column: usize) -> bool {
        self.marks_second && self.place(row, column) == Some(1) && self.values(column).len() > 2
    }

    /// How many other values of the column are better, where one can be.
    fn place(&self, row: usize, column: usize) -> Option<usize> {
        let better = self.columns.get(column)?.better?;
        let Cell::Number(own) = self.rows.get(row)?.get(column)? else {
            return None;
        };
        let values = self.values(column);
        let ahead = values.iter().filter(|&&v| better.is_better(v, own.value));
        (values.len() > 1).then(|| ahead.count())
    }

    fn values(&self, column: usize) -> Vec<f64> {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        cells
            .filter_map(|cell| match cell {
                Cell::Number(metric) => Some(metric.value),
                _ => None,
            })
            .collect()
    }
}

impl Group<'_> {
    /// What the numbers of this row were measured under, by name.
    fn conditions(&self) -> IndexMap<String, String> {
        let mut all: IndexMap<String, IndexSet<String>> = IndexMap::new();
        for record in &self.records {
            for (name, value) in conditions(record) {
                all.entry(name).or_default().insert(value);
            }
        }
        all.into_iter()
            .map(|(name, values)| (name, values.into_iter().collect::<Vec<_>>().join(", ")))
            .collect()
    }
}

/// Whether a condition gets a column. What belongs to a model (its file, its window) says nothing
/// about another model: it is shown only where rows of one model differ in it. Rows whose tasks do
/// not know the condition do not count.
fn is_shown(name: &str, conditions: &[IndexMap<String, String>]) -> bool {
    let of_model = name == WEIGHTS || name.starts_with(SETTING) || name.starts_with(TEXT);
    let knowing = || conditions.iter().filter(|c| c.contains_key(name));
    let values: IndexSet<_> = knowing()
        .map(|c| (of_model.then(|| c.get("model")), c.get(name)))
        .collect();
    let models: IndexSet<_> = knowing().map(|c| c.get("model")).collect();
    let expected = if of_model { models.len() } else { 1 };
    columns::ALWAYS_SHOWN.contains(&name) || values.len() > expected
}

/// Puts records together whose model and conditions agree and whose metrics do not collide.
fn group(records: &[Record]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group> = Vec::new();
    for record in records {
        let place = groups.iter_mut().find(|group| {
            group.records.iter().all(|other| {
                key(other) == key(record)
                    && !other
                        .metrics
                        .keys()
                        .any(|name| record.metrics.contains_key(name))
            })
        });
        match place {
            Some(group) => group.records.push(record),
            None => groups.push(Group {
                records: vec![record],
            }),
        }
    }
    groups
}

/// What two records must share to stand in one row.
fn key(record: &Record) -> impl PartialEq {
    (
        (record.model.name.clone(), record.model.weights.clone()),
        record.model.settings.clone(),
        (record.device.clone(), record.precision.clone()),
        record.resolution,
        record.data.last().map(|d| (d.name.clone(), d.path.clone())),
    )
}

/// A record's conditions in the order in which columns appear.
fn conditions(record: &Record) -> Vec<(String, String)> {
    let model = &record.model;
    let name = if model.random_weights {
        format!("{} (random weights)", model.name)
    } else {
        model.name.clone()
    };
    let (height, width) = record.resolution;
    let mut list = vec![
        ("model".to_string(), name),
        (
            "params".to_string(),
            format!("{:.1}M", model.parameters as f64 / 1e6),
        ),
        (
            "resolution".to_string(),
            if height == width {
                format!("{height}")
            } else {
                format!("{height}x{width}")
            },
        ),
    ];
    if let Some(data) = record.data.last() {
        list.push(("data".to_string(), data.name.clone()));
        list.push(("samples".to_string(), data.samples.to_string()));
    }
    list.push((
        "adaptor".to_string(),
        model.adaptor.clone().unwrap_or_else(|| "-".into()),
    ));
    list.push(("precision".to_string(), record.precision.clone()));
    list.push(("device".to_string(), record.device.clone()));
    list.push((WEIGHTS.to_string(), model.weights.clone()));
    let settings = model
        .settings
        .iter()
        .map(|(n, v)| (format!("{SETTING}{n}"), v));
    let options = record.options.iter().map(|(n, v)| (n.clone(), v));
    for (name, value) in settings.chain(options) {
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        list.push((name, text));
    }
    list
}
