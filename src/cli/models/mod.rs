//! `radio-eval models`: the zoo, and which of it is on this machine.

mod detail;
mod list;

use super::Outcome;
use crate::models::ARCHITECTURES;
use crate::models::resolve::locate;
use crate::models::zoo::{self, Published, Repository, ZooEntry};
use crate::weights::Checkpoint;
use clap::Args;
use serde::Serialize;
use std::io::Write;
use std::path::PathBuf;

/// List the models known by name; of one name, all that is known: teachers, sizes, licence, where its
/// weights are, what was published and under which conditions
#[derive(Debug, Args)]
pub struct ModelsArgs {
    /// Only these models
    pub names: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// One model for people and programs.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    aliases: &'static [&'static str],
    role: &'static str,
    /// Name of the architecture that runs it; `None` where none here does.
    architecture: Option<&'static str>,
    /// Parameters of the backbone, adaptors not counted.
    parameters: Option<i64>,
    patch: i64,
    step: i64,
    /// (height, width)
    preferred_resolution: (i64, i64),
    adaptors: &'static [&'static str],
    /// What it was distilled from, as far as its sources say.
    teachers: &'static [&'static str],
    licence: &'static str,
    repo: &'static str,
    /// Page with the weights, where they are in no repository.
    page: &'static str,
    file: &'static str,
    /// Every place on the hub with these weights.
    repositories: Vec<Repository>,
    /// Where the weights are on this machine.
    weights: Option<PathBuf>,
    published: &'static [Published],
}

impl Row {
    fn new(entry: &'static ZooEntry) -> Self {
        let described = Checkpoint::random((entry.config)(), 0);
        Row {
            name: entry.name,
            aliases: entry.aliases,
            role: entry.role,
            architecture: ARCHITECTURES
                .iter()
                .find(|a| a.recognises(&described))
                .map(|a| a.name()),
            parameters: entry.parameters,
            patch: entry.patch,
            step: entry.step,
            preferred_resolution: entry.preferred,
            adaptors: entry.adaptors,
            teachers: entry.teachers,
            licence: entry.licence,
            repo: entry.repo,
            page: entry.page,
            file: entry.file,
            repositories: entry.repositories().collect(),
            weights: locate(entry).ok(),
            published: entry.published,
        }
    }

    /// Where its weights come from.
    fn source(&self) -> String {
        match (self.role, self.repo) {
            ("mini", _) => "shipped".to_string(),
            (_, "") if !self.page.is_empty() => self.page.to_string(),
            (_, "") => "no weights released".to_string(),
            (_, repo) => format!("{repo} {}", self.file),
        }
    }

    /// Millions of parameters.
    fn millions(&self) -> String {
        self.parameters
            .map_or(String::new(), |n| format!("{:.2}", n as f64 / 1e6))
    }

    /// `512`, or `432x768`.
    fn resolution(&self) -> String {
        let (height, width) = self.preferred_resolution;
        match height == width {
            true => height.to_string(),
            false => format!("{height}x{width}"),
        }
    }
}

pub fn run(args: &ModelsArgs) -> anyhow::Result<Outcome> {
    let entries: Vec<&'static ZooEntry> = match args.names.as_slice() {
        [] => zoo::entries().collect(),
        names => names
            .iter()
            .map(|name| zoo::find(name))
            .collect::<crate::Result<_>>()?,
    };
    let rows: Vec<Row> = entries.into_iter().map(Row::new).collect();
    let text = match (args.json, rows.as_slice()) {
        (true, rows) => serde_json::to_string_pretty(rows)? + "\n",
        (false, [row]) => detail::text(row),
        (false, rows) => list::text(rows),
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(Outcome::Done)
}
