//! Axes: where they begin and end, and which values are written at them.

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use std::ops::Range;

/// One axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    pub title: String,
    logarithmic: bool,
    /// In log10 of the values where the axis is logarithmic.
    ends: (f64, f64),
    /// Likewise.
    ticks: Vec<f64>,
}

/// Room beyond the outermost values, as a share of what they span.
const MARGIN: f64 = 0.06;

impl Axis {
    /// An axis over positive `values` with ticks at 1, 2 and 5 times powers of ten; it reaches as
    /// far as two ticks need.
    pub fn logarithmic(title: &str, values: impl IntoIterator<Item = f64>) -> Self {
        let (low, high) = span(values.into_iter().map(f64::log10));
        let margin = (MARGIN * (high - low)).max(0.05);
        let (mut low, mut high) = (low - margin, high + margin);
        let mut ticks = steps_of_1_2_5(low, high);
        if ticks.len() < 2 {
            (low, high) = (low - 0.4, high + 0.4);
            ticks = steps_of_1_2_5(low, high);
        }
        if ticks.len() > 12 {
            ticks.retain(|tick| (tick - tick.round()).abs() < 1e-9);
        }
        Axis {
            title: title.to_string(),
            logarithmic: true,
            ends: (low, high),
            ticks,
        }
    }

    /// An axis with ticks at round values.
    pub fn linear(title: &str, values: impl IntoIterator<Item = f64>) -> Self {
        let (low, high) = span(values.into_iter());
        let margin = match high > low {
            true => MARGIN * (high - low),
            false => (0.05 * high.abs()).max(0.5),
        };
        let (low, high) = (low - margin, high + margin);
        // The round step that gives at most eight ticks.
        let rough = ((high - low) / 8.0).log10();
        let step = [0.0, 2f64.log10(), 5f64.log10(), 1.0]
            .map(|part| rough.floor() + part)
            .into_iter()
            .find(|&step| step >= rough)
            .unwrap_or(rough.ceil());
        let step = 10f64.powf(step);
        let first = (low / step).ceil() as i64;
        let last = (high / step).floor() as i64;
        Axis {
            title: title.to_string(),
            logarithmic: false,
            ends: (low, high),
            ticks: (first..=last).map(|n| n as f64 * step).collect(),
        }
    }

    /// An axis with a tick at each of `values` (resolutions, numbers of tokens), or at round ones
    /// where their labels would run into each other.
    pub fn at_values(
        title: &str,
        values: impl IntoIterator<Item = f64>,
        logarithmic: bool,
    ) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        values.dedup();
        let axis = match logarithmic {
            true => Axis::logarithmic(title, values.iter().copied()),
            false => Axis::linear(title, values.iter().copied()),
        };
        let ticks: Vec<f64> = values.iter().map(|&value| axis.place(value)).collect();
        let nearest = (axis.ends.1 - axis.ends.0) / 20.0;
        match ticks.windows(2).all(|pair| pair[1] - pair[0] >= nearest) {
            true => Axis { ticks, ..axis },
            false => axis,
        }
    }

    /// Rows `0..n`, the first at the top, without ticks.
    pub fn rows(n: usize) -> Self {
        Axis {
            title: String::new(),
            logarithmic: false,
            ends: (n as f64 - 0.5, -0.5),
            ticks: Vec::new(),
        }
    }

    /// Where a value lies between the ends.
    fn place(&self, value: f64) -> f64 {
        match self.logarithmic {
            true => value.log10(),
            false => value,
        }
    }

    fn value(&self, place: f64) -> f64 {
        match self.logarithmic {
            true => 10f64.powf(place),
            false => place,
        }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        let share = (self.place(*value) - self.ends.0) / (self.ends.1 - self.ends.0);
        first + (share * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.iter().map(|&tick| self.value(tick)).collect()
    }

    fn range(&self) -> Range<f64> {
        self.value(self.ends.0)..self.value(self.ends.1)
    }
}

impl ValueFormatter<f64> for Axis {
    /// Nine digits take off what the logarithm left behind.
    fn format(value: &f64) -> String {
        let text = format!("{value:.9}");
        match text.trim_end_matches('0').trim_end_matches('.') {
            "" | "-0" => "0".to_string(),
            text => text.to_string(),
        }
    }
}

/// Least and greatest; 0 and 1 for no values.
fn span(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let ends = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
        (low.min(v), high.max(v))
    });
    match ends.0 <= ends.1 {
        true => ends,
        false => (0.0, 1.0),
    }
}

/// log10 of 1, 2, 5, 10, 20, ... between two values given as log10.
fn steps_of_1_2_5(low: f64, high: f64) -> Vec<f64> {
    (low.floor() as i32..=high.ceil() as i32)
        .flat_map(|decade| [1.0f64, 2.0, 5.0].map(|n| n.log10() + f64::from(decade)))
        .filter(|tick| (low..=high).contains(tick))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<String> {
        axis.ticks
            .iter()
            .map(|&tick| Axis::format(&axis.value(tick)))
            .collect()
    }

    #[test]
    fn logarithmic_ticks_are_at_1_2_and_5() {
        let axis = Axis::logarithmic("ms", [13.7, 620.0]);
        assert_eq!(labels(&axis), ["20", "50", "100", "200", "500"]);
        let axis = Axis::logarithmic("ms", [0.03, 0.4]);
        assert_eq!(labels(&axis), ["0.05", "0.1", "0.2"]);
        let axis = Axis::logarithmic("ms", [0.001, 90_000.0]);
        assert_eq!(labels(&axis)[..3], ["0.001", "0.01", "0.1"]);
    }

    #[test]
    fn one_value_still_has_two_ticks() {
        assert!(labels(&Axis::logarithmic("ms", [700.0])).len() >= 2);
        assert!(labels(&Axis::linear("%", [83.89])).len() >= 2);
        assert!(labels(&Axis::linear("%", [])).len() >= 2);
    }

    #[test]
    fn linear_ticks_are_round() {
        let axis = Axis::linear("%", [81.1, 86.06]);
        assert_eq!(labels(&axis), ["81", "82", "83", "84", "85", "86"]);
        let axis = Axis::at_values("px", [512.0, 224.0, 432.0, 224.0], false);
        assert_eq!(labels(&axis), ["224", "432", "512"]);
        let axis = Axis::at_values("tokens", [1.0, 8.0, 64.0, 256.0], true);
        assert_eq!(labels(&axis), ["1", "8", "64", "256"]);
    }
}
