//! The sheet a plot is drawn on: size, axes, colours, and text that is kept apart.

use super::axis::Axis;
use crate::{Error, Result};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Width and height in pixels.
pub const SIZE: (u32, u32) = (860, 520);

/// Height of labels in pixels.
pub const FONT: i32 = 13;
/// Distance of lines of text.
pub const LINE: i32 = FONT + 2;
const FAMILY: &str = "sans-serif";

/// Okabe and Ito's colours, which people with any colour vision can tell apart, without the yellow
/// that is too pale for a line.
pub const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];

pub fn colour(index: usize) -> RGBColor {
    COLOURS[index % COLOURS.len()]
}

pub type Root<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub type Chart<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<Axis, Axis>>;

pub fn failed(error: impl std::fmt::Display) -> Error {
    Error::model(format!("cannot draw the plot: {error}"))
}

/// Pixels beside the axes' rectangle.
pub struct Margins {
    /// For the title and the ticks of y, or names of rows.
    pub left: i32,
    /// For labels of lines.
    pub right: i32,
}

/// Axes with their titles, ticks and grid.
pub fn chart<'a>(
    root: &Root<'a>,
    title: &str,
    x: Axis,
    y: Axis,
    margins: &Margins,
) -> Result<Chart<'a>> {
    root.fill(&WHITE).map_err(failed)?;
    let titles = [x.title.clone(), y.title.clone()];
    let mut chart = ChartBuilder::on(root)
        .caption(title, (FAMILY, 18))
        .margin(12)
        .margin_right(12 + margins.right)
        .x_label_area_size(42)
        .y_label_area_size(margins.left)
        .build_cartesian_2d(x, y)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .x_desc(&titles[0])
        .y_desc(&titles[1])
        .axis_desc_style((FAMILY, 14))
        .label_style((FAMILY, FONT))
        .bold_line_style(BLACK.mix(0.12))
        .light_line_style(TRANSPARENT)
        .draw()
        .map_err(failed)?;
    Ok(chart)
}

/// About how many pixels wide a label is: SVG leaves the font to the reader.
pub fn text_width(text: &str) -> i32 {
    text.chars().count() as i32 * FONT * 11 / 20
}

/// Text whose left end, at half its height, is at `at`; in a darker tone of `colour`, since letters
/// need more contrast than areas.
pub fn text(root: &Root, text: &str, at: (i32, i32), colour: RGBColor) -> Result<()> {
    let darker = |channel: u8| (f32::from(channel) * 0.7) as u8;
    let ink = RGBColor(darker(colour.0), darker(colour.1), darker(colour.2));
    let style = (FAMILY, FONT)
        .into_font()
        .color(&ink)
        .pos(Pos::new(HPos::Left, VPos::Center));
    root.draw(&Text::new(text.to_string(), at, style))
        .map_err(failed)
}

/// Moves label heights as little as is needed to be [`LINE`] apart within `top..bottom`, which has
/// room for all. The order stays.
pub fn spread(heights: &[i32], top: i32, bottom: i32) -> Vec<i32> {
    let gap = LINE;
    let mut order: Vec<usize> = (0..heights.len()).collect();
    order.sort_by_key(|&i| heights[i]);
    let mut placed = heights.to_vec();
    let mut lowest = top + gap / 2;
    for &i in &order {
        placed[i] = placed[i].max(lowest);
        lowest = placed[i] + gap;
    }
    let mut highest = bottom - gap / 2;
    for &i in order.iter().rev() {
        placed[i] = placed[i].min(highest);
        highest = placed[i] - gap;
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_kept_apart_and_inside() {
        assert_eq!(spread(&[100, 200], 0, 300), [100, 200]);
        assert_eq!(spread(&[100, 98, 300], 0, 300), [113, 98, 293]);
        assert_eq!(spread(&[299, 298], 0, 300), [293, 278]);
    }
}
