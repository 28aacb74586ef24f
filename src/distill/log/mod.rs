//! The numbers of a run as they come: JSONL, CSV, TensorBoard, and a plot of the curves.

mod curves;
mod tensorboard;

use crate::files::{text, write_atomically};
use crate::{Error, Result};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use tensorboard::EventFile;

/// One line of the metrics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Steps done.
    pub step: u64,
    /// By name: `total`, `lr`, `clip.summary`, ...; of evaluations `eval.knn_top1`, ...
    #[serde(flatten)]
    pub values: Map<String, Value>,
}

impl Line {
    pub fn new(step: u64) -> Self {
        Line {
            step,
            values: Map::new(),
        }
    }

    pub fn put(&mut self, name: impl Into<String>, value: f64) {
        self.values.insert(name.into(), Value::from(value));
    }
}

/// The metrics of a run, which a later session of it goes on with.
pub struct Log {
    folder: PathBuf,
    lines: File,
    events: EventFile,
    /// Names of all values seen, in order: the columns of the CSV.
    known: IndexMap<String, ()>,
}

impl Log {
    /// Begins or goes on at `step`: lines behind it, of steps that were lost, are taken away.
    pub fn open(folder: &Path, step: u64) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|e| Error::file(folder, e))?;
        let path = folder.join("metrics.jsonl");
        let mut known = IndexMap::new();
        let mut kept = String::new();
        for line in read(&path)? {
            if line.step <= step {
                known.extend(line.values.keys().map(|name| (name.clone(), ())));
                kept += &text(&path, &line)?;
            }
        }
        write_atomically(&path, kept.as_bytes())?;
        let lines = File::options().append(true).open(&path);
        Ok(Log {
            lines: lines.map_err(|e| Error::file(&path, e))?,
            events: EventFile::create(&folder.join("tensorboard"), step)?,
            folder: folder.to_path_buf(),
            known,
        })
    }

    pub fn add(&mut self, line: &Line) -> Result<()> {
        let path = self.folder.join("metrics.jsonl");
        let text = text(&path, line)?;
        let written = self.lines.write_all(text.as_bytes());
        written.map_err(|e| Error::file(&path, e))?;
        self.known
            .extend(line.values.keys().map(|name| (name.clone(), ())));
        self.events.scalars(line)
    }

    /// Brings the CSV and the plot up to date.
    pub fn publish(&mut self, title: &str) -> Result<()> {
        let path = self.folder.join("metrics.jsonl");
        self.lines.sync_data().map_err(|e| Error::file(&path, e))?;
        let lines = read(&path)?;
        self.write_csv(&lines)?;
        if let Some(svg) = curves::draw(title, &lines)? {
            write_atomically(&self.folder.join("curves.svg"), svg.as_bytes())?;
        }
        Ok(())
    }

    fn write_csv(&self, lines: &[Line]) -> Result<()> {
        let path = self.folder.join("metrics.csv");
        let failed = |e: csv::Error| Error::file(&path, e);
        let mut writer = csv::Writer::from_writer(Vec::new());
        let header = std::iter::once("step").chain(self.known.keys().map(String::as_str));
        writer.write_record(header).map_err(failed)?;
        for line in lines {
            let value = |name: &String| {
                line.values
                    .get(name)
                    .map_or(String::new(), Value::to_string)
            };
            let row = std::iter::once(line.step.to_string()).chain(self.known.keys().map(value));
            writer.write_record(row).map_err(failed)?;
        }
        let bytes = writer
            .into_inner()
            .map_err(|e| Error::file(&path, e.error()))?;
        write_atomically(&path, &bytes)
    }

    /// Everything that was noted.
    pub fn lines(&self) -> Result<Vec<Line>> {
        read(&self.folder.join("metrics.jsonl"))
    }
}

fn text(path: &Path, line: &Line) -> Result<String> {
    let text = serde_json::to_string(line).map_err(|e| Error::file(path, e))?;
    Ok(text + "\n")
}

/// The lines of a file, none where it is not there. A last line that was cut short by the end of
/// its process is left out.
fn read(path: &Path) -> Result<Vec<Line>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = text::read(path)?;
    let lines = text.lines().map(serde_json::from_str::<Line>);
    Ok(lines.map_while(std::result::Result::ok).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_goes_on_keeps_the_lines_up_to_its_step() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path(), 0).unwrap();
        for step in 1..=4 {
            let mut line = Line::new(step);
            line.put("total", step as f64 / 2.0);
            log.add(&line).unwrap();
        }
        let mut log = Log::open(folder.path(), 2).unwrap();
        let mut line = Line::new(3);
        line.put("total", 7.0);
        line.put("eval.knn_top1", 50.0);
        log.add(&line).unwrap();
        log.publish("run").unwrap();
        let steps: Vec<u64> = log.lines().unwrap().iter().map(|l| l.step).collect();
        assert_eq!(steps, [1, 2, 3]);
        let csv = std::fs::read_to_string(folder.path().join("metrics.csv")).unwrap();
        assert_eq!(
            csv,
            "step,total,eval.knn_top1\n1,0.5,\n2,1.0,\n3,7.0,50.0\n"
        );
    }
}
