//! `radio-eval run`: tables from bench configs.

use crate::common::{radio_eval, stderr, stdout};
use radio_eval::cli::run::plan;
use radio_eval::config::bench::BenchFile;
use radio_eval::models::zoo;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn shipped() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench-configs");
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    // The folder has configurations of distillation too.
    let is_table = |path: &PathBuf| {
        std::fs::read_to_string(path).is_ok_and(|text| text.contains("[[column]]"))
    };
    let mut paths: Vec<PathBuf> = paths.filter(is_table).collect();
    paths.sort();
    paths
}

#[test]
fn every_shipped_config_is_valid_and_has_a_plan() {
    let names: Vec<String> = shipped()
        .iter()
        .map(|path| {
            let file = BenchFile::read(path).unwrap();
            assert!(!plan::plan(&file).unwrap().is_empty(), "{path:?}");
            path.file_stem().unwrap().to_string_lossy().into_owned()
        })
        .collect();
    for name in [
        "c-radio",
        "demo",
        "latency-cpu",
        "paper-table1",
        "paper-table7",
        "resolution-sweep",
        "v25-report",
    ] {
        assert!(names.iter().any(|own| own == name), "{name} in {names:?}");
    }
}

/// The zoo has what the spec marks as read in its source; a config may publish nothing else of a
/// metric that is measured.
#[test]
fn published_values_of_configs_are_those_of_the_zoo() {
    let mut compared = 0;
    for path in shipped() {
        let file = BenchFile::read(&path).unwrap();
        for row in &file.config.rows {
            let row = row.get_ref();
            for (id, cell) in &row.cells {
                let Some(value) = cell.get_ref().published else {
                    continue;
                };
                let column = file.config.columns.iter().map(|c| c.get_ref());
                let column = column.into_iter().find(|c| c.id == *id).unwrap();
                let measured = column.task.is_some() && cell.get_ref().omit.is_none();
                let Some(metric) = column.metric.as_deref().filter(|_| measured) else {
                    continue;
                };
                let own = zoo::find(&row.model).unwrap().published;
                let same = |p: &zoo::Published| p.metric.name == metric && p.value == value;
                assert!(own.iter().any(same), "{path:?}: {} {id} {value}", row.model);
                compared += 1;
            }
        }
    }
    assert!(compared > 80, "{compared}");
}

/// A home, a config in it, and a way to run it.
struct Bench {
    home: tempfile::TempDir,
}

const COLUMNS: &str = "title = \"Small\"\nsource = \"a test\"\n[[column]]\nid = \"knn\"\ntask = \"imagenet\"\nmetric = \"knn_top1\"\ntolerance = 0.01\noptions = { task = \"knn\", data = \"imagenet-mini\", limit = 20, train_limit = 2 }\n[[column]]\nid = \"top5\"\ntask = \"imagenet\"\nmetric = \"knn_top5\"\noptions = { task = \"knn\", data = \"imagenet-mini\", limit = 20, train_limit = 2 }\n";

impl Bench {
    fn new() -> Self {
        Bench {
            home: tempfile::tempdir().unwrap(),
        }
    }

    fn command(&self, config: &str, flags: &[&str]) -> Command {
        let path = self.home.path().join("table.toml");
        std::fs::write(&path, config).unwrap();
        let mut command = radio_eval(self.home.path());
        command
            .current_dir(self.home.path())
            .args(["run", "table.toml"]);
        command.args(["--out", "out"]).args(flags);
        command
    }

    fn output(&self, config: &str, flags: &[&str]) -> Output {
        self.command(config, flags).output().unwrap()
    }

    fn table(&self, ending: &str) -> String {
        let path = self.home.path().join("out").join(format!("table.{ending}"));
        std::fs::read_to_string(path).unwrap()
    }
}

fn row(expected: Option<f64>) -> String {
    let cell = expected.map(|value| format!("cells.knn = {{ expected = {value} }}\n"));
    format!(
        "[[row]]\nmodel = \"mini-dino\"\n{}",
        cell.unwrap_or_default()
    )
}

#[test]
fn a_table_is_made_once_checked_and_goes_on_after_failures() {
    let bench = Bench::new();
    let config = format!("{COLUMNS}{}", row(None));
    let plan = stdout(&mut bench.command(&config, &["--dry-run"]));
    assert!(plan.contains("2 cells in 1 runs"), "{plan}");
    assert!(plan.contains("1. mini-dino: knn, top5 ["), "{plan}");

    stdout(&mut bench.command(&config, &[]));
    let value: Value = serde_json::from_str(&bench.table("json")).unwrap();
    let knn = value["rows"][0]["cells"]["knn"]["measured"]["value"]["value"].as_f64();
    let knn = knn.unwrap();
    let tables = ["md", "csv", "tex", "html", "json"];
    let first: Vec<String> = tables.map(|ending| bench.table(ending)).into();
    assert!(first[2].contains("\\toprule"), "{}", first[2]);
    assert!(first[3].contains("<table>"), "{}", first[3]);

    // The second run finds its cells, and writes the same bytes.
    let plan = stdout(&mut bench.command(&config, &["--dry-run"]));
    assert!(plan.contains("knn, top5 [done]"), "{plan}");
    stdout(&mut bench.command(&config, &[]));
    let second: Vec<String> = tables.map(|ending| bench.table(ending)).into();
    assert_eq!(first, second);

    // The page of both: whole by itself.
    let mut report = radio_eval(bench.home.path());
    report.current_dir(bench.home.path());
    stdout(report.args(["report", "out", "--out", "page.html"]));
    let page = std::fs::read_to_string(bench.home.path().join("page.html")).unwrap();
    for part in [
        "<h2>Small</h2>",
        "<h2>Classification</h2>",
        "<h2>Manifest</h2>",
        "mini-dino",
    ] {
        assert!(page.contains(part), "{part} is not in the page");
    }
    for part in ["<script", "<link", "src=\"http", "url("] {
        assert!(!page.contains(part), "{part} is in the page");
    }

    // Checked against its value, and against an edited one.
    let right = format!("{COLUMNS}{}", row(Some(knn)));
    stdout(&mut bench.command(&right, &["--check"]));
    let wrong = format!("{COLUMNS}{}", row(Some(knn - 5.0)));
    let output = bench.output(&wrong, &["--check", "--github"]);
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(
        told.contains("out of tolerance: mini-dino, kNN top-1:"),
        "{told}"
    );
    assert!(
        told.contains("::error file=table.toml,line=16,title="),
        "{told}"
    );
    assert_eq!(bench.output(&wrong, &[]).status.code(), Some(0));

    // A model whose weights are not here stops no other.
    let config = format!(
        "{COLUMNS}[[row]]\nmodel = \"radio_v2.5-b\"\n{}",
        row(Some(knn))
    );
    let output = bench.output(&config, &["--check"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let table = bench.table("md");
    assert!(table.contains("failed [1]"), "{table}");
    assert!(
        table.contains("[1] the weights of radio_v2.5-b are not"),
        "{table}"
    );
    assert!(table.contains(&format!("{knn:.2}")), "{table}");
    // Left out, it does not fail.
    let output = bench.output(&config, &["--check", "--only", "mini-dino:knn"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn a_report_needs_records() {
    let home = tempfile::tempdir().unwrap();
    let output = radio_eval(home.path())
        .args(["report", home.path().to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("no records in"));
}

#[test]
fn what_a_command_would_refuse_is_refused_at_its_line() {
    let bench = Bench::new();
    let told = |config: String, code: i32| {
        let output = bench.output(&config, &["--dry-run"]);
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        stderr(&output)
    };
    let wrong = COLUMNS.replace("limit = 20, train", "limits = 20, train");
    let text = told(format!("{wrong}{}", row(None)), 1);
    assert!(
        text.contains("table.toml: line 3: row `mini-dino`, column `knn`"),
        "{text}"
    );
    assert!(text.contains("--limits"), "{text}");
    let text = told(
        format!("{COLUMNS}[[row]]\nmodel = \"mini-dino\"\nresolution = \"12x\"\n"),
        1,
    );
    assert!(
        text.contains("table.toml: line 14: row `mini-dino`"),
        "{text}"
    );
    let wrong = COLUMNS.replace("task = \"imagenet\"", "task = \"imagnet\"");
    let text = told(format!("{wrong}{}", row(None)), 1);
    assert!(
        text.contains("line 3: there is no task `imagnet`"),
        "{text}"
    );
    let output = bench.output(&format!("{COLUMNS}{}", row(None)), &["--only", "nope"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("columns: knn, top5"));
}
