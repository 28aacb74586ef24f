//! `radio-eval compare A B`: whether one of two runs is better, on the same samples.

use super::Outcome;
use crate::files::text;
use crate::metrics::paired::{self, Difference};
use crate::report::Record;
use crate::{Error, Result};
use clap::Args;
use indexmap::IndexMap;
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Compare two records on the samples they share: the effect, its interval, and a test
///
/// Top-1 by McNemar's exact test and a paired bootstrap over images (`.samples.csv` beside the
/// record, which imagenet --samples writes); mask IoU by a paired bootstrap that draws whole images
/// (`.instances.csv`, which coco writes).
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// A record
    a: PathBuf,
    /// Another, on the same data
    b: PathBuf,
    /// Seed of the bootstrap
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What lies beside a record, sample by sample.
#[derive(Clone, Copy, PartialEq)]
enum Samples {
    /// Right or wrong, an image each.
    Images,
    /// IoU, an instance each.
    Instances,
}

impl Samples {
    fn ending(self) -> &'static str {
        match self {
            Samples::Images => "samples.csv",
            Samples::Instances => "instances.csv",
        }
    }

    /// Columns that name a sample, its group, and its value; what a value is multiplied by.
    fn columns(self) -> (&'static str, &'static str, &'static str, f64) {
        match self {
            Samples::Images => ("image", "image", "correct", 100.0),
            Samples::Instances => ("annotation_id", "image_id", "iou", 1.0),
        }
    }
}

pub fn run(args: &CompareArgs) -> anyhow::Result<Outcome> {
    let (a, b) = (Record::read(&args.a)?, Record::read(&args.b)?);
    same_data(&a, &b)?;
    let kind = [Samples::Images, Samples::Instances]
        .into_iter()
        .find(|kind| beside(&args.a, *kind).is_file())
        .ok_or_else(|| {
            Error::file(
                &args.a,
                "has neither .samples.csv nor .instances.csv beside it: run the command again (imagenet --samples and coco --task sam-swap write them)",
            )
        })?;
    let (left, right) = (read(&args.a, kind)?, read(&args.b, kind)?);
    let pairs: Vec<(String, f64, f64)> = left
        .iter()
        .filter_map(|(key, (group, value))| Some((group.clone(), *value, right.get(key)?.1)))
        .collect();
    if pairs.len() != left.len() || pairs.len() != right.len() {
        return Err(Error::usage(format!(
            "the two have {} and {} samples, {} of them in both: they can be compared on the same samples only (--limit, --skip-bad)",
            left.len(),
            right.len(),
            pairs.len()
        ))
        .into());
    }
    let difference = paired::mean_difference(&pairs, args.seed)
        .ok_or_else(|| Error::file(&args.a, "has no samples"))?;
    let only_a = pairs.iter().filter(|(_, a, b)| a > b).count() as u64;
    let only_b = pairs.iter().filter(|(_, a, b)| b > a).count() as u64;
    let p = (kind == Samples::Images).then(|| paired::mcnemar(only_a, only_b));
    let names = distinct_names(&a, &b);
    let text = match args.json {
        true => {
            let value = json!({
                "a": names.0,
                "b": names.1,
                "samples": pairs.len(),
                "b_minus_a": {"value": difference.value, "low": difference.low, "high": difference.high},
                "a_better": only_a,
                "b_better": only_b,
                "mcnemar_p": p,
            });
            serde_json::to_string_pretty(&value)? + "\n"
        }
        false => words(&names, kind, &difference, pairs.len(), (only_a, only_b), p),
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(Outcome::Done)
}

fn beside(record: &Path, kind: Samples) -> PathBuf {
    record.with_extension(kind.ending())
}

/// Both were measured on the same samples of the same data.
fn same_data(a: &Record, b: &Record) -> Result<()> {
    let val = |record: &Record| {
        let data = record.data.last();
        data.map(|data| (data.fingerprint.clone(), data.split.clone()))
    };
    if val(a) != val(b) {
        return Err(Error::usage(
            "the two were not measured on the same data (their fingerprints differ)",
        ));
    }
    Ok(())
}

/// Values by the name of the sample, with the group that it is drawn with, in percent.
fn read(record: &Path, kind: Samples) -> Result<IndexMap<String, (String, f64)>> {
    let path = beside(record, kind);
    let text = text::read(&path)?;
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let failed = |e: csv::Error| Error::file(&path, e);
    let header = reader.headers().map_err(failed)?.clone();
    let (key, group, value, scale) = kind.columns();
    let place = |name: &str| {
        let found = header.iter().position(|column| column == name);
        found.ok_or_else(|| Error::file(&path, format!("has no column `{name}`")))
    };
    let (key, group, value) = (place(key)?, place(group)?, place(value)?);
    let mut samples = IndexMap::new();
    for row in reader.records() {
        let row = row.map_err(failed)?;
        let field = |index: usize| row.get(index).unwrap_or_default();
        let number: f64 = field(value)
            .parse()
            .map_err(|_| Error::file(&path, format!("`{}` is no number", field(value))))?;
        samples.insert(
            field(key).to_string(),
            (field(group).to_string(), scale * number),
        );
    }
    Ok(samples)
}

/// Names that tell the two apart: the models', or with one model their settings.
fn distinct_names(a: &Record, b: &Record) -> (String, String) {
    let name = |record: &Record| record.model.name.clone();
    if name(a) != name(b) {
        return (name(a), name(b));
    }
    let longer = |record: &Record| {
        let (height, width) = record.resolution;
        let k = record.options.get("k");
        let k = k.map_or(String::new(), |k| format!(", k {k}"));
        format!(
            "{} at {height}x{width}, {}{k}",
            name(record),
            record.precision
        )
    };
    match (longer(a), longer(b)) {
        (a, b) if a == b => (format!("{a} (first)"), format!("{b} (second)")),
        both => both,
    }
}

fn words(
    (a, b): &(String, String),
    kind: Samples,
    difference: &Difference,
    n: usize,
    (only_a, only_b): (u64, u64),
    p: Option<f64>,
) -> String {
    let (better, worse, low, high) = match difference.value < 0.0 {
        true => (a, b, -difference.high, -difference.low),
        false => (b, a, difference.low, difference.high),
    };
    let clear = low > 0.0;
    let (what, samples, right) = match kind {
        Samples::Images => ("top-1", "images", "right"),
        Samples::Instances => ("mean mask IoU", "instances", "better"),
    };
    let verdict = match clear {
        true => format!("{better} is better than {worse}"),
        false => format!("no clear difference between {a} and {b}"),
    };
    let mut text = format!(
        "{verdict}: {what} {:+.2} points for {better}, 95 % interval {low:+.2} to {high:+.2}, on {n} {samples}\n{a} alone {right} on {only_a}, {b} alone on {only_b}",
        difference.value.abs()
    );
    if let Some(p) = p {
        text += &match p < 1e-4 {
            true => "; McNemar's exact test p < 0.0001".to_string(),
            false => format!("; McNemar's exact test p = {p:.4}"),
        };
    }
    text + "\n"
}
