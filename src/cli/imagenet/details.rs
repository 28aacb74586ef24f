//! `--per-class` and `--predictions`: CSV files over all models and settings of the command.

use crate::Result;
use crate::data::classification::Classification;
use crate::metrics::accuracy;
use crate::report::render::to_csv;
use crate::report::{Record, write_text};
use crate::tasks::Finished;
use crate::tasks::finished::{Beside, Contents};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Both files, rewritten as a whole after each model.
pub struct Details {
    per_class: Option<File>,
    predictions: Option<File>,
}

struct File {
    path: PathBuf,
    rows: Vec<Vec<String>>,
}

/// Columns that say which cell a line belongs to.
const CELL: [&str; 5] = ["task", "model", "adaptor", "k", "temperature"];

impl Details {
    pub fn new(per_class: Option<&Path>, predictions: Option<&Path>) -> Self {
        let file = |path: Option<&Path>, columns: &[&str]| {
            path.map(|path| File {
                path: path.to_path_buf(),
                rows: vec![CELL.iter().chain(columns).map(|c| c.to_string()).collect()],
            })
        };
        Details {
            per_class: file(
                per_class,
                &["class", "id", "name", "correct", "total", "top1"],
            ),
            predictions: file(predictions, &["image", "label", "prediction"]),
        }
    }

    /// The lines of one finished cell.
    pub fn add(&mut self, finished: &Finished, data: &Classification) -> Result<()> {
        let Some(predictions) = &finished.predictions else {
            return Ok(());
        };
        let source = data.need_val()?;
        let cell = cell(&finished.record);
        let label = |index: usize| source.label(index);
        let ranked = || predictions.rankings.iter().zip(&predictions.indices);
        if let Some(file) = &mut self.per_class {
            let samples = ranked().filter_map(|(r, &i)| Some((r.as_slice(), label(i)?)));
            let counts = accuracy::per_class(samples, data.classes.len());
            for (class, (correct, total)) in counts.into_iter().enumerate() {
                let top1 = match total {
                    0 => String::new(),
                    n => format!("{}", 100.0 * correct as f64 / n as f64),
                };
                let known = &data.classes[class];
                file.push(
                    &cell,
                    [
                        class.to_string(),
                        known.id.clone(),
                        known.names.first().cloned().unwrap_or_default(),
                        correct.to_string(),
                        total.to_string(),
                        top1,
                    ],
                );
            }
        }
        if let Some(file) = &mut self.predictions {
            for (ranking, &index) in ranked() {
                let number = |n: Option<u32>| n.map_or_else(String::new, |n| n.to_string());
                let prediction = number(ranking.first().copied());
                file.push(
                    &cell,
                    [
                        source.key(index).to_string(),
                        number(label(index)),
                        prediction,
                    ],
                );
            }
        }
        for file in self.per_class.iter().chain(&self.predictions) {
            write_text(&file.path, &to_csv(&file.rows)?)?;
        }
        Ok(())
    }
}

/// Whether each image was classified rightly: what `radio-eval compare` pairs. Beside the record.
pub fn samples(finished: &Finished, data: &Classification) -> Result<Option<Beside>> {
    let Some(predictions) = &finished.predictions else {
        return Ok(None);
    };
    let source = data.need_val()?;
    let header = ["image", "label", "prediction", "correct"];
    let mut rows = vec![header.map(str::to_string).to_vec()];
    for (ranking, &index) in predictions.rankings.iter().zip(&predictions.indices) {
        let (label, prediction) = (source.label(index), ranking.first().copied());
        let number = |n: Option<u32>| n.map_or_else(String::new, |n| n.to_string());
        let correct = label.is_some() && label == prediction;
        rows.push(vec![
            source.key(index).to_string(),
            number(label),
            number(prediction),
            u8::from(correct).to_string(),
        ]);
    }
    Ok(Some(Beside {
        ending: "samples.csv".to_string(),
        contents: Contents::Text(to_csv(&rows)?),
    }))
}

impl File {
    fn push<const N: usize>(&mut self, cell: &[String], fields: [String; N]) {
        self.rows.push(cell.iter().cloned().chain(fields).collect());
    }
}

fn cell(record: &Record) -> Vec<String> {
    let option = |name: &str| match record.options.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    };
    vec![
        record.task.clone(),
        record.model.name.clone(),
        record.model.adaptor.clone().unwrap_or_default(),
        option("k"),
        option("temperature"),
    ]
}
