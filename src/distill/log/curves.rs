//! A plot of the losses over the steps.

use super::Line;
use crate::Result;
use crate::report::plot::lines::{self, At, Titles};
use serde_json::Value;

/// Points per curve; more would not be seen.
const POINTS: usize = 200;
/// Values that are no losses.
const OTHERS: [&str; 8] = [
    "lr",
    "grad_norm",
    "clip_factor",
    "images_per_s",
    "data_s",
    "teachers_s",
    "student_s",
    "eta_s",
];

/// SVG of the total and of each teacher's losses (means over stretches of steps); `None` where
/// there are less than two lines.
pub fn draw(title: &str, noted: &[Line]) -> Result<Option<String>> {
    let training: Vec<&Line> = noted
        .iter()
        .filter(|line| line.values.contains_key("total"))
        .collect();
    if training.len() < 2 {
        return Ok(None);
    }
    let stretch = training.len().div_ceil(POINTS);
    let mut names: Vec<&String> = training
        .iter()
        .flat_map(|line| line.values.keys())
        .collect();
    names.sort_by_key(|name| (name.as_str() != "total", *name));
    names.dedup();
    let wanted = |name: &&String| {
        let part = name.ends_with("feature_cos") || name.ends_with("feature_sl1");
        !OTHERS.contains(&name.as_str()) && !part && !name.contains(".grad")
    };
    let curves = names.into_iter().filter(wanted).map(|name| {
        let point = |stretch: &[&Line]| {
            let values = stretch.iter().filter_map(|line| line.values.get(name));
            let values: Vec<f64> = values.filter_map(Value::as_f64).collect();
            let last = stretch.last()?;
            (!values.is_empty()).then(|| At {
                x: last.step as f64,
                y: values.iter().sum::<f64>() / values.len() as f64,
                interval: None,
            })
        };
        lines::Line {
            name: name.clone(),
            points: training.chunks(stretch).filter_map(point).collect(),
        }
    });
    let titles = Titles {
        plot: title,
        x: "step",
        y: "loss",
        logarithmic_x: false,
        logarithmic_y: true,
    };
    lines::draw(titles, &curves.collect::<Vec<_>>()).map(Some)
}
