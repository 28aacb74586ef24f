//! Latency at the smallest batch: over resolution where that was swept, else networks in order.

use super::dots::{self, Dot};
use super::lines::{self, At, Line, Titles};
use super::{Plot, label};
use crate::Result;
use crate::report::Record;
use indexmap::IndexMap;

/// Milliseconds per image of one record: median, fastest, 90th percentile.
struct Timing {
    name: String,
    /// Square root of the area, in pixels.
    side: f64,
    median: f64,
    fastest: f64,
    p90: f64,
}

/// Median milliseconds per image: lines over pixels per side, or with one resolution sorted dots
/// with bars from the fastest pass to the 90th percentile.
pub fn draw(records: &[Record]) -> Result<Plot> {
    let batch = |r: &Record| r.options.get("batch").and_then(|b| b.as_i64()).unwrap_or(1);
    let smallest = records.iter().map(batch).min().unwrap_or(1);
    let timings: Vec<Timing> = records
        .iter()
        .filter(|r| batch(r) == smallest)
        .filter_map(|r| timing(r, smallest))
        .collect();
    let Some(first) = timings.first() else {
        return Ok(Plot::Nothing("no record has a latency".into()));
    };
    if timings.len() == 1 {
        return Ok(Plot::Nothing(format!(
            "one network at one resolution is one point ({}: {:.2} ms)",
            first.name, first.median
        )));
    }
    if timings.iter().all(|t| t.side == first.side) {
        let title = format!("Latency at {} px, batch {smallest}", first.side.round());
        let axis = "ms per image: median, and from the fastest pass to the 90th percentile";
        let dots: Vec<Dot> = timings
            .into_iter()
            .map(|t| Dot {
                name: t.name,
                value: t.median,
                interval: (t.fastest, t.p90),
            })
            .collect();
        return dots::draw(&title, axis, &dots).map(Plot::drawn);
    }
    let mut by_name: IndexMap<String, Vec<At>> = IndexMap::new();
    for timing in timings {
        by_name.entry(timing.name).or_default().push(At {
            x: timing.side,
            y: timing.median,
            interval: None,
        });
    }
    let lines: Vec<Line> = by_name
        .into_iter()
        .map(|(name, points)| Line { name, points })
        .collect();
    let titles = Titles {
        plot: &format!("Latency by resolution, batch {smallest}"),
        x: "pixels per side",
        y: "median ms per image",
        logarithmic_x: false,
        logarithmic_y: true,
    };
    lines::draw(titles, &lines).map(Plot::drawn)
}

fn timing(record: &Record, batch: i64) -> Option<Timing> {
    let per_image = |statistic: &str| {
        let names = [
            format!("latency_ms_{statistic}"),
            format!("batch_ms_{statistic}"),
        ];
        let found = names.iter().find_map(|name| record.metrics.get(name))?;
        Some(found.value / batch as f64)
    };
    let (height, width) = record.resolution;
    Some(Timing {
        name: label(record),
        side: ((height * width) as f64).sqrt(),
        median: per_image("p50")?,
        fastest: per_image("min")?,
        p90: per_image("p90")?,
    })
}
