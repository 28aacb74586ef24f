//! `radio-eval completions`: what a shell needs to complete names of commands and flags.

use super::{Cli, Outcome};
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::io::Write;

/// Print the completion script of a shell
///
/// For bash: `radio-eval completions bash > ~/.local/share/bash-completion/completions/radio-eval`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    #[arg(value_enum)]
    shell: Shell,
}

pub fn run(args: &CompletionsArgs) -> anyhow::Result<Outcome> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "radio-eval", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(Outcome::Done)
}
