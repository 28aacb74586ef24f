//! `radio-eval fetch`: the only command that touches the network.

use super::Outcome;
use crate::data::catalogue::{self, Catalogue};
use crate::hub::{Hub, HubCache, Plan, Progress, RemoteFile, RepoKind};
use crate::models::zoo;
use crate::{Error, Result, data, models};
use clap::Args;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use std::io::Write;

/// Download weights of models, or data sets, from the Hugging Face hub
///
/// Files go to the hub's standard cache (HF_HOME), where every command finds them. An interrupted
/// download goes on where it stopped. HF_TOKEN opens gated repositories, HF_ENDPOINT names another
/// hub, HF_HUB_OFFLINE forbids it all.
#[derive(Debug, Args)]
pub struct FetchArgs {
    /// Names from `radio-eval models` and `radio-eval datasets`
    #[arg(required = true)]
    pub names: Vec<String>,
    /// Only tell what would be downloaded
    #[arg(long)]
    pub dry_run: bool,
}

pub fn run(args: &FetchArgs, bars: bool) -> anyhow::Result<Outcome> {
    let catalogue = catalogue::load()?;
    // Every name is checked before the first byte is asked for.
    for name in &args.names {
        what(name, &catalogue)?;
    }
    let hub = Hub::from_env()?;
    let cache = HubCache::from_env();
    let mut out = std::io::stdout().lock();
    for name in &args.names {
        let wanted = what(name, &catalogue)?;
        let plan = Plan::new(&hub, &cache, wanted.kind, wanted.repo, &wanted.choose)?;
        let bytes: u64 = plan.files.iter().map(|file| file.size).sum();
        tracing::info!(
            "{name}: {} files, {} from {}",
            plan.files.len(),
            HumanBytes(bytes),
            wanted.repo
        );
        if args.dry_run {
            for file in &plan.files {
                writeln!(out, "{}/{} {}", wanted.repo, file.name, file.size)?;
            }
            continue;
        }
        let folder = plan.fetch(&mut Bars::new(bars))?;
        writeln!(out, "{name} {}", folder.display())?;
    }
    Ok(Outcome::Done)
}

/// Picks files from those of a repository.
type Choose<'a> = Box<dyn Fn(&[String]) -> Result<Vec<String>> + 'a>;

/// A repository and what to take from it.
struct Wanted<'a> {
    kind: RepoKind,
    repo: &'a str,
    choose: Choose<'a>,
}

fn what<'a>(name: &str, catalogue: &'a Catalogue) -> Result<Wanted<'a>> {
    if let Some(entry) = catalogue.entries.iter().find(|e| e.name == name) {
        return match (&entry.config.hub, &entry.config.source) {
            (Some(repo), _) => Ok(Wanted {
                kind: RepoKind::Dataset,
                repo,
                choose: Box::new(|listed| data::fetch::files(entry, listed)),
            }),
            (None, Some(source)) => Err(Error::usage(format!(
                "{name} is not on the Hugging Face hub in a form this tool reads; get it from {source}"
            ))),
            (None, None) => Err(Error::usage(format!(
                "{name} has nothing to fetch (see `radio-eval datasets {name}`)"
            ))),
        };
    }
    let entry = zoo::find(name)
        .map_err(|e| Error::usage(format!("{e}; data sets: radio-eval datasets")))?;
    let own = entry.repositories().next();
    let Some(from) = entry.repository(name).or(own) else {
        if !entry.page.is_empty() {
            return Err(Error::usage(format!(
                "{} is not on the Hugging Face hub; get it from {} and name the file with --weights",
                entry.name, entry.page
            )));
        }
        return Err(Error::usage(format!(
            "{} is in no repository: its weights ship with this tool or were never released",
            entry.name
        )));
    };
    Ok(Wanted {
        kind: RepoKind::Model,
        repo: from.repo,
        choose: Box::new(move |listed| models::fetch::files(from, listed)),
    })
}

/// One bar per file on a terminal, nothing elsewhere.
struct Bars {
    wanted: bool,
    bar: ProgressBar,
}

impl Bars {
    fn new(wanted: bool) -> Self {
        Bars {
            wanted,
            bar: ProgressBar::hidden(),
        }
    }
}

impl Progress for Bars {
    fn start(&mut self, file: &RemoteFile, done: u64) {
        self.bar.finish();
        if !self.wanted {
            return;
        }
        let style = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        self.bar = ProgressBar::new(file.size)
            .with_message(file.name.clone())
            .with_position(done);
        if let Ok(style) = ProgressStyle::with_template(style) {
            self.bar.set_style(style);
        }
        self.bar.reset_eta();
    }

    fn at(&mut self, done: u64) {
        self.bar.set_position(done);
    }
}
