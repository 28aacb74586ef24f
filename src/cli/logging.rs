//! Log lines on stderr.

use super::Cli;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Sets up logging; `RADIO_EVAL_LOG` (tracing filter syntax) overrides the flags.
pub fn init(cli: &Cli) {
    let default = match (cli.quiet, cli.verbose) {
        (true, _) => "warn",
        (false, 0) => "radio_eval=info,warn",
        (false, 1) => "radio_eval=debug,warn",
        (false, _) => "trace",
    };
    let filter =
        EnvFilter::try_from_env("RADIO_EVAL_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .without_time()
        .with_target(false)
        .init();
}

/// Whether progress bars are wanted: a terminal on stderr and no `--quiet`.
pub fn progress_wanted(quiet: bool) -> bool {
    !quiet && std::io::stderr().is_terminal()
}
