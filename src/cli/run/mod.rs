//! `radio-eval run`: a table from a bench config, cell by cell.

mod estimate;
mod execute;
mod github;
mod outcome;
pub mod plan;
mod state;
pub mod tasks;

use super::Outcome;
use super::results::writable_file;
use super::tables;
use crate::config::bench::BenchFile;
use crate::files::write_atomically;
use crate::report::render::TERMINAL;
use crate::report::{Comparison, Record};
use crate::runtime::interrupt;
use crate::{Error, Result};
use clap::Args;
use outcome::RunOutcome;
use plan::Run;
use state::State;
use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Reproduce a table: run what a bench config names, and compare with published values
///
/// Cells whose records are valid (same weights, data, options and tool) are not run again, and a
/// failed cell stops no other. docs/bench-configs.md describes the file.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The table (bench-configs/*.toml)
    config: PathBuf,
    /// Folder of records and tables (default: what the config says, else results/NAME)
    #[arg(long)]
    out: Option<PathBuf>,
    /// Print the plan and run nothing
    #[arg(long)]
    dry_run: bool,
    /// Only these cells: ROW, COLUMN or ROW:COLUMN, several with commas (cells that are measured in
    /// one run with them come along)
    #[arg(long, value_delimiter = ',', value_name = "CELL")]
    only: Vec<String>,
    /// Exit code 3 where a value is further from its reference than its tolerance
    #[arg(long)]
    check: bool,
    /// Run everything again
    #[arg(long)]
    restart: bool,
    /// Annotations for GitHub, and the table for its step summary
    #[arg(long)]
    github: bool,
    /// Print the comparison as JSON instead of the table
    #[arg(long)]
    json: bool,
}

/// A run with its place on disk and whether it is to be done.
struct Job {
    run: Run,
    folder: PathBuf,
    status: Status,
}

enum Status {
    /// Its records are there and valid.
    Valid(Vec<Record>),
    ToDo(Box<State>),
    /// It cannot run: why.
    Impossible(String),
    /// Not asked for.
    Left(Vec<Record>),
}

pub fn run(args: &RunArgs) -> anyhow::Result<Outcome> {
    let file = BenchFile::read(&args.config)?;
    let runs = plan::plan(&file)?;
    let out = args.out.clone().unwrap_or_else(|| file.out());
    check_only(&file, &args.only)?;
    let jobs = runs
        .into_iter()
        .map(|run| job(&file, run, &out, args))
        .collect::<Result<Vec<Job>>>()?;
    let plan = describe(&file, &jobs);
    if args.dry_run {
        std::io::stdout().write_all(plan.as_bytes())?;
        return Ok(Outcome::Done);
    }
    eprint!("{plan}");
    writable_file(&out.join("table.json"))?;
    let (runs, outcomes) = work(jobs)?;
    let comparison = outcome::compare(&file, &runs, &outcomes);
    save(&comparison, &out)?;
    let text = match args.json {
        true => serde_json::to_string_pretty(&comparison.to_json())? + "\n",
        false => TERMINAL.render(&comparison.to_table())?,
    };
    std::io::stdout().write_all(text.as_bytes())?;
    conclude(args, &comparison)
}

fn job(file: &BenchFile, run: Run, out: &Path, args: &RunArgs) -> Result<Job> {
    let folder = out.join("records").join(run.folder());
    let records = match folder.is_dir() {
        true => Record::read_folder(&folder).unwrap_or_default(),
        false => Vec::new(),
    };
    let wanted = args.only.is_empty() || run.cells.iter().any(|&cell| is_asked(file, cell, args));
    let status = match State::now(&run) {
        Err(Error::Interrupted) => return Err(Error::Interrupted),
        Err(reason) => Status::Impossible(reason.to_string()),
        Ok(state) => {
            let valid = state.is_valid(&folder, &records)?;
            match (wanted, valid && !args.restart) {
                (true, true) => Status::Valid(records),
                (true, false) => Status::ToDo(Box::new(state)),
                (false, true) => Status::Left(records),
                (false, false) => Status::Left(Vec::new()),
            }
        }
    };
    let status = match (wanted, status) {
        (false, Status::Impossible(_)) => Status::Left(Vec::new()),
        (_, status) => status,
    };
    Ok(Job {
        run,
        folder,
        status,
    })
}

fn is_asked(file: &BenchFile, (row, column): (usize, usize), args: &RunArgs) -> bool {
    let row = file.config.rows[row].get_ref();
    let column = &file.config.columns[column].get_ref().id;
    let is_row = |name: &str| name == row.label() || name == row.model;
    args.only.iter().any(|name| {
        is_row(name)
            || name == column
            || name
                .rsplit_once(':')
                .is_some_and(|(r, c)| is_row(r) && c == column)
    })
}

/// A name that means no cell is a misspelling.
fn check_only(file: &BenchFile, only: &[String]) -> Result<()> {
    for name in only {
        let (row, column) = match name.rsplit_once(':') {
            Some((row, column)) => (Some(row), Some(column)),
            None => (None, None),
        };
        let mut rows = file.config.rows.iter().map(|row| row.get_ref());
        let mut columns = file
            .config
            .columns
            .iter()
            .map(|column| &column.get_ref().id);
        let known = match (row, column) {
            (Some(r), Some(c)) => {
                rows.any(|row| row.label() == r || row.model == r) && columns.any(|id| id == c)
            }
            _ => {
                rows.any(|row| row.label() == name || row.model == *name)
                    || columns.any(|id| id == name)
            }
        };
        if !known {
            let ids: Vec<&str> = file
                .config
                .columns
                .iter()
                .map(|column| column.get_ref().id.as_str())
                .collect();
            let labels: Vec<&str> = file
                .config
                .rows
                .iter()
                .map(|r| r.get_ref().label())
                .collect();
            return Err(Error::usage(format!(
                "--only {name}: no such row or column; rows: {}; columns: {}",
                labels.join(", "),
                ids.join(", ")
            )));
        }
    }
    Ok(())
}

/// The plan for people: a line for each run.
fn describe(file: &BenchFile, jobs: &[Job]) -> String {
    let cells: usize = jobs.iter().map(|job| job.run.cells.len()).sum();
    let mut text = format!(
        "{} ({}): {cells} cells in {} runs\n",
        file.config.title,
        file.path.display(),
        jobs.len()
    );
    let mut total = 0.0;
    let mut unknown = 0;
    for (index, job) in jobs.iter().enumerate() {
        let status = match &job.status {
            Status::Valid(_) => "done".to_string(),
            Status::Left(_) => "left out".to_string(),
            Status::Impossible(reason) => {
                format!("cannot run: {}", reason.lines().next().unwrap_or_default())
            }
            Status::ToDo(_) => {
                let before = State::read(&job.folder).map(|state| state.wall_s);
                let seconds = before.or_else(|| estimate::seconds(&job.run));
                total += seconds.unwrap_or(0.0);
                unknown += usize::from(seconds.is_none());
                estimate::words(seconds)
            }
        };
        let _ = writeln!(
            text,
            "{:>3}. {} [{}]\n     radio-eval {}",
            index + 1,
            cell_names(file, &job.run),
            status,
            job.run.words().join(" ")
        );
    }
    let _ = match unknown {
        0 => writeln!(text, "to do: {}", estimate::words(Some(total))),
        n => writeln!(
            text,
            "to do: {}, and {n} runs that nothing is known of",
            estimate::words(Some(total))
        ),
    };
    text
}

/// `E-RADIO-L: kNN, zero-shot`
fn cell_names(file: &BenchFile, run: &Run) -> String {
    let mut rows: Vec<&str> = Vec::new();
    let mut columns: Vec<&str> = Vec::new();
    for &(r, c) in &run.cells {
        let row = file.config.rows[r].get_ref().label();
        let column = file.config.columns[c].get_ref().id.as_str();
        if !rows.contains(&row) {
            rows.push(row);
        }
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    format!("{}: {}", rows.join(", "), columns.join(", "))
}

/// Does what is to do; a failure is kept as the outcome of its run.
fn work(jobs: Vec<Job>) -> Result<(Vec<Run>, Vec<RunOutcome>)> {
    let count = jobs.len();
    let mut runs = Vec::with_capacity(count);
    let mut outcomes = Vec::with_capacity(count);
    for (index, job) in jobs.into_iter().enumerate() {
        interrupt::check()?;
        let outcome = match job.status {
            Status::Valid(records) => RunOutcome::Records(records),
            Status::Left(records) if records.is_empty() => RunOutcome::Open,
            Status::Left(records) => RunOutcome::Records(records),
            Status::Impossible(reason) => RunOutcome::Failed(reason),
            Status::ToDo(state) => {
                tracing::info!("[{}/{count}] {}", index + 1, job.run.words().join(" "));
                match run_one(&job.run, &job.folder, *state) {
                    Ok(records) => RunOutcome::Records(records),
                    Err(Error::Interrupted) => return Err(Error::Interrupted),
                    Err(reason) => {
                        tracing::warn!("[{}/{count}] failed: {reason}", index + 1);
                        RunOutcome::Failed(reason.to_string())
                    }
                }
            }
        };
        runs.push(job.run);
        outcomes.push(outcome);
    }
    Ok((runs, outcomes))
}

/// Runs a command into an emptied folder. Features and training states are kept elsewhere, so a
/// stopped run goes on.
fn run_one(run: &Run, folder: &Path, state: State) -> Result<Vec<Record>> {
    State::forget(folder)?;
    if folder.is_dir() {
        std::fs::remove_dir_all(folder).map_err(|e| Error::file(folder, e))?;
    }
    std::fs::create_dir_all(folder).map_err(|e| Error::file(folder, e))?;
    let started = Instant::now();
    execute::execute(run, folder)?;
    let records = Record::read_folder(folder)?;
    state.write(folder, &records, started.elapsed().as_secs_f64())?;
    Ok(records)
}

/// The table in every format.
fn save(comparison: &Comparison, out: &Path) -> Result<()> {
    let table = comparison.to_table();
    tables::write_all(out, &table, &table)?;
    let json = serde_json::to_vec_pretty(&comparison.to_json())
        .map_err(|e| Error::file(out, format!("the comparison is no JSON: {e}")))?;
    write_atomically(&out.join("table.json"), &json)
}

fn conclude(args: &RunArgs, comparison: &Comparison) -> anyhow::Result<Outcome> {
    let deviations = comparison.deviations();
    let failures = comparison.failures();
    if args.github {
        github::annotate(&args.config, &deviations, &failures);
        github::summarise(comparison)?;
    }
    if args.check {
        for deviation in &deviations {
            eprintln!("out of tolerance: {}", deviation.sentence);
        }
    }
    if !failures.is_empty() {
        return Err(Error::model(format!(
            "{} of the cells failed; the table says why, and the same command runs them again",
            failures.len()
        ))
        .into());
    }
    Ok(match args.check && !deviations.is_empty() {
        true => Outcome::OutOfTolerance,
        false => Outcome::Done,
    })
}
