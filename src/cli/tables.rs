//! In which formats a command gives its table: a flag for each that there is.

use crate::Result;
use crate::report::render::{RENDERERS, Renderer, TERMINAL};
use crate::report::{Record, Table, write_text};
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, value_parser};
use std::io::Write;
use std::path::{Path, PathBuf};

/// `--json`, and `--FORMAT FILE` for every file format of [`RENDERERS`].
#[derive(Debug, Clone, Args)]
pub struct TableArgs {
    /// Print an array of records instead of the table
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    files: FileArgs,
}

impl TableArgs {
    /// Files that the table goes to.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.0.iter().map(|(_, path)| path.as_path())
    }

    /// The table (or with `--json` the records) on stdout, and in the files that were asked for.
    /// `shown`: the table for people; `complete`: the one for programs.
    pub fn write(&self, records: &[Record], shown: &Table, complete: &Table) -> anyhow::Result<()> {
        for (format, path) in &self.files.0 {
            let renderer = RENDERERS[*format];
            save(renderer, path, shown, complete)?;
        }
        let text = match self.json {
            true => serde_json::to_string_pretty(records)? + "\n",
            false => TERMINAL.render(shown)?,
        };
        std::io::stdout().write_all(text.as_bytes())?;
        Ok(())
    }
}

/// The table in every file format, as `table.ENDING` in `folder`.
pub fn write_all(folder: &Path, shown: &Table, complete: &Table) -> Result<()> {
    for renderer in RENDERERS {
        if let Some(ending) = renderer.ending() {
            let path = folder.join(format!("table.{ending}"));
            save(*renderer, &path, shown, complete)?;
        }
    }
    Ok(())
}

fn save(renderer: &dyn Renderer, path: &Path, shown: &Table, complete: &Table) -> Result<()> {
    let table = match renderer.is_complete() {
        true => complete,
        false => shown,
    };
    write_text(path, &renderer.render(table)?)
}

/// (place in [`RENDERERS`], file)
#[derive(Debug, Clone, Default)]
struct FileArgs(Vec<(usize, PathBuf)>);

impl Args for FileArgs {
    fn augment_args(command: Command) -> Command {
        let files = RENDERERS.iter().filter(|r| r.ending().is_some());
        files.fold(command, |command, renderer| {
            command.arg(
                Arg::new(renderer.name())
                    .long(renderer.name())
                    .value_name("FILE")
                    .value_parser(value_parser!(PathBuf))
                    .help(format!("Also write the table as {}", renderer.title())),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for FileArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let files = RENDERERS.iter().enumerate();
        let files = files.filter(|(_, renderer)| renderer.ending().is_some());
        let given = files.filter_map(|(format, renderer)| {
            let path = matches.get_one::<PathBuf>(renderer.name())?;
            Some((format, path.clone()))
        });
        Ok(FileArgs(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
