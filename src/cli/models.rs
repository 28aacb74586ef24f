//! `radio-eval models`: the zoo, and which of it is on this machine.

use super::Outcome;
use crate::models::ARCHITECTURES;
use crate::models::resolve::locate;
use crate::models::zoo::{self, Published, ZooEntry};
use crate::weights::Checkpoint;
use clap::Args;
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use serde::Serialize;
use std::io::Write;
use std::path::PathBuf;

/// List the models known by name: what they are, where their weights are, what was published
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
    repo: &'static str,
    file: &'static str,
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
            repo: entry.repo,
            file: entry.file,
            weights: locate(entry).ok(),
            published: entry.published,
        }
    }

    fn source(&self) -> String {
        match (self.role, self.repo) {
            ("mini", _) => "shipped".to_string(),
            (_, "") => "no weights released".to_string(),
            (_, repo) => format!("{repo} {}", self.file),
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
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&rows)?)?;
    } else {
        write!(out, "{}", text(&rows))?;
    }
    Ok(Outcome::Done)
}

/// Published columns: heading and metric.
const FIGURES: &[(&str, &str)] = &[
    ("kNN", "knn_top1"),
    ("zero-shot", "zero_shot_top1"),
    ("ADE20k", "miou"),
    ("SAM-COCO", "sam_iou"),
];

fn text(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    let header = [
        "name",
        "role",
        "params M",
        "patch",
        "step",
        "resolution",
        "adaptors",
        "weights",
    ];
    let figures = FIGURES.iter().map(|(title, _)| *title);
    table.set_header(header.into_iter().chain(figures).chain(["from"]));
    for column in [2, 3, 4, 5, 8, 9, 10, 11] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for row in rows {
        let (height, width) = row.preferred_resolution;
        let mut cells = vec![
            row.name.to_string(),
            row.role.to_string(),
            row.parameters
                .map_or(String::new(), |n| format!("{:.2}", n as f64 / 1e6)),
            row.patch.to_string(),
            row.step.to_string(),
            match height == width {
                true => height.to_string(),
                false => format!("{height}x{width}"),
            },
            row.adaptors.join(" "),
            match row.weights {
                Some(_) => "here".to_string(),
                None => "not here".to_string(),
            },
        ];
        for (_, metric) in FIGURES {
            let found = row.published.iter().find(|p| p.metric.name == *metric);
            cells.push(found.map_or(String::new(), |p| format!("{:.2}", p.value)));
        }
        cells.push(row.source());
        table.add_row(cells);
    }
    let mut text = format!("{}\n", table.trim_fmt());
    let mut sources: Vec<&str> = rows
        .iter()
        .flat_map(|row| row.published.iter().map(|p| p.source))
        .collect();
    sources.sort_unstable();
    sources.dedup();
    if !sources.is_empty() {
        text += &format!(
            "\nPublished figures in percent, from: {}; --json says which from where.\n",
            sources.join("; ")
        );
    }
    text
}
