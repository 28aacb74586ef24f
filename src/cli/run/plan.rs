//! From a bench config to the commands that fill its cells.

use super::tasks::{self, TaskCommand};
use crate::cli::Cli;
use crate::config::bench::{BenchFile, ColumnConfig, Flags, RowConfig};
use crate::hash::sha256;
use crate::{Error, Result, assets, metrics};
use clap::CommandFactory;
use indexmap::IndexMap;
use std::ops::Range;
use toml::Value;

/// One command and the cells that its records fill.
#[derive(Debug)]
pub struct Run {
    pub task: &'static TaskCommand,
    pub models: Vec<String>,
    /// Flags without the model's and without `--out`.
    pub flags: IndexMap<String, Vec<String>>,
    /// (row, column)
    pub cells: Vec<(usize, usize)>,
}

impl Run {
    /// The words after `radio-eval`, without `--out`.
    pub fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = self.task.name.split(' ').map(String::from).collect();
        words.extend(["--model".to_string(), self.models.join(",")]);
        for (flag, values) in &self.flags {
            words.push(match values.as_slice() {
                [] => format!("--{flag}"),
                values => format!("--{flag}={}", values.join(",")),
            });
        }
        words
    }

    /// Name of its folder.
    pub fn folder(&self) -> String {
        let readable = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let model = self.models.first().map_or("", String::as_str);
        let model = model.rsplit('/').next().unwrap_or(model);
        let name: String = format!("{}-{model}", self.task.name)
            .chars()
            .map(readable)
            .collect();
        format!("{name}-{}", &sha256(self.words().join("\0"))[..8])
    }

    /// The data set, where the command has one.
    pub fn data(&self) -> Option<&str> {
        let values = self.flags.get(self.task.data?);
        let given = values.and_then(|values| values.first());
        Some(given.map_or(self.task.default_data, String::as_str))
    }

    /// One value of a flag.
    pub fn flag(&self, name: &str) -> Option<&str> {
        self.flags.get(name)?.first().map(String::as_str)
    }
}

/// The runs of a config, in an order that keeps what runs of one model share.
pub fn plan(file: &BenchFile) -> Result<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::new();
    for (r, row) in file.config.rows.iter().enumerate() {
        for (c, column) in file.config.columns.iter().enumerate() {
            let (span, column) = (column.span(), column.get_ref());
            if let Some(name) = &column.metric
                && metrics::find(name).is_none()
            {
                return Err(file.at(span, format!("there is no metric `{name}`")));
            }
            let Some(task) = task_of(file, &span, column)? else {
                continue;
            };
            if !is_measured(row.get_ref(), &column.id) {
                continue;
            }
            let flags = flags_of(file, row.span(), row.get_ref(), &span, column, task)?;
            place(&mut runs, task, row.get_ref(), flags, (r, c));
        }
    }
    for run in &runs {
        check(file, run)?;
    }
    runs.sort_by_key(|run| run.cells[0].0);
    Ok(runs)
}

fn is_measured(row: &RowConfig, column: &str) -> bool {
    let omitted = row
        .cells
        .get(column)
        .is_some_and(|c| c.get_ref().omit.is_some());
    row.has_cell(column) && !omitted
}

fn task_of(
    file: &BenchFile,
    span: &Range<usize>,
    column: &ColumnConfig,
) -> Result<Option<&'static TaskCommand>> {
    let Some(name) = &column.task else {
        return Ok(None);
    };
    tasks::find(name).map(Some).ok_or_else(|| {
        let known: Vec<&str> = tasks::TASKS.iter().map(|task| task.name).collect();
        file.at(
            span.clone(),
            format!(
                "there is no task `{name}`; the tasks are {}",
                known.join(", ")
            ),
        )
    })
}

/// Flags of a cell: the row's settings, then the options of config, column, row and cell, later
/// ones over earlier ones.
fn flags_of(
    file: &BenchFile,
    row_span: Range<usize>,
    row: &RowConfig,
    column_span: &Range<usize>,
    column: &ColumnConfig,
    task: &TaskCommand,
) -> Result<IndexMap<String, Vec<String>>> {
    let mut flags = IndexMap::new();
    for (name, value) in row.settings() {
        if let Some((_, flag)) = task.settings.iter().find(|(setting, _)| *setting == name) {
            set(&mut flags, flag, value).map_err(|reason| file.at(row_span.clone(), reason))?;
        }
    }
    let none = Flags::new();
    let cell = row.cells.get(&column.id);
    let sources = [
        (&file.config.options, 0..0),
        (&column.options, column_span.clone()),
        (&row.options, row_span),
        cell.map_or((&none, 0..0), |cell| (&cell.get_ref().options, cell.span())),
    ];
    for (options, span) in sources {
        for (name, value) in options {
            set(&mut flags, &name.replace('_', "-"), value)
                .map_err(|reason| file.at(span.clone(), reason))?;
        }
    }
    Ok(flags)
}

/// `true` sets a switch, `false` takes it away; lists become values with commas.
fn set(flags: &mut IndexMap<String, Vec<String>>, flag: &str, value: &Value) -> Result<(), String> {
    let text = |value: &Value| match value {
        Value::String(text) => match text.strip_prefix("assets:") {
            Some(name) => match assets::path(name) {
                Ok(path) => Ok(path.display().to_string()),
                Err(reason) => Err(reason.to_string()),
            },
            None => Ok(text.clone()),
        },
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(flag) => Ok(flag.to_string()),
        _ => Err(format!(
            "`{flag}`: use text, a number, true, false or a list"
        )),
    };
    if matches!(flag, "model" | "out" | "json" | "help") {
        return Err(format!("`{flag}` is set by `run` itself"));
    }
    let values = match value {
        Value::Boolean(true) if is_switch(flag) => Vec::new(),
        Value::Boolean(false) if is_switch(flag) => {
            flags.shift_remove(flag);
            return Ok(());
        }
        Value::Array(values) => values.iter().map(text).collect::<Result<_, _>>()?,
        value => vec![text(value)?],
    };
    flags.insert(flag.to_string(), values);
    Ok(())
}

/// Whether a flag of any task takes no value.
fn is_switch(flag: &str) -> bool {
    let root = Cli::command();
    tasks::TASKS.iter().any(|task| {
        let mut command = Some(&root);
        for word in task.name.split(' ') {
            command = command.and_then(|command| command.find_subcommand(word));
        }
        command.is_some_and(|command| {
            let mut arguments = command.get_arguments();
            arguments.any(|a| a.get_long() == Some(flag) && !a.get_action().takes_values())
        })
    })
}

/// Puts a cell into a run that it can share, or into one of its own.
fn place(
    runs: &mut Vec<Run>,
    task: &'static TaskCommand,
    row: &RowConfig,
    flags: IndexMap<String, Vec<String>>,
    cell: (usize, usize),
) {
    let without = |flags: &IndexMap<String, Vec<String>>| {
        let mut rest = flags.clone();
        task.joined.map(|joined| rest.shift_remove(joined));
        rest
    };
    let found = runs.iter_mut().find(|run| {
        std::ptr::eq(run.task, task)
            && (task.in_turns || run.models == [row.model.clone()])
            && without(&run.flags) == without(&flags)
    });
    let Some(run) = found else {
        runs.push(Run {
            task,
            models: vec![row.model.clone()],
            flags,
            cells: vec![cell],
        });
        return;
    };
    if !run.models.contains(&row.model) {
        run.models.push(row.model.clone());
    }
    if let Some(joined) = task.joined {
        let own = flags.get(joined).cloned().unwrap_or_default();
        let all = run.flags.entry(joined.to_string()).or_default();
        for value in own {
            if !all.contains(&value) {
                all.push(value);
            }
        }
    }
    run.cells.push(cell);
}

/// What the command itself says of its flags, at the line of the row or, where the flag stands
/// there, of the column.
fn check(file: &BenchFile, run: &Run) -> Result<()> {
    let words = run.words();
    let line = std::iter::once("radio-eval".to_string()).chain(words);
    let Err(error) = Cli::command().try_get_matches_from(line) else {
        return Ok(());
    };
    let text = error.to_string();
    let paragraphs = text.split("\n\n").next().unwrap_or_default();
    let reason = paragraphs.trim_start_matches("error: ").trim();
    let (r, c) = run.cells[0];
    let (row, column) = (&file.config.rows[r], &file.config.columns[c]);
    let named = |flags: &Flags| {
        let mut names = flags
            .keys()
            .map(|name| format!("--{}", name.replace('_', "-")));
        names.any(|name| reason.contains(&name))
    };
    let span = match named(&column.get_ref().options) {
        true => column.span(),
        false => row.span(),
    };
    let label = row.get_ref().label();
    let place = format!("row `{label}`, column `{}`", column.get_ref().id);
    match error.kind() {
        clap::error::ErrorKind::DisplayHelp => Err(Error::usage(place)),
        _ => Err(file.at(span, format!("{place}: {}", reason.replace('\n', " ")))),
    }
}
