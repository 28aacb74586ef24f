//! Segmentation by class: a bar for each, and which classes are taken for which.

use super::{escape, stem};
use crate::files::text;
use crate::report::Record;
use crate::{Error, Result};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// More classes than this are shown behind a summary.
const MOST_OPEN: usize = 24;
/// More classes than this make no readable matrix: the largest confusions are listed.
const MOST_CELLS: usize = 32;
const CONFUSIONS: usize = 20;

/// From the `.classes.csv` and `.confusion.csv` beside records.
pub fn section(records: &[(PathBuf, Record)]) -> Result<String> {
    let mut out = String::new();
    for (path, record) in records {
        let classes = path.with_extension("classes.csv");
        if classes.is_file() {
            let _ = writeln!(
                out,
                "<h3>{} on {} <small>{}</small></h3>",
                escape(&record.model.name),
                escape(record.data.last().map_or("", |data| &data.name)),
                escape(&stem(path))
            );
            out += &bars(&classes)?;
        }
        let confusion = path.with_extension("confusion.csv");
        if confusion.is_file() {
            out += &matrix(&confusion)?;
        }
    }
    Ok(match out.is_empty() {
        true => out,
        false => format!("<h2>Classes</h2>\n{out}"),
    })
}

fn rows(path: &Path) -> Result<Vec<Vec<String>>> {
    let text = text::read(path)?;
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(text.as_bytes());
    let rows = reader.records().map(|row| {
        let row = row.map_err(|e| Error::file(path, e))?;
        Ok(row.iter().map(str::to_string).collect())
    });
    rows.collect()
}

/// IoU of each class, best first.
fn bars(path: &Path) -> Result<String> {
    let mut all: Vec<(String, f64)> = rows(path)?
        .into_iter()
        .skip(1)
        .filter_map(|row| Some((row.first()?.clone(), row.get(2)?.parse().ok()?)))
        .collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut list = String::new();
    for (name, iou) in &all {
        let _ = writeln!(
            list,
            "<div class=\"bar\"><span>{}</span><i style=\"width:{:.1}%\"></i><b>{iou:.1}</b></div>",
            escape(name),
            iou.clamp(0.0, 100.0)
        );
    }
    let summary = format!("IoU of {} classes, in percent", all.len());
    Ok(match all.len() > MOST_OPEN {
        true => format!("<details><summary>{summary}</summary>\n{list}</details>\n"),
        false => format!("<p class=\"notes\">{summary}</p>\n{list}"),
    })
}

/// Shares of each labelled class by predicted class; of many classes the largest confusions.
fn matrix(path: &Path) -> Result<String> {
    let rows = rows(path)?;
    let Some((header, rows)) = rows.split_first() else {
        return Ok(String::new());
    };
    let names = header.get(1..).unwrap_or_default();
    let shares: Vec<Vec<f64>> = rows
        .iter()
        .map(|row| {
            let counts: Vec<f64> = row
                .iter()
                .skip(1)
                .map(|n| n.parse().unwrap_or(0.0))
                .collect();
            let total: f64 = counts.iter().sum::<f64>().max(1.0);
            counts.iter().map(|count| 100.0 * count / total).collect()
        })
        .collect();
    if names.len() > MOST_CELLS {
        return Ok(largest(names, &shares));
    }
    let mut out = String::from(
        "<details><summary>Confusion: labelled (rows), predicted (columns), percent of the row</summary>\n<div class=\"wide\"><table><thead><tr><th></th>",
    );
    for name in names {
        let _ = write!(out, "<th class=\"n\">{}</th>", escape(name));
    }
    out += "</tr></thead><tbody>\n";
    for (name, row) in names.iter().zip(&shares) {
        let _ = write!(out, "<tr><th scope=\"row\">{}</th>", escape(name));
        for share in row {
            let text = if *share < 0.05 {
                String::new()
            } else {
                format!("{share:.1}")
            };
            let _ = write!(
                out,
                "<td class=\"n\" style=\"background:color-mix(in srgb,var(--mark) {:.0}%,transparent)\">{text}</td>",
                0.6 * share
            );
        }
        out += "</tr>\n";
    }
    out += "</tbody></table></div></details>\n";
    Ok(out)
}

fn largest(names: &[String], shares: &[Vec<f64>]) -> String {
    let mut all: Vec<(f64, &str, &str)> = Vec::new();
    for (label, row) in names.iter().zip(shares) {
        for (prediction, share) in names.iter().zip(row) {
            if label != prediction && *share > 0.0 {
                all.push((*share, label, prediction));
            }
        }
    }
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut out = format!("<details><summary>The {CONFUSIONS} largest confusions</summary>\n<ul>");
    for (share, label, prediction) in all.into_iter().take(CONFUSIONS) {
        let _ = write!(
            out,
            "<li>{share:.1} % of {} taken for {}</li>",
            escape(label),
            escape(prediction)
        );
    }
    out += "</ul></details>\n";
    out
}
