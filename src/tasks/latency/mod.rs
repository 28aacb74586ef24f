//! `radio-eval latency`: how fast a backbone is, measured so that models can be compared.
//!
//! Models are loaded together and timed in turns (A B C A B C ...), so that drift of the machine
//! cancels. Warm-up ends when two successive windows of timings agree
//! ([`crate::metrics::latency::is_warm`]) or after a time limit, which is then said.

mod case;
mod clock;
mod matrix_peak;
mod measure;
mod memory;
mod options;
mod rival;
mod stages;

pub use case::Case;
pub use options::{Options, Variant};

use super::Finished;
use crate::runtime::limits::check_batch;
use crate::runtime::shim::OperatorRow;
use crate::runtime::{Precision, interrupt};
use crate::{Error, Result};
use rival::Rival;

/// What the user hears while it runs, and where finished records go.
pub trait Observer {
    /// A line about what is being done.
    fn stage(&mut self, text: &str);

    /// Operators of one pass of a case, slowest first (with `Options::profile`).
    fn profile(&mut self, label: &str, operators: &[OperatorRow]);

    /// A finished cell; an error stops the run (nothing measured so far is lost).
    fn finished(&mut self, finished: Finished) -> Result<()>;
}

/// Runs every combination the options name; the observer gets the records in that order.
pub fn run(options: &Options, observer: &mut dyn Observer) -> Result<()> {
    options.check()?;
    for &precision in &options.precisions {
        run_precision(options, precision, observer)?;
    }
    Ok(())
}

fn run_precision(
    options: &Options,
    precision: Precision,
    observer: &mut dyn Observer,
) -> Result<()> {
    observer.stage(&format!("measuring the {} matrix peak", precision.name()));
    let peak = matrix_peak::measure(options.device, precision.kind())?;
    let mut rivals = Vec::new();
    for variant in options.variants()? {
        observer.stage(&format!(
            "loading {} ({})",
            variant.label(),
            precision.name()
        ));
        rivals.push(Rival::load(&variant, options, precision)?);
    }
    if rivals.is_empty() {
        return Err(Error::usage("nothing to measure: name at least one model"));
    }
    for (resolution, batch) in options.shapes() {
        interrupt::check()?;
        let cases: Vec<Case> = rivals
            .iter()
            .map(|rival| Case::new(rival, resolution, batch))
            .collect();
        for case in &cases {
            let (height, width) = case.resolution;
            check_batch(case.batch as usize, height, width)?;
        }
        observer.stage(&describe(&cases));
        for record in measure::run(&rivals, cases, options, precision, peak, observer)? {
            observer.finished(Finished::record(record))?;
        }
    }
    Ok(())
}

fn describe(cases: &[Case]) -> String {
    let of = |case: &Case| {
        let (h, w) = case.resolution;
        format!("{} {h}x{w} batch {}", case.label, case.batch)
    };
    cases.iter().map(of).collect::<Vec<_>>().join(", ")
}
