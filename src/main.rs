//! The `radio-eval` command: parse, set up, dispatch; one place turns an outcome into an exit code.

use clap::Parser;
use radio_eval::cli::{self, Cli};
use radio_eval::runtime;
use std::process::ExitCode;

fn main() -> ExitCode {
    runtime::allocator::keep_memory();
    let cli = Cli::parse();
    cli::logging::init(&cli);
    cli::exit_code(cli::run(cli))
}
