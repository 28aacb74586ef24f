//! Latency against resolution, one line per network and precision, at the smallest batch.

use super::{SIZE, colour, failed, label};
use crate::Result;
use crate::report::Record;
use indexmap::IndexMap;
use plotters::prelude::*;

/// SVG of milliseconds per image (logarithmic) over pixels per side (square root of the area).
pub fn draw(records: &[Record]) -> Result<String> {
    let mut lines: IndexMap<String, Vec<(f64, f64)>> = IndexMap::new();
    let batch = |r: &Record| r.options.get("batch").and_then(|b| b.as_i64()).unwrap_or(1);
    let smallest = records.iter().map(batch).min().unwrap_or(1);
    for record in records.iter().filter(|r| batch(r) == smallest) {
        if let Some(rate) = record.metrics.get("throughput") {
            let (h, w) = record.resolution;
            let side = ((h * w) as f64).sqrt();
            lines
                .entry(label(record))
                .or_default()
                .push((side, 1e3 / rate.value));
        }
    }
    let all: Vec<(f64, f64)> = lines.values().flatten().copied().collect();
    let low = |f: fn(&(f64, f64)) -> f64| all.iter().map(f).fold(f64::INFINITY, f64::min);
    let high = |f: fn(&(f64, f64)) -> f64| all.iter().map(f).fold(0.0, f64::max);
    let (x0, x1) = (low(|p| p.0), high(|p| p.0));
    let (y0, y1) = (low(|p| p.1), high(|p| p.1));

    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        let margin = 0.05 * (x1 - x0).max(32.0);
        let mut chart = ChartBuilder::on(&root)
            .caption(
                format!("Latency by resolution, batch {smallest}"),
                ("sans-serif", 20),
            )
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(70)
            .build_cartesian_2d(x0 - margin..x1 + margin, (y0 * 0.8..y1 * 1.25).log_scale())
            .map_err(failed)?;
        chart
            .configure_mesh()
            .x_desc("pixels per side")
            .y_desc("ms per image")
            .light_line_style(WHITE.mix(0.0))
            .draw()
            .map_err(failed)?;
        for (index, (name, mut points)) in lines.into_iter().enumerate() {
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let style = colour(index);
            chart
                .draw_series(LineSeries::new(points.clone(), style.stroke_width(2)))
                .map_err(failed)?
                .label(name)
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 16, y)], style.stroke_width(2))
                });
            chart
                .draw_series(
                    points
                        .into_iter()
                        .map(|p| Circle::new(p, 3, style.filled())),
                )
                .map_err(failed)?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.3))
            .draw()
            .map_err(failed)?;
        root.present().map_err(failed)?;
    }
    Ok(svg)
}
