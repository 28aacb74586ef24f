//! `radio-eval cache`: what is kept between runs, how large and how old it is, and taking it away.

use super::Outcome;
use crate::runtime::home;
use crate::tasks::cache::{self, CachedItem, Selection};
use crate::{Error, Result};
use clap::{Args, Subcommand};
use comfy_table::{Table, presets::NOTHING};
use std::io::Write;
use std::time::Duration;

/// List what is kept between runs, or take some of it away
#[derive(Debug, Args)]
pub struct CacheArgs {
    #[command(subcommand)]
    command: Option<CacheCommand>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum CacheCommand {
    /// Take entries away: those that meet every condition given
    Prune(PruneArgs),
}

#[derive(Debug, Args)]
struct PruneArgs {
    /// Not used for so long: 30d, 12h, 45m or 90s
    #[arg(long, value_name = "AGE", value_parser = parse_age)]
    older_than: Option<Duration>,
    /// Of this model, as the list names it
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Everything (with the conditions: everything that meets them)
    #[arg(long)]
    all: bool,
}

pub fn run(args: &CacheArgs) -> anyhow::Result<Outcome> {
    let entries = cache::list(&home())?;
    for entry in &entries {
        if let Some(damage) = &entry.damage {
            tracing::warn!(
                "{} is damaged ({damage}); it is made anew when it is needed",
                entry.path.display()
            );
        }
    }
    let mut out = std::io::stdout().lock();
    let Some(CacheCommand::Prune(prune)) = &args.command else {
        match args.json {
            true => writeln!(out, "{}", serde_json::to_string_pretty(&entries)?)?,
            false => write!(out, "{}", table(&entries))?,
        }
        return Ok(Outcome::Done);
    };
    let removed = pruned(&entries, prune)?;
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&removed)?)?;
    } else {
        let bytes: u64 = removed.iter().map(|entry| entry.bytes).sum();
        writeln!(
            out,
            "removed {} of {} entries, {}",
            removed.len(),
            entries.len(),
            size(bytes)
        )?;
    }
    Ok(Outcome::Done)
}

/// Takes the chosen entries away; returns those that went.
fn pruned<'a>(entries: &'a [CachedItem], args: &PruneArgs) -> Result<Vec<&'a CachedItem>> {
    if !args.all && args.older_than.is_none() && args.model.is_none() {
        return Err(Error::usage(
            "say what to take away: --older-than AGE, --model NAME or --all",
        ));
    }
    let selection = Selection {
        older_than: args.older_than,
        model: args.model.clone(),
    };
    let mut removed = Vec::new();
    for entry in entries.iter().filter(|entry| selection.takes(entry)) {
        match cache::remove(entry)? {
            true => removed.push(entry),
            false => tracing::warn!(
                "{} is in use by another process; it stays",
                entry.path.display()
            ),
        }
    }
    Ok(removed)
}

fn table(entries: &[CachedItem]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["what", "model", "size", "last used", "done", "where"]);
    for entry in entries {
        let done = match (&entry.damage, entry.done) {
            (Some(_), _) => "damaged".to_string(),
            (None, Some((done, total))) if done == total => total.to_string(),
            (None, Some((done, total))) => format!("{done} of {total}"),
            (None, None) => String::new(),
        };
        table.add_row([
            entry.kind.name().to_string(),
            entry.model.clone().unwrap_or_else(|| "-".into()),
            size(entry.bytes),
            format!("{} ago", age(entry.age_s)),
            done,
            entry.path.display().to_string(),
        ]);
    }
    let bytes: u64 = entries.iter().map(|entry| entry.bytes).sum();
    format!(
        "{}\n\n{} entries, {}\n",
        table.trim_fmt(),
        entries.len(),
        size(bytes)
    )
}

fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

fn age(seconds: u64) -> String {
    match seconds {
        s if s < 120 => format!("{s}s"),
        s if s < 2 * 3_600 => format!("{}m", s / 60),
        s if s < 2 * 86_400 => format!("{}h", s / 3_600),
        s => format!("{}d", s / 86_400),
    }
}

/// `30d`, `12h`, `45m`, `90s`
fn parse_age(text: &str) -> Result<Duration, String> {
    let wrong =
        || "use a number of days, hours, minutes or seconds: 30d, 12h, 45m, 90s".to_string();
    let unit = match text.chars().last() {
        Some('d') => 86_400,
        Some('h') => 3_600,
        Some('m') => 60,
        Some('s') => 1,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    let seconds = number.checked_mul(unit).ok_or_else(wrong)?;
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::parse_age;
    use std::time::Duration;

    #[test]
    fn ages() {
        assert_eq!(parse_age("2d"), Ok(Duration::from_secs(172_800)));
        assert_eq!(parse_age("90s"), Ok(Duration::from_secs(90)));
        for wrong in ["", "d", "2", "-1d", "1.5h", "99999999999999999d", "2 Tage"] {
            assert!(parse_age(wrong).is_err(), "{wrong}");
        }
    }
}
