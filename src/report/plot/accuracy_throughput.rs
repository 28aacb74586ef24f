//! Accuracy against throughput, with the Pareto front.

use super::{SIZE, colour, failed, label};
use crate::Result;
use crate::report::{Record, columns};
use plotters::prelude::*;

/// A network: its best throughput, and an accuracy.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    pub name: String,
    pub throughput: f64,
    pub accuracy: f64,
    /// The accuracy is a published value, not one measured here.
    pub published: bool,
}

/// SVG, or `None` when no model has an accuracy. Hollow points have published accuracies.
pub fn draw(latencies: &[Record], accuracies: &[Record], metric: &str) -> Result<Option<String>> {
    let points = points(latencies, accuracies, metric);
    if points.is_empty() {
        return Ok(None);
    }
    let fold = |f: fn(&Point) -> f64, start: f64, pick: fn(f64, f64) -> f64| {
        points.iter().map(f).fold(start, pick)
    };
    let x0 = fold(|p| p.throughput, f64::INFINITY, f64::min);
    let x1 = fold(|p| p.throughput, 0.0, f64::max);
    let y0 = fold(|p| p.accuracy, f64::INFINITY, f64::min);
    let y1 = fold(|p| p.accuracy, 0.0, f64::max);
    let title = columns::metric_column(metric).title;

    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(
                format!("{title} and throughput (hollow: published accuracy)"),
                ("sans-serif", 20),
            )
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d((x0 * 0.7..x1 * 2.0).log_scale(), y0 - 2.0..y1 + 2.0)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .x_desc("images/s")
            .y_desc(&title)
            .light_line_style(WHITE.mix(0.0))
            .draw()
            .map_err(failed)?;
        let front = pareto(&points)
            .into_iter()
            .map(|p| (p.throughput, p.accuracy));
        chart
            .draw_series(LineSeries::new(front, BLACK.mix(0.4)))
            .map_err(failed)?;
        for (index, point) in points.iter().enumerate() {
            let at = (point.throughput, point.accuracy);
            let style = match point.published {
                true => colour(index).stroke_width(2),
                false => colour(index).filled(),
            };
            let dot = EmptyElement::at(at)
                + Circle::new((0, 0), 5, style)
                + Text::new(point.name.clone(), (8, -6), ("sans-serif", 13));
            chart.draw_series(std::iter::once(dot)).map_err(failed)?;
        }
        root.present().map_err(failed)?;
    }
    Ok(Some(svg))
}

/// The fastest record of each network that has an accuracy. Accuracies from random weights are
/// worth nothing and are left out.
fn points(latencies: &[Record], accuracies: &[Record], metric: &str) -> Vec<Point> {
    let mut points: Vec<Point> = Vec::new();
    for record in latencies {
        let Some(rate) = record.metrics.get("throughput") else {
            continue;
        };
        let measured = accuracies
            .iter()
            .filter(|a| a.model.name == record.model.name && !a.model.random_weights)
            .find_map(|a| a.metrics.get(metric));
        let published = || record.published.iter().find(|p| p.metric == metric);
        let accuracy = match measured {
            Some(value) => (value.value, false),
            None => match published() {
                Some(value) => (value.value, true),
                None => continue,
            },
        };
        let point = Point {
            name: label(record),
            throughput: rate.value,
            accuracy: accuracy.0,
            published: accuracy.1,
        };
        match points.iter_mut().find(|p| p.name == point.name) {
            Some(known) if known.throughput < point.throughput => *known = point,
            Some(_) => {}
            None => points.push(point),
        }
    }
    points
}

/// Points that no other beats in both, slowest first.
pub fn pareto(points: &[Point]) -> Vec<&Point> {
    let mut front: Vec<&Point> = points
        .iter()
        .filter(|p| {
            !points.iter().any(|q| {
                q.throughput >= p.throughput
                    && q.accuracy >= p.accuracy
                    && (q.throughput, q.accuracy) != (p.throughput, p.accuracy)
            })
        })
        .collect();
    front.sort_by(|a, b| a.throughput.total_cmp(&b.throughput));
    front
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_has_what_nothing_beats() {
        let point = |name: &str, throughput, accuracy| Point {
            name: name.into(),
            throughput,
            accuracy,
            published: false,
        };
        let all = [
            point("slow and good", 1.0, 86.0),
            point("beaten", 1.0, 80.0),
            point("fast", 7.0, 83.0),
            point("beaten too", 5.0, 82.0),
        ];
        let names: Vec<&str> = pareto(&all).iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["slow and good", "fast"]);
    }
}
