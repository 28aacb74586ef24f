//! What GitHub shows of a run: annotations at lines of the config, and the table as the summary of
//! a workflow's step.

use crate::report::Comparison;
use crate::report::comparison::Deviation;
use crate::report::render::MARKDOWN;
use crate::{Error, Result};
use std::io::Write;
use std::path::Path;

/// `::error file=..,line=..::sentence` on stderr, where a runner reads it as it does on stdout.
pub fn annotate(config: &Path, deviations: &[Deviation], failures: &[Deviation]) {
    let of_kind = |kind: &str, title: &str, all: &[Deviation]| {
        for one in all {
            eprintln!(
                "::{kind} file={},line={},title={title}::{}",
                property(&config.display().to_string()),
                one.line,
                message(&one.sentence)
            );
        }
    };
    of_kind("error", "out of tolerance", deviations);
    of_kind("warning", "failed", failures);
}

/// Appends the table to `$GITHUB_STEP_SUMMARY`, where that is set.
pub fn summarise(comparison: &Comparison) -> Result<()> {
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY") else {
        return Ok(());
    };
    let text = MARKDOWN.render(&comparison.to_table())?;
    let file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(&path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|e| Error::file(&path, e))
}

/// What would end a message, as workflow commands write it.
fn message(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn property(text: &str) -> String {
    message(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_command_is_escaped() {
        assert_eq!(message("5 % off\nagain"), "5 %25 off%0Aagain");
        assert_eq!(property("a:b,c"), "a%3Ab%2Cc");
    }
}
