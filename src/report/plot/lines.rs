//! Lines over a quantity that was swept (resolution, number of tokens), with their names beside
//! them.

use super::axis::Axis;
use super::canvas::{self, Chart, Margins, Root, SIZE, colour, failed};
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

/// What the plot and its axes are called, and which axes are logarithmic.
#[derive(Debug, Clone, Copy)]
pub struct Titles<'a> {
    pub plot: &'a str,
    pub x: &'a str,
    pub y: &'a str,
    pub logarithmic_x: bool,
    pub logarithmic_y: bool,
}

/// Longest name that is written beside its line, in pixels.
const WIDEST: i32 = 260;

/// Pixels of the sheet above and below the rectangle of the axes.
const AROUND: i32 = 110;

/// SVG of `lines`: a tick at every x where they fit, names at the right ends of the lines. The sheet
/// is as high as the names need.
pub fn draw(titles: Titles, lines: &[Line]) -> Result<String> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let x = Axis::at_values(titles.x, points().map(|p| p.x), titles.logarithmic_x);
    let ys = points().flat_map(|p| {
        let (low, high) = p.interval.unwrap_or((p.y, p.y));
        [p.y, low, high]
    });
    let y = match titles.logarithmic_y {
        true => Axis::logarithmic(titles.y, ys),
        false => Axis::linear(titles.y, ys),
    };
    let widest = lines.iter().map(|l| canvas::text_width(&l.name)).max();
    let widest = widest.unwrap_or(0).min(WIDEST);
    let names_height = (lines.len() as i32 * canvas::LINE + AROUND).max(0) as u32;

    let mut svg = String::new();
    {
        let size = (SIZE.0, SIZE.1.max(names_height));
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let margins = Margins {
            left: 62,
            right: widest + 16,
        };
        let mut chart = canvas::chart(&root, titles.plot, x, y, &margins)?;
        for (index, line) in lines.iter().enumerate() {
            draw_line(&mut chart, line, index)?;
        }
        names(&root, &chart, lines)?;
        root.present().map_err(failed)?;
    }
    Ok(svg)
}

fn draw_line(chart: &mut Chart, line: &Line, index: usize) -> Result<()> {
    let colour = colour(index);
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
    // Colours come round; the second time points are hollow.
    let style = match (index / canvas::COLOURS.len()).is_multiple_of(2) {
        true => colour.filled(),
        false => colour.stroke_width(1),
    };
    let dots = points.iter().map(|p| Circle::new(at(p), 3, style));
    chart.draw_series(dots).map_err(failed)?;
    Ok(())
}

/// Each name at the right end of its line, moved apart.
fn names(root: &Root, chart: &Chart, lines: &[Line]) -> Result<()> {
    let (columns, rows) = chart.plotting_area().get_pixel_range();
    let ends: Vec<(i32, i32)> = lines
        .iter()
        .map(|line| {
            let last = line.points.iter().max_by(|a, b| a.x.total_cmp(&b.x));
            last.map_or((columns.end, rows.end), |p| {
                chart.backend_coord(&(p.x, p.y))
            })
        })
        .collect();
    let heights: Vec<i32> = ends.iter().map(|end| end.1).collect();
    let placed = canvas::spread(&heights, rows.start, rows.end);
    for (index, (line, height)) in lines.iter().zip(placed).enumerate() {
        let leader = [ends[index], (columns.end + 6, height)];
        let style = colour(index).mix(0.5).stroke_width(1);
        root.draw(&PathElement::new(leader, style))
            .map_err(failed)?;
        canvas::text(root, &line.name, (columns.end + 10, height), colour(index))?;
    }
    Ok(())
}
