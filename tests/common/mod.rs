//! What the integration tests share.
#![allow(dead_code)]

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

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
