//! About how long a run takes: as long as it took, else by the operations of its network.

use super::plan::Run;
use crate::data::catalogue;
use crate::models::zoo;
use std::time::Duration;

/// What a slow server core does, so that an estimate is rather too long.
const FLOPS_PER_CORE: f64 = 6e10;
const FLOPS_OF_GPU: f64 = 2e13;
/// Iterations and images of each, of mmseg's recipe (spec/published.md §3).
const PROBE_PASSES: u64 = 80_000 * 16;

/// Seconds; `None` where the network or the data is not known by name.
pub fn seconds(run: &Run) -> Option<f64> {
    if run.task.in_turns {
        let seconds = run.flag("seconds").and_then(|text| text.parse().ok());
        return Some(run.models.len() as f64 * (seconds.unwrap_or(5.0) + 10.0));
    }
    let entry = zoo::find(run.models.first()?).ok()?;
    let side = match run.flag("resolution") {
        Some(text) => text.split('x').next()?.parse::<f64>().ok()?,
        None => entry.preferred.0 as f64,
    };
    let catalogue = catalogue::load().ok()?;
    let data = catalogue.find(run.data()?).ok()??;
    let samples = |split: &str| data.split(split).and_then(|split| split.samples);
    let limited = |samples: Option<u64>, flag: &str| {
        let limit = run.flag(flag).and_then(|text| text.parse().ok());
        limit.map_or(samples, |limit: u64| samples.map(|n| n.min(limit)))
    };
    let train = samples("train").unwrap_or(0);
    let images = match run.task.name {
        "ade20k" => match run.flag("preset") {
            Some("mini" | "quick") => train,
            _ => PROBE_PASSES,
        },
        _ if run.flag("task") == Some("zero-shot") => 0,
        _ => train,
    };
    let images = images + limited(samples("val"), "limit")?;
    let tokens = (side / entry.patch as f64).powi(2);
    let operations = 2.0 * entry.parameters? as f64 * tokens * images as f64;
    let is_gpu = tch::Cuda::device_count() > 0 && run.flag("device") != Some("cpu");
    let rate = match is_gpu {
        true => FLOPS_OF_GPU,
        false => {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            cores as f64 * FLOPS_PER_CORE
        }
    };
    Some(operations / rate + 5.0)
}

/// `2h 10m`: the two largest units.
pub fn words(seconds: Option<f64>) -> String {
    let Some(seconds) = seconds else {
        return "not known".to_string();
    };
    let rounded = match seconds {
        s if s < 120.0 => s.ceil(),
        s => (s / 60.0).ceil() * 60.0,
    };
    let text = humantime::format_duration(Duration::from_secs(rounded as u64)).to_string();
    let parts: Vec<&str> = text.split(' ').take(2).collect();
    format!("about {}", parts.join(" "))
}
