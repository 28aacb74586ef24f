//! Curves of training runs, from their `metrics.csv`.

use super::{escape, figure};
use crate::report::plot::Plot;
use crate::report::plot::lines::{self, At, Line, Titles};
use crate::{Error, Result};
use std::path::PathBuf;

/// Points of a curve: more cannot be told apart on the sheet.
const MOST_POINTS: usize = 400;

pub fn section(logs: &[(PathBuf, String)]) -> Result<String> {
    let mut out = String::new();
    for (path, text) in logs {
        let all = curves(path, text)?;
        let folder = path.parent().and_then(|parent| parent.file_name());
        let folder = folder.unwrap_or_default().to_string_lossy();
        for (kind, is_evaluation) in [("losses", false), ("evaluation", true)] {
            let wanted = |line: &&Line| line.name.starts_with("eval.") == is_evaluation;
            let lines: Vec<Line> = all.iter().filter(wanted).cloned().collect();
            if lines.is_empty() {
                continue;
            }
            let positive = lines
                .iter()
                .flat_map(|line| &line.points)
                .all(|p| p.y > 0.0);
            let titles = Titles {
                plot: &format!("{folder}: {kind}"),
                x: "steps",
                y: kind,
                logarithmic_x: false,
                logarithmic_y: positive && !is_evaluation,
            };
            out += &figure(&Plot::Drawn {
                svg: lines::draw(titles, &lines)?,
                left_out: Vec::new(),
            });
        }
        out += &format!(
            "<p class=\"notes\">{}</p>\n",
            escape(&path.display().to_string())
        );
    }
    Ok(match out.is_empty() {
        true => out,
        false => format!("<h2>Training curves</h2>\n{out}"),
    })
}

/// A line for each column with two values or more; a learning rate is no loss.
fn curves(path: &PathBuf, text: &str) -> Result<Vec<Line>> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let failed = |e: csv::Error| Error::file(path, e);
    let header = reader.headers().map_err(failed)?.clone();
    let mut lines: Vec<Line> = header
        .iter()
        .map(|name| Line {
            name: name.to_string(),
            points: Vec::new(),
        })
        .collect();
    for row in reader.records() {
        let row = row.map_err(failed)?;
        let number = |index: usize| row.get(index)?.parse::<f64>().ok();
        let Some(step) = number(0) else {
            continue;
        };
        for (index, line) in lines.iter_mut().enumerate().skip(1) {
            if let Some(y) = number(index).filter(|y| y.is_finite()) {
                line.points.push(At {
                    x: step,
                    y,
                    interval: None,
                });
            }
        }
    }
    lines.retain(|line| {
        let is_loss = line.name == "total"
            || line.name.ends_with(".summary")
            || line.name.ends_with(".spatial")
            || line.name.starts_with("eval.");
        line.points.len() > 1 && is_loss
    });
    for line in &mut lines {
        let every = line.points.len().div_ceil(MOST_POINTS).max(1);
        line.points = line.points.iter().step_by(every).copied().collect();
    }
    Ok(lines)
}
