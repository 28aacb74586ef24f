//! Accuracy against throughput, with the Pareto front.

mod points;

pub use points::{Joined, Point, join};

use super::Plot;
use super::axis::Axis;
use super::canvas::{self, Chart, FONT, Margins, Root, SIZE, colour, failed};
use crate::Result;
use crate::report::{Record, columns};
use plotters::prelude::*;

/// Radius of a point in pixels.
const RADIUS: i32 = 5;

/// Hollow points have published accuracies. Nothing is drawn of fewer than two points.
pub fn draw(speeds: &[Record], accuracies: &[Record], metric: &str) -> Result<Plot> {
    let Joined { points, left_out } = join(speeds, accuracies, metric);
    match points.as_slice() {
        [] => Ok(Plot::Nothing(format!(
            "no network has a {metric} at the resolution, window and precision of its speed"
        ))),
        [one] => Ok(Plot::Nothing(format!(
            "one network is one point ({}: {:.2} at {:.2} images/s)",
            one.name, one.accuracy, one.throughput
        ))),
        points => {
            let svg = draw_points(points, &columns::metric_column(metric).title)?;
            Ok(Plot::Drawn { svg, left_out })
        }
    }
}

fn draw_points(points: &[Point], title: &str) -> Result<String> {
    let x = Axis::logarithmic("images/s", points.iter().map(|p| p.throughput));
    let accuracies = points.iter().flat_map(|p| {
        let (low, high) = p.interval.unwrap_or((p.accuracy, p.accuracy));
        [low, high]
    });
    let y = Axis::linear(title, accuracies);
    let caption = match points.iter().any(|p| p.published) {
        true => format!("{title} and throughput (hollow: published accuracy)"),
        false => format!("{title} and throughput"),
    };
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let margins = Margins { left: 62, right: 0 };
        let mut chart = canvas::chart(&root, &caption, x, y, &margins)?;
        let at = |p: &Point| (p.throughput, p.accuracy);
        let front = pareto(points).into_iter().map(at);
        chart
            .draw_series(LineSeries::new(front, BLACK.mix(0.4)))
            .map_err(failed)?;
        for (index, point) in points.iter().enumerate() {
            if let Some((low, high)) = point.interval {
                let ends = [(point.throughput, low), (point.throughput, high)];
                let bar = PathElement::new(ends, colour(index).stroke_width(1));
                chart.draw_series([bar]).map_err(failed)?;
            }
            let style = match point.published {
                true => colour(index).stroke_width(2),
                false => colour(index).filled(),
            };
            let circle = Circle::new(at(point), RADIUS, style);
            chart.draw_series([circle]).map_err(failed)?;
        }
        let places: Vec<(i32, i32)> = points.iter().map(|p| chart.backend_coord(&at(p))).collect();
        names(&root, &chart, points, &places)?;
        root.present().map_err(failed)?;
    }
    Ok(svg)
}

/// A rectangle of pixels: left, top, right, bottom.
type Area = [i32; 4];

/// Each name beside its point, where it covers no point and no other name; right of it where no
/// place is free.
fn names(root: &Root, chart: &Chart, points: &[Point], places: &[(i32, i32)]) -> Result<()> {
    let (columns, rows) = chart.plotting_area().get_pixel_range();
    let reach = RADIUS + 1;
    let mut covered: Vec<Area> = places
        .iter()
        .map(|&(x, y)| [x - reach, y - reach, x + reach, y + reach])
        .collect();
    for (index, (point, &(x, y))) in points.iter().zip(places).enumerate() {
        let width = canvas::text_width(&point.name);
        let right = x + reach + 3;
        let left = x - reach - 3 - width;
        let line = FONT / 2 + reach + 2;
        let candidates = [
            (right, y),
            (left, y),
            (x - width / 2, y - line),
            (x - width / 2, y + line),
            (right, y - line),
            (right, y + line),
            (left, y - line),
            (left, y + line),
        ];
        let area = |(left, middle): (i32, i32)| -> Area {
            [
                left,
                middle - FONT / 2 - 1,
                left + width,
                middle + FONT / 2 + 1,
            ]
        };
        let is_free = |place: &&(i32, i32)| {
            let own = area(**place);
            own[0] >= columns.start
                && own[2] <= columns.end
                && own[1] >= rows.start
                && own[3] <= rows.end
                && !covered.iter().any(|other| overlap(&own, other))
        };
        let place = *candidates.iter().find(is_free).unwrap_or(&candidates[0]);
        covered.push(area(place));
        canvas::text(root, &point.name, place, colour(index))?;
    }
    Ok(())
}

fn overlap(a: &Area, b: &Area) -> bool {
    a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]
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
            interval: None,
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
