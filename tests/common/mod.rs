//! What the integration tests share.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A committed fixture.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// A file or folder of `../shared` (goldens, real photographs, the miniature world), or `None`
/// with a visible note where it is absent: `let Some(p) = shared("golden/eradio") else { return };`
pub fn shared(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("RADIO_EVAL_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
        PathBuf::from,
    );
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    skipped(&format!("{} is not here", path.display()));
    None
}

/// Tells that a test was skipped, past the test runner's capture.
pub fn skipped(reason: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("test");
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {reason}");
}

/// The built binary, with a home of its own so that tests never touch the user's caches.
pub fn radio_eval(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_radio-eval"));
    command
        .env("RADIO_EVAL_HOME", home)
        .env("HF_HOME", home.join("hf"))
        .env_remove("HF_TOKEN")
        .env_remove("RADIO_EVAL_LOG");
    command
}

/// Runs and expects success; returns stdout.
#[track_caller]
pub fn stdout(command: &mut Command) -> String {
    let output = command.output().expect("the binary starts");
    assert!(
        output.status.success(),
        "{command:?} failed:\n{}",
        stderr(&output)
    );
    String::from_utf8(output.stdout).expect("stdout is UTF-8")
}

/// Runs and expects exit code `code`; returns stderr.
#[track_caller]
pub fn fails(command: &mut Command, code: i32) -> String {
    let output = command.output().expect("the binary starts");
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{command:?}: {text}");
    assert!(
        !text.contains("panicked"),
        "a panic reached the user: {text}"
    );
    text
}

/// `imagenet --task zero-shot` with the shipped templates, which prints its records and writes
/// `predictions.csv` into `home`; which model and data is for the caller to add.
pub fn zero_shot(home: &Path) -> Command {
    let mut command = radio_eval(home);
    command
        .args(["imagenet", "--task", "zero-shot", "--json", "--templates"])
        .arg(fixture("text/mini_templates.txt"))
        .arg("--out")
        .arg(home.join("out"))
        .arg("--predictions")
        .arg(home.join("predictions.csv"));
    command
}

/// The class predicted for each image, by file name, from a file of `--predictions`.
pub fn predictions(path: &Path) -> BTreeMap<String, usize> {
    let mut rows = csv::Reader::from_path(path).expect("predictions were written");
    let column = |row: &csv::StringRecord, name: &str, header: &csv::StringRecord| {
        let at = header.iter().position(|h| h == name).expect("the column");
        row[at].to_string()
    };
    let header = rows.headers().expect("a header").clone();
    let rows = rows.records().map(|row| {
        let row = row.expect("a row");
        let image = column(&row, "image", &header);
        let class = column(&row, "prediction", &header);
        (file_name(&image), class.parse().expect("a class"))
    });
    rows.collect()
}

/// The last part of a path inside an archive.
pub fn file_name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_string()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
