//! `radio-eval datasets`: what is known by name, what is on this machine, and whether it is whole.

use super::Outcome;
use crate::config::DatasetLayout;
use crate::data::catalogue::{self, DatasetEntry};
use crate::data::summary::{Summary, summarise};
use clap::Args;
use comfy_table::{Table, presets::NOTHING};
use std::io::Write;

/// List the data sets known by name, or look into some
#[derive(Debug, Args)]
pub struct DatasetsArgs {
    /// Names or paths to open and count (default: list the names)
    pub data: Vec<String>,
    /// Layout of a path (default: recognised)
    #[arg(long)]
    pub layout: Option<DatasetLayout>,
    /// Also decode every picture, and check every mask and every known checksum; without names, of
    /// all that are on this machine
    #[arg(long)]
    pub check: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Exit code 3 when a count or checksum differs from the catalogue.
pub fn run(args: &DatasetsArgs) -> anyhow::Result<Outcome> {
    let catalogue = catalogue::load()?;
    let mut specs = args.data.clone();
    if specs.is_empty() && args.check {
        for entry in &catalogue.entries {
            if entry.find_root()?.is_some() {
                specs.push(entry.name.clone());
            }
        }
    }
    if specs.is_empty() {
        list(&catalogue.entries, args.json)?;
        return Ok(Outcome::Done);
    }
    let mut summaries = Vec::new();
    for spec in &specs {
        summaries.push(summarise(spec, args.layout, args.check)?);
    }
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&summaries)?)?;
    } else {
        for summary in &summaries {
            write!(out, "{}", text(summary, args.check))?;
        }
    }
    Ok(match summaries.iter().all(|s| s.problems.is_empty()) {
        true => Outcome::Done,
        false => Outcome::OutOfTolerance,
    })
}

fn list(entries: &[DatasetEntry], json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        let mut rows = Vec::new();
        for entry in entries {
            let mut row = serde_json::to_value(&entry.config)?;
            row["name"] = entry.name.clone().into();
            row["path"] = serde_json::to_value(entry.find_root()?)?;
            rows.push(row);
        }
        writeln!(out, "{}", serde_json::to_string_pretty(&rows)?)?;
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["name", "task", "classes", "samples", "about", "where"]);
    for entry in entries {
        let samples: Vec<String> = entry
            .config
            .splits
            .iter()
            .map(|(name, split)| match split.samples {
                Some(samples) => format!("{name} {samples}"),
                None => name.clone(),
            })
            .collect();
        table.add_row([
            entry.name.clone(),
            entry.config.task.name().to_string(),
            entry
                .config
                .classes
                .map_or(String::new(), |n| n.to_string()),
            samples.join(", "),
            entry.config.about.clone(),
            entry
                .find_root()?
                .map_or("not here".into(), |p| p.display().to_string()),
        ]);
    }
    writeln!(out, "{}", table.trim_fmt())?;
    Ok(())
}

fn text(summary: &Summary, checked: bool) -> String {
    let mut text = format!(
        "{} ({})\n  path      {}\n",
        summary.name,
        summary.task.name(),
        summary.path.display()
    );
    if let Some(classes) = summary.classes {
        text += &format!("  classes   {classes}\n");
    }
    for split in &summary.splits {
        text += &format!("  {:<9} {} images", split.name, split.samples);
        if let Some((fewest, most)) = split.per_class {
            match fewest == most {
                true => text += &format!(", {most} of each class"),
                false => text += &format!(", {fewest} to {most} of a class"),
            }
        }
        text += &format!(", sample fingerprint {}\n", &split.fingerprint[..16]);
    }
    for warning in &summary.warnings {
        text += &format!("  warning   {warning}\n");
    }
    for problem in &summary.problems {
        text += &format!("  problem   {problem}\n");
    }
    if checked && summary.problems.is_empty() {
        let checked = match summary.checked.is_empty() {
            true => "nothing but that it opens".to_string(),
            false => summary.checked.join(", "),
        };
        text += &format!("  checked   without a fault: {checked}\n");
    }
    text
}
