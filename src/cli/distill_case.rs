//! `radio-eval distill-case`: the trainer's own code on a case from a folder.

use super::Outcome;
use crate::distill::case;
use clap::Args;
use std::path::PathBuf;

/// Run a distillation case (weights, batch, targets, draws) and write its losses, gradients and
/// parameters, for comparison with other implementations
#[derive(Debug, Args)]
#[command(hide = true)]
pub struct DistillCaseArgs {
    /// A folder with config.json and batch.safetensors, or with phi_s.safetensors, or both
    pub case_dir: PathBuf,
    /// Where losses.json, grads.safetensors and after_steps.safetensors go
    pub out_dir: PathBuf,
}

pub fn run(args: &DistillCaseArgs) -> anyhow::Result<Outcome> {
    case::run(&args.case_dir, &args.out_dir)?;
    Ok(Outcome::Done)
}
