//! Lines over a quantity that was swept (resolution, number of tokens), with their names beside
//! them.

use super::axis::Axis;
use super::canvas::{self, Chart, FONT, Margins, Root, SIZE, colour, failed};
use crate::Result;
use plotters::prelude::*;

/// A value with its interval, where it has one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct At {
    pub x: f64,
    pub y: f64,
    pub interval: Option<(f64, f64)>,
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub name: String,
    pub points: Vec<At>,
}

/// What the plot and its axes are called.
#[derive(Debug, Clone, Copy)]
pub struct Titles<'a> {
    pub plot: &'a str,
    pub x: &'a str,
    pub y: &'a str,
}

/// Longest name that is written beside its line, in pixels.
const WIDEST: i32 = 260;

/// SVG of `lines`: a tick at every x, y logarithmic or not. Names stand at the right ends of the
/// lines where all fit, else in a legend.
pub fn draw(titles: Titles, lines: &[Line], logarithmic: bool) -> Result<String> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let x = Axis::at_values(titles.x, points().map(|p| p.x));
    let ys = points().flat_map(|p| {
        let (low, high) = p.interval.unwrap_or((p.y, p.y));
        [p.y, low, high]
    });
    let y = match logarithmic {
        true => Axis::logarithmic(titles.y, ys),
        false => Axis::linear(titles.y, ys),
    };
    let widest = lines.iter().map(|l| canvas::text_width(&l.name)).max();
    let widest = widest.unwrap_or(0).min(WIDEST);

    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let margins = Margins {
            left: 62,
            right: widest + 16,
        };
        let mut chart = canvas::chart(&root, titles.plot, x, y, &margins)?;
        for (index, line) in lines.iter().enumerate() {
            draw_line(&mut chart, line, colour(index))?;
        }
        names(&root, &chart, lines)?;
        root.present().map_err(failed)?;
    }
    Ok(svg)
}

fn draw_line(chart: &mut Chart, line: &Line, colour: RGBColor) -> Result<()> {
    let mut points = line.points.clone();
    points.sort_by(|a, b| a.x.total_cmp(&b.x));
    let at = |p: &At| (p.x, p.y);
    let bars = points.iter().filter_map(|p| {
        let (low, high) = p.interval?;
        let ends = [(p.x, low), (p.x, high)];
        Some(PathElement::new(ends, colour.stroke_width(1)))
    });
    chart.draw_series(bars).map_err(failed)?;
    let path = points.iter().map(at);
    chart
        .draw_series(LineSeries::new(path, colour.stroke_width(2)))
        .map_err(failed)?;
    let dots = points
        .iter()
        .map(|p| Circle::new(at(p), 3, colour.filled()));
    chart.draw_series(dots).map_err(failed)?;
    Ok(())
}

/// Each name at the right end of its line, moved apart; a legend at the upper left where the names
/// are too many.
fn names(root: &Root, chart: &Chart, lines: &[Line]) -> Result<()> {
    let ends: Vec<(i32, i32)> = lines
        .iter()
        .filter_map(|line| line.points.iter().max_by(|a, b| a.x.total_cmp(&b.x)))
        .map(|p| chart.backend_coord(&(p.x, p.y)))
        .collect();
    let (columns, rows) = chart.plotting_area().get_pixel_range();
    let heights: Vec<i32> = ends.iter().map(|end| end.1).collect();
    match canvas::spread(&heights, rows.start, rows.end) {
        Some(placed) => {
            for (index, (line, &height)) in lines.iter().zip(&placed).enumerate() {
                let at = (columns.end + 10, height);
                let leader = [ends[index], (columns.end + 6, height)];
                let style = colour(index).mix(0.5).stroke_width(1);
                root.draw(&PathElement::new(leader, style))
                    .map_err(failed)?;
                canvas::text(root, &line.name, at, colour(index))?;
            }
        }
        None => {
            let (left, top) = (columns.start + 12, rows.start + 14);
            for (index, line) in lines.iter().enumerate() {
                let height = top + index as i32 * (FONT + 2);
                let key = [(left, height), (left + 16, height)];
                root.draw(&PathElement::new(key, colour(index).stroke_width(2)))
                    .map_err(failed)?;
                canvas::text(root, &line.name, (left + 22, height), colour(index))?;
            }
        }
    }
    Ok(())
}
