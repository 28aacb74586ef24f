//! Runs one command as a process of its own, so that whatever happens to it, the others go on.

use super::plan::Run;
use crate::runtime::interrupt;
use crate::{Error, Result};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How often a running command is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Runs it, with records into `folder`. The error is the sentence that the command ended with.
pub fn execute(run: &Run, folder: &Path) -> Result<()> {
    let program = std::env::current_exe().map_err(|e| Error::file("radio-eval", e))?;
    let mut child = Command::new(&program)
        .args(run.words())
        .arg("--out")
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| Error::file(&program, e))?;
    let stderr = child.stderr.take();
    let listener = std::thread::spawn(move || stderr.map_or_else(String::new, listen));
    let status = wait(&mut child)?;
    let told = listener.join().unwrap_or_default();
    match status {
        Some(0) => Ok(()),
        Some(130) => Err(Error::Interrupted),
        code => Err(Error::model(match told.split_once("error: ") {
            Some((_, sentence)) => sentence.trim_end().to_string(),
            None => match code {
                Some(code) => format!("ended with exit code {code} and no word"),
                None => "was killed (out of memory?)".to_string(),
            },
        })),
    }
}

/// Passes on what is told, and keeps it from the first error on.
fn listen(stderr: impl std::io::Read) -> String {
    let mut kept = String::new();
    for line in BufReader::new(stderr).lines().map_while(|line| line.ok()) {
        tracing::debug!("{line}");
        if !kept.is_empty() || line.starts_with("error: ") {
            kept += &line;
            kept.push('\n');
        }
    }
    kept
}

/// The exit code; `None` after a signal. A wish to stop is passed on.
fn wait(child: &mut Child) -> Result<Option<i32>> {
    loop {
        let ended = child.try_wait().map_err(|e| Error::file("radio-eval", e))?;
        if let Some(status) = ended {
            return Ok(status.code());
        }
        if interrupt::check().is_err() {
            if let Ok(id) = i32::try_from(child.id()) {
                // SAFETY: a signal to a child that was not waited for, so its number is its own.
                unsafe { libc::kill(id, libc::SIGINT) };
            }
            child.wait().map_err(|e| Error::file("radio-eval", e))?;
            return Err(Error::Interrupted);
        }
        std::thread::sleep(LOOK);
    }
}
