//! Sorted dots with intervals: many names, one number each.

use super::axis::Axis;
use super::canvas::{self, Margins, SIZE, colour, failed};
use crate::Result;
use plotters::prelude::*;

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct Dot {
    pub name: String,
    pub value: f64,
    pub interval: (f64, f64),
}

/// Height of a row in pixels.
const ROW: i32 = 26;
const TOP: i32 = 44;
const BOTTOM: i32 = 56;
/// Longest name in pixels; longer ones are cut at the sheet's edge.
const WIDEST: i32 = 400;

/// SVG of `dots`, least value first, on a logarithmic axis; as high as it has rows.
pub fn draw(title: &str, axis_title: &str, dots: &[Dot]) -> Result<String> {
    let mut dots = dots.to_vec();
    dots.sort_by(|a, b| a.value.total_cmp(&b.value));
    let values = dots
        .iter()
        .flat_map(|d| [d.value, d.interval.0, d.interval.1]);
    let x = Axis::logarithmic(axis_title, values);
    let names = dots.iter().map(|d| canvas::text_width(&d.name)).max();
    let left = names.unwrap_or(0).min(WIDEST) + 24;
    let height = TOP + ROW * dots.len() as i32 + BOTTOM;

    let mut svg = String::new();
    {
        let size = (SIZE.0, height as u32);
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let margins = Margins { left, right: 48 };
        let rows = Axis::rows(dots.len());
        let mut chart = canvas::chart(&root, title, x, rows, &margins)?;
        for (index, dot) in dots.iter().enumerate() {
            let at = |value: f64| (value, index as f64);
            let ends = [at(dot.interval.0), at(dot.interval.1)];
            let bar = PathElement::new(ends, colour(0).mix(0.6).stroke_width(2));
            chart.draw_series([bar]).map_err(failed)?;
            let circle = Circle::new(at(dot.value), 5, colour(0).filled());
            chart.draw_series([circle]).map_err(failed)?;
            let (_, height) = chart.backend_coord(&at(dot.value));
            canvas::text(&root, &dot.name, (18, height), BLACK)?;
            let (end, _) = chart.backend_coord(&at(dot.interval.1.max(dot.value)));
            canvas::text(&root, &three_digits(dot.value), (end + 9, height), BLACK)?;
        }
        root.present().map_err(failed)?;
    }
    Ok(svg)
}

/// `1234`, `123`, `12.3`, `1.23`, `0.0123`.
fn three_digits(value: f64) -> String {
    let digits = 2 - value.abs().max(1e-9).log10().floor() as i32;
    format!("{value:.*}", digits.max(0) as usize)
}

#[cfg(test)]
mod tests {
    use super::three_digits;

    #[test]
    fn numbers_beside_dots_have_three_digits() {
        let shown = [1234.4, 123.4, 12.34, 1.234, 0.01234].map(three_digits);
        assert_eq!(shown, ["1234", "123", "12.3", "1.23", "0.0123"]);
    }
}
