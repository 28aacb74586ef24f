//! Accuracy over the number of tokens of a code (RADIO1D): radio-eval's own protocol
//! (spec/radio1d.md §6), upstream has none.

use super::lines::{self, At, Line, Titles};
use super::{Plot, label};
use crate::Result;
use crate::metrics::Definition;
use crate::report::Record;
use indexmap::IndexMap;

/// Option of a record: tokens of the code of each picture.
pub const CODE_TOKENS: &str = "code_tokens";

/// `metric` over the tokens that the codes had, a line for each model and neck.
pub fn draw(records: &[Record], metric: &Definition) -> Result<Plot> {
    let mut by_name: IndexMap<String, Vec<At>> = IndexMap::new();
    for record in records {
        let tokens = record.options.get(CODE_TOKENS).and_then(|n| n.as_i64());
        let (Some(tokens), Some(value)) = (tokens, record.metrics.get(metric.name)) else {
            continue;
        };
        let neck = record.model.settings.get("neck").and_then(|n| n.as_str());
        let name = format!("{} {}", label(record), neck.unwrap_or_default());
        by_name.entry(name).or_default().push(At {
            x: tokens as f64,
            y: value.value,
            interval: value.low.zip(value.high),
        });
    }
    let mut lines = Vec::new();
    for (name, mut points) in by_name {
        points.sort_by(|a, b| a.x.total_cmp(&b.x));
        points.dedup_by(|a, b| a.x == b.x);
        if points.len() > 1 {
            lines.push(Line { name, points });
        }
    }
    if lines.is_empty() {
        return Ok(Plot::Nothing(
            "no model was measured with more than one number of tokens".into(),
        ));
    }
    let titles = Titles {
        plot: &format!(
            "{} by tokens of the code (radio-eval's own protocol)",
            metric.title
        ),
        x: "tokens",
        y: metric.title,
        logarithmic_x: true,
        logarithmic_y: false,
    };
    lines::draw(titles, &lines).map(Plot::drawn)
}
