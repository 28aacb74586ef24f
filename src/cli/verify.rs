//! `radio-eval verify`: the parity check against reference tensors.

use super::Outcome;
use super::common::{ModelArgs, RuntimeArgs};
use super::numbers;
use crate::models::resolve;
use crate::tasks::verify::{Report, verify};
use crate::weights::safetensors;
use clap::Args;
use comfy_table::{Table, presets::NOTHING};
use std::io::Write;
use std::path::PathBuf;

/// Run a model on a reference's input and compare its outputs with the reference's
///
/// Exit code 3 when a tensor is out of tolerance.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub runtime: RuntimeArgs,
    /// A safetensors file with `input` `[B,3,H,W]` in `[0,1]` and any of `summary`, `features`
    /// (or `spatial`), `ADAPTOR.summary`, `ADAPTOR.features`, each also under `backbone.` and
    /// `nchw.`
    #[arg(long)]
    pub reference: PathBuf,
    /// Largest difference allowed, times the reference's largest value where that is above 1
    #[arg(long, default_value_t = 1e-4, value_parser = numbers::not_negative)]
    pub tolerance: f64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &VerifyArgs) -> anyhow::Result<Outcome> {
    let runtime = args.runtime.runtime()?;
    let (reference, _) = safetensors::open(&args.reference)?;
    let options = args
        .model
        .build_options(runtime.device, args.runtime.precision);
    let model = resolve(&args.model.single()?, &options)?;
    let report = verify(
        model.backbone.as_ref(),
        &args.reference,
        &reference,
        runtime.device,
        args.tolerance,
    )?;
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        write!(out, "{}", text(&report))?;
    }
    if !report.not_compared.is_empty() {
        tracing::info!(
            "{} tensors of the reference are no outputs of this model and were not compared: {}",
            report.not_compared.len(),
            report.not_compared.join(", ")
        );
    }
    Ok(match report.within() {
        true => Outcome::Done,
        false => Outcome::OutOfTolerance,
    })
}

fn text(report: &Report) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["tensor", "shape", "largest value", "largest difference", ""]);
    for c in &report.compared {
        let difference = c.difference.map_or("-".to_string(), |d| format!("{d:.2e}"));
        let verdict = match (&c.problem, c.within) {
            (Some(problem), _) => problem.clone(),
            (None, true) => "ok".to_string(),
            (None, false) => "out of tolerance".to_string(),
        };
        table.add_row([
            c.name.clone(),
            format!("{:?}", c.shape),
            format!("{:.3}", c.scale),
            difference,
            verdict,
        ]);
    }
    let within = report.compared.iter().filter(|c| c.within).count();
    format!(
        "{}\n\n{within} of {} tensors within {:.0e}\n",
        table.trim_fmt(),
        report.compared.len(),
        report.tolerance
    )
}
