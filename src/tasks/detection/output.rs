//! The curve of a training.

use super::trainer::Validated;
use crate::Result;
use crate::report::plot::lines::{self, At, Line, Titles};
use crate::report::render::to_csv;
use crate::tasks::finished::{Beside, Contents};

/// `curve.csv` and `curve.svg`: AP over iterations, up to `last`; nothing where no evaluation was
/// made on the way.
pub fn curve(model: &str, seen: &[Validated], last: Option<Validated>) -> Result<Vec<Beside>> {
    if seen.is_empty() {
        return Ok(Vec::new());
    }
    let points: Vec<&Validated> = seen.iter().chain(&last).collect();
    let mut rows = vec![
        ["iteration", "box_ap", "mask_ap"]
            .map(str::to_string)
            .to_vec(),
    ];
    rows.extend(points.iter().map(|point| {
        vec![
            point.iteration.to_string(),
            point.box_ap.to_string(),
            point.mask_ap.map_or(String::new(), |ap| ap.to_string()),
        ]
    }));
    let line = |name: &str, value: &dyn Fn(&Validated) -> Option<f64>| Line {
        name: name.to_string(),
        points: (points.iter())
            .filter_map(|point| {
                Some(At {
                    x: point.iteration as f64,
                    y: value(point)?,
                    interval: None,
                })
            })
            .collect(),
    };
    let mut all = vec![
        line("box AP", &|point| Some(point.box_ap)),
        line("mask AP", &|point| point.mask_ap),
    ];
    all.retain(|line| !line.points.is_empty());
    let titles = Titles {
        plot: &format!("Detector on frozen {model}"),
        x: "iterations",
        y: "AP",
        logarithmic_x: false,
        logarithmic_y: false,
    };
    let file = |ending: &str, text: String| Beside {
        ending: ending.to_string(),
        contents: Contents::Text(text),
    };
    Ok(vec![
        file("curve.csv", to_csv(&rows)?),
        file("curve.svg", lines::draw(titles, &all)?),
    ])
}
