//! `radio-eval man`: the manual, from the same source as `--help`.

use super::{Cli, Outcome};
use crate::Error;
use crate::files::write_atomically;
use clap::{Args, Command, CommandFactory};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Write the man pages, one a command
///
/// `man -l FOLDER/radio-eval-imagenet.1` shows one; `--markdown` writes the pages of docs/commands.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Folder for the pages
    #[arg(long, default_value = "man")]
    out: PathBuf,
    /// Markdown instead of roff
    #[arg(long)]
    markdown: bool,
}

pub fn run(args: &ManArgs) -> anyhow::Result<Outcome> {
    std::fs::create_dir_all(&args.out).map_err(|e| Error::file(&args.out, e))?;
    let mut root = Cli::command();
    root.build();
    write(&root, &args.out, args.markdown)?;
    Ok(Outcome::Done)
}

/// The page of `command` and those of its subcommands.
fn write(command: &Command, folder: &Path, markdown: bool) -> anyhow::Result<()> {
    // `radio-eval vlm-export verify` has spaces in its display name's stead: radio-eval-vlm-export-verify.
    let name = command
        .get_display_name()
        .unwrap_or_else(|| command.get_name());
    let (ending, page) = match markdown {
        true => ("md", page(command).into_bytes()),
        false => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command.clone())
                .title(name.to_string())
                .render(&mut page)?;
            ("1", page)
        }
    };
    write_atomically(&folder.join(format!("{name}.{ending}")), &page)?;
    for subcommand in command.get_subcommands().filter(|c| c.get_name() != "help") {
        write(subcommand, folder, markdown)?;
    }
    Ok(())
}

/// What `--help` prints, under the command's name.
fn page(command: &Command) -> String {
    let name = command.get_bin_name().unwrap_or("radio-eval").to_string();
    let mut page = String::new();
    let help = command.clone().term_width(100).render_long_help();
    let _ = writeln!(page, "# {name}\n\nMade by `radio-eval man --markdown`.\n");
    let _ = writeln!(page, "```text\n{}\n```", help.to_string().trim_end());
    page
}
