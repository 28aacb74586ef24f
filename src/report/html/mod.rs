//! The report: one page with everything in it, without scripts and without the network.

mod classes;
mod curves;
mod manifest;
mod pictures;

pub use pictures::Picture;

use super::page::STYLE;
use super::plot::{Plot, accuracy_throughput, latency, tokens};
use super::render::{escape_html as escape, html_fragment};
use super::{Record, Table};
use crate::Result;
use crate::metrics::{Definition, accuracy, latency as speed, mask, segmentation};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// What the page is made from.
#[derive(Debug, Default)]
pub struct Material {
    pub title: String,
    /// Records with their files.
    pub records: Vec<(PathBuf, Record)>,
    /// Tables of `radio-eval run`, as it rendered them.
    pub comparisons: Vec<String>,
    /// `metrics.csv` of training runs.
    pub logs: Vec<(PathBuf, String)>,
    pub pictures: Vec<Picture>,
    /// Sentences about what was left out.
    pub notes: Vec<String>,
}

/// A part of the page with its place in the table of contents.
struct Section {
    id: &'static str,
    title: &'static str,
    body: String,
}

/// Task names of records by heading.
const GROUPS: [(&str, &[&str]); 4] = [
    ("Classification", &["knn", "zero_shot"]),
    ("Segmentation", &["segmentation", "segment_text"]),
    ("SAM and detection", &["sam_swap", "detection"]),
    ("Latency and throughput", &["latency"]),
];

/// Metrics whose accuracy is drawn over throughput.
fn accuracies() -> [&'static Definition; 4] {
    [
        &accuracy::KNN_TOP1,
        &accuracy::ZERO_SHOT_TOP1,
        &segmentation::MIOU,
        &mask::SAM_IOU,
    ]
}

/// The page.
pub fn page(material: &Material) -> Result<String> {
    let sections: Vec<Section> = [
        ("tables", "Tables", tables(material)),
        ("plots", "Plots", plots(material)?),
        (
            "training",
            "Training curves",
            curves::section(&material.logs)?,
        ),
        ("classes", "Classes", classes::section(&material.records)?),
        (
            "pictures",
            "Pictures",
            pictures::section(&material.pictures),
        ),
        ("manifest", "Manifest", manifest::section(&material.records)),
    ]
    .into_iter()
    .filter(|(_, _, body)| !body.is_empty())
    .map(|(id, title, body)| Section { id, title, body })
    .collect();
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{0}</title>\n<style>{STYLE}</style>\n<main>\n<h1>{0}</h1>\n",
        escape(&material.title)
    );
    out += &lead(material);
    out += "<nav>";
    for section in &sections {
        let _ = write!(out, "<a href=\"#{}\">{}</a>", section.id, section.title);
    }
    out += "</nav>\n";
    for section in &sections {
        let _ = writeln!(out, "<section id=\"{}\">", section.id);
        out += &section.body;
        out += "</section>\n";
    }
    if !material.notes.is_empty() {
        out += "<ul class=\"notes\">";
        for note in &material.notes {
            let _ = write!(out, "<li>{}</li>", escape(note));
        }
        out += "</ul>\n";
    }
    out += "</main>\n</html>\n";
    Ok(out)
}

/// How many records of how many models, on what.
fn lead(material: &Material) -> String {
    let distinct = |text: fn(&Record) -> &str| {
        let mut all: Vec<&str> = material.records.iter().map(|(_, r)| text(r)).collect();
        all.sort_unstable();
        all.dedup();
        all
    };
    let models = distinct(|record| &record.model.name);
    let devices = distinct(|record| &record.device);
    let versions = distinct(|record| &record.tool_version);
    format!(
        "<p class=\"lead\">{} records of {} models, on {}; radio-eval {}. Brackets hold 95 % intervals; the best of a column is bold.</p>\n",
        material.records.len(),
        models.len(),
        escape(&devices.join(", ")),
        escape(&versions.join(", "))
    )
}

/// The comparisons as they are, and a table for each kind of task.
fn tables(material: &Material) -> String {
    let mut out = material.comparisons.join("\n");
    let grouped = |task: &str| GROUPS.iter().any(|(_, tasks)| tasks.contains(&task));
    let records_of = |wanted: &dyn Fn(&str) -> bool| -> Vec<&(PathBuf, Record)> {
        let records = material.records.iter();
        records.filter(|(_, record)| wanted(&record.task)).collect()
    };
    let mut add = |title: &str, records: &[&(PathBuf, Record)]| {
        let records: Vec<Record> = records.iter().map(|(_, record)| record.clone()).collect();
        if !records.is_empty() {
            out += &html_fragment(&Table::from_records(title, &records).with_metrics(&shown()));
        }
    };
    for (title, tasks) in GROUPS {
        let records = records_of(&|task| tasks.contains(&task));
        if !tasks.contains(&"latency") {
            add(title, &records);
            continue;
        }
        // Speeds of different commands were not measured in turns, nor against one baseline.
        let mut folders: Vec<&Path> = records.iter().map(|(path, _)| folder(path)).collect();
        folders.dedup();
        for own in &folders {
            let title = match folders.len() {
                1 => title.to_string(),
                _ => format!("{title} ({})", own.display()),
            };
            let here = records.iter().copied();
            let here: Vec<_> = here.filter(|(path, _)| folder(path) == *own).collect();
            add(&title, &here);
        }
    }
    add("Other", &records_of(&|task| !grouped(task)));
    out
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// Metrics for people: of speed the same as on the terminal, of the others all.
fn shown() -> Vec<&'static Definition> {
    const HIDDEN: [&str; 5] = [
        "gflops_attention",
        "gflops_per_s",
        "matrix_peak_gflops_per_s",
        "outliers",
        "params",
    ];
    let is_hidden = |name: &str| {
        let spread = ["_p95", "_min", "_mean"]
            .iter()
            .any(|end| name.ends_with(end));
        HIDDEN.contains(&name) || (spread && name.contains("_ms"))
    };
    crate::metrics::declared()
        .filter(|metric| !is_hidden(metric.name))
        .collect()
}

fn plots(material: &Material) -> Result<String> {
    let records: Vec<Record> = material.records.iter().map(|(_, r)| r.clone()).collect();
    let speeds: Vec<Record> = records
        .iter()
        .filter(|record| record.metrics.contains_key(speed::THROUGHPUT.name))
        .cloned()
        .collect();
    let mut out = String::new();
    if !speeds.is_empty() {
        for metric in accuracies() {
            let measured = records.iter().any(|r| r.metrics.contains_key(metric.name));
            let published = |r: &Record| r.published.iter().any(|p| p.metric == metric.name);
            if measured || speeds.iter().any(published) {
                let plot = accuracy_throughput::draw(&speeds, &records, metric.name)?;
                out += &figure(&plot);
            }
        }
        out += &figure(&latency::draw(&speeds)?);
    }
    for metric in [&accuracy::KNN_TOP1, &accuracy::ZERO_SHOT_TOP1] {
        if let Plot::Drawn { .. } = tokens::draw(&records, metric)? {
            out += &figure(&tokens::draw(&records, metric)?);
        }
    }
    Ok(match out.is_empty() {
        true => out,
        false => format!("<h2>Plots</h2>\n{out}"),
    })
}

/// A plot with what is not in it, or why there is none.
fn figure(plot: &Plot) -> String {
    match plot {
        Plot::Nothing(reason) => format!("<p class=\"notes\">not drawn: {}</p>\n", escape(reason)),
        Plot::Drawn { svg, left_out } => {
            let caption = match left_out.is_empty() {
                true => String::new(),
                false => format!("<figcaption>{}</figcaption>", escape(&left_out.join("; "))),
            };
            format!("<figure class=\"plot\">{svg}{caption}</figure>\n")
        }
    }
}

/// The file's stem without its endings: `segmentation__mini-dino`.
fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.strip_suffix(".json").unwrap_or(&name).to_string()
}
