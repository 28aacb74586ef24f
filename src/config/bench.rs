//! The schema of `bench-configs/*.toml`: the table that `radio-eval run` reproduces.
//!
//! docs/bench-configs.md describes it for users.

use super::toml_file;
use crate::files::text;
use crate::{Error, Result};
use indexmap::IndexMap;
use serde::Deserialize;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::{Spanned, Value};

/// Flags of a command by their names, `-` or `_` between words.
pub type Flags = IndexMap<String, Value>;

/// A table: rows of models, columns of tasks.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BenchConfig {
    pub title: String,
    /// What it reproduces, in a sentence or two.
    #[serde(default)]
    pub about: String,
    /// Where reference values were read, unless a cell says another place.
    #[serde(default)]
    pub source: Option<String>,
    /// Folder of records and tables (default: `results/` and the file's name).
    #[serde(default)]
    pub out: Option<PathBuf>,
    /// Flags of every run.
    #[serde(default)]
    pub options: Flags,
    #[serde(rename = "column")]
    pub columns: Vec<Spanned<ColumnConfig>>,
    #[serde(rename = "row")]
    pub rows: Vec<Spanned<RowConfig>>,
    #[serde(default)]
    pub notes: Vec<String>,
    /// A drop of more than so many points between neighbouring resolutions of a model is a mode
    /// switch, and told.
    #[serde(default)]
    pub mode_switch_points: Option<f64>,
}

/// What is measured.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnConfig {
    pub id: String,
    #[serde(default)]
    pub title: Option<String>,
    /// The command that measures it (`imagenet`); none: only reference values are shown.
    #[serde(default)]
    pub task: Option<String>,
    /// Metric of the record (needed with a task).
    #[serde(default)]
    pub metric: Option<String>,
    /// Flags of the command.
    #[serde(default)]
    pub options: Flags,
    /// How far a measured value may be from its reference, in the metric's unit.
    #[serde(default)]
    pub tolerance: Option<f64>,
}

/// A model under its conditions.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowConfig {
    pub model: String,
    /// Heading of the row (default: the model's name).
    #[serde(default)]
    pub label: Option<String>,
    #[serde(default)]
    pub role: Option<Role>,
    #[serde(default)]
    pub weights: Option<Value>,
    #[serde(default)]
    pub random_weights: Option<Value>,
    #[serde(default)]
    pub resolution: Option<Value>,
    #[serde(default)]
    pub precision: Option<Value>,
    #[serde(default)]
    pub window: Option<Value>,
    #[serde(default)]
    pub vitdet_window: Option<Value>,
    #[serde(default)]
    pub preset: Option<Value>,
    #[serde(default)]
    pub adaptor: Option<Value>,
    /// Flags of every run of the row.
    #[serde(default)]
    pub options: Flags,
    /// Ids of the columns it has cells in (default: all).
    #[serde(default)]
    pub columns: Option<Vec<String>>,
    /// What is said about single cells, by id of the column.
    #[serde(default)]
    pub cells: IndexMap<String, Spanned<CellConfig>>,
    #[serde(default)]
    pub note: Option<String>,
}

/// What a model is in the table's comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Student,
    Teacher,
}

/// A reference value and how it is compared.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellConfig {
    /// A published value.
    #[serde(default)]
    pub published: Option<f64>,
    /// A value that this tool is known to give: a regression test.
    #[serde(default)]
    pub expected: Option<f64>,
    #[serde(default)]
    pub source: Option<String>,
    /// What the source says it was measured under.
    #[serde(default)]
    pub conditions: Option<String>,
    /// `V`: read in the named source. Nothing else is a published value.
    #[serde(default)]
    pub trust: Option<String>,
    #[serde(default)]
    pub tolerance: Option<f64>,
    /// Why the cell is not measured.
    #[serde(default)]
    pub omit: Option<String>,
    #[serde(default)]
    pub note: Option<String>,
    /// Flags of this cell's run.
    #[serde(default)]
    pub options: Flags,
}

impl RowConfig {
    pub fn label(&self) -> &str {
        self.label.as_deref().unwrap_or(&self.model)
    }

    /// The settings that the row itself gives, by name.
    pub fn settings(&self) -> Vec<(&'static str, &Value)> {
        let all = [
            ("weights", &self.weights),
            ("random_weights", &self.random_weights),
            ("resolution", &self.resolution),
            ("precision", &self.precision),
            ("window", &self.window),
            ("vitdet_window", &self.vitdet_window),
            ("preset", &self.preset),
            ("adaptor", &self.adaptor),
        ];
        let given = all.into_iter();
        given
            .filter_map(|(name, value)| Some((name, value.as_ref()?)))
            .collect()
    }

    pub fn has_cell(&self, column: &str) -> bool {
        match &self.columns {
            Some(columns) => columns.iter().any(|own| own == column),
            None => true,
        }
    }
}

/// A bench config with its text, so that later errors can name a line too.
#[derive(Debug, Clone)]
pub struct BenchFile {
    pub path: PathBuf,
    text: String,
    pub config: BenchConfig,
}

impl BenchFile {
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(path, text::read(path)?)
    }

    /// Parses and validates; `path` is for messages.
    pub fn parse(path: &Path, text: String) -> Result<Self> {
        let config = toml_file::parse(path, &text)?;
        let file = BenchFile {
            path: path.to_path_buf(),
            text,
            config,
        };
        file.check()?;
        Ok(file)
    }

    /// An error about the part `span` of the file.
    pub fn at(&self, span: Range<usize>, reason: impl std::fmt::Display) -> Error {
        toml_file::at(&self.path, &self.text, span, reason)
    }

    /// The line that a part begins in, from 1.
    pub fn line(&self, span: Range<usize>) -> usize {
        let before = &self.text.as_bytes()[..span.start.min(self.text.len())];
        1 + before.iter().filter(|&&b| b == b'\n').count()
    }

    /// Folder of records and tables.
    pub fn out(&self) -> PathBuf {
        let stem = self.path.file_stem().unwrap_or_default();
        (self.config.out.clone()).unwrap_or_else(|| Path::new("results").join(stem))
    }

    fn check(&self) -> Result<()> {
        let config = &self.config;
        for (index, column) in config.columns.iter().enumerate() {
            let (span, column) = (column.span(), column.get_ref());
            let earlier = &config.columns[..index];
            if earlier.iter().any(|other| other.get_ref().id == column.id) {
                return Err(self.at(span, format!("two columns have the id `{}`", column.id)));
            }
            if column.task.is_some() && column.metric.is_none() {
                return Err(self.at(span, "a column with a `task` needs a `metric`"));
            }
            if column.tolerance.is_some_and(|t| t.is_nan() || t < 0.0) {
                return Err(self.at(span, "`tolerance` must be 0 or more"));
            }
        }
        for (index, row) in config.rows.iter().enumerate() {
            let (span, row) = (row.span(), row.get_ref());
            let earlier = &config.rows[..index];
            if earlier
                .iter()
                .any(|other| other.get_ref().label() == row.label())
            {
                let reason = format!("two rows are called `{}`; give each a `label`", row.label());
                return Err(self.at(span, reason));
            }
            let known = |id: &str| config.columns.iter().any(|c| c.get_ref().id == id);
            for id in row.columns.iter().flatten() {
                if !known(id) {
                    return Err(self.at(span, format!("no column has the id `{id}`")));
                }
            }
            for (id, cell) in &row.cells {
                if !known(id) {
                    return Err(self.at(cell.span(), format!("no column has the id `{id}`")));
                }
                if let Some(fault) = fault(cell.get_ref(), config.source.is_some()) {
                    return Err(self.at(cell.span(), format!("cell `{id}`: {fault}")));
                }
            }
        }
        if config.columns.is_empty() || config.rows.is_empty() {
            return Err(Error::file(
                &self.path,
                "a table needs a [[column]] and a [[row]]",
            ));
        }
        Ok(())
    }
}

/// What is wrong with a cell.
fn fault(cell: &CellConfig, has_source: bool) -> Option<String> {
    if cell.published.is_some() && cell.expected.is_some() {
        return Some("a value is `published` or `expected`, not both".into());
    }
    if cell.tolerance.is_some_and(|t| t.is_nan() || t < 0.0) {
        return Some("`tolerance` must be 0 or more".into());
    }
    cell.published?;
    match cell.trust.as_deref() {
        None | Some("V") => {}
        Some(other) => {
            return Some(format!(
                "trust = \"{other}\": only values that were read in their source (V) are published values"
            ));
        }
    }
    (cell.source.is_none() && !has_source).then(|| "a published value needs a `source`".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "title = \"t\"\nsource = \"s\"\n[[column]]\nid = \"knn\"\nmetric = \"knn_top1\"\n[[row]]\nmodel = \"mini-dino\"\n[row.cells.knn]\npublished = 1.0\ntrust = \"V\"\n";

    fn error(text: &str) -> String {
        let parsed = BenchFile::parse(Path::new("t.toml"), text.to_string());
        parsed.unwrap_err().to_string()
    }

    #[test]
    fn errors_name_their_line() {
        BenchFile::parse(Path::new("t.toml"), GOOD.into()).unwrap();
        for (from, to, expected) in [
            (
                "trust = \"V\"",
                "trust = \"U\"",
                "t.toml: line 8: cell `knn`: trust = \"U\"",
            ),
            (
                "cells.knn",
                "cells.zs",
                "t.toml: line 8: no column has the id `zs`",
            ),
            (
                "trust = \"V\"",
                "expected = 2.0",
                "t.toml: line 8: cell `knn`: a value is",
            ),
            (
                "metric =",
                "metrik =",
                "t.toml: line 5: unknown field `metrik`",
            ),
            (
                "source = \"s\"\n",
                "\n",
                "t.toml: line 8: cell `knn`: a published value needs",
            ),
            (
                "[[row]]",
                "[[column]]\nid = \"knn\"\nmetric = \"x\"\n[[row]]",
                "t.toml: line 6: two columns have the id `knn`",
            ),
        ] {
            let told = error(&GOOD.replace(from, to));
            assert!(told.starts_with(expected), "{told}");
        }
    }
}
