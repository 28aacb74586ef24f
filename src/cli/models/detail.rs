//! All that is known of one model.

use super::Row;
use crate::report::render::width;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets::NOTHING};

/// Facts, one a line, and the published figures with their conditions.
pub fn text(row: &Row) -> String {
    let mut facts: Vec<(&str, String)> = vec![("name", row.name.to_string())];
    let mut add = |name, value: String| {
        if !value.is_empty() {
            facts.push((name, value));
        }
    };
    let folders = row.repositories.iter().map(|r| r.repo);
    let own = (!row.repo.is_empty()).then_some(row.repo);
    let names = row.aliases.iter().copied();
    let other: Vec<&str> = names.chain(folders.filter(|r| Some(*r) != own)).collect();
    add("also called", other.join(", "));
    add("role", row.role.to_string());
    add(
        "architecture",
        row.architecture
            .unwrap_or("none that this tool runs")
            .to_string(),
    );
    add(
        "parameters",
        match row.parameters {
            Some(_) => format!("{} M (backbone)", row.millions()),
            None => String::new(),
        },
    );
    add(
        "input",
        format!(
            "{} px preferred, multiples of {}, patches of {}",
            row.resolution(),
            row.step,
            row.patch
        ),
    );
    add("adaptors", row.adaptors.join(", "));
    add("teachers", row.teachers.join(", "));
    add("licence", row.licence.to_string());
    match (row.role, row.repositories.as_slice()) {
        ("mini", _) => add("weights", "shipped with this tool".to_string()),
        (_, []) if row.page.is_empty() => add("weights", "none were released".to_string()),
        (_, []) => add("weights", row.page.to_string()),
        (_, places) => {
            for place in places {
                add("weights", format!("{}/{}", place.repo, place.file));
            }
        }
    }
    match (&row.weights, row.repositories.is_empty()) {
        (Some(path), _) => add("on this machine", path.display().to_string()),
        (None, true) => add("on this machine", "no".to_string()),
        (None, false) => add(
            "on this machine",
            format!("no; get them with `radio-eval fetch {}`", row.name),
        ),
    }

    let mut text = String::new();
    for (name, value) in facts {
        text += &format!("{name:<16} {value}\n");
    }
    if !row.published.is_empty() {
        text += "\nPublished; a figure stands beside a run that meets all its conditions\n";
        text += &figures(row);
    }
    text
}

fn figures(row: &Row) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    match width::available() {
        Some(columns) => {
            table.set_content_arrangement(ContentArrangement::Dynamic);
            table.set_width(u16::try_from(columns).unwrap_or(u16::MAX));
        }
        None => {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
    }
    table.set_header(["metric", "value", "conditions", "source"]);
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for figure in row.published {
        table.add_row([
            figure.metric.title.to_string(),
            format!("{}", figure.value),
            figure.describe(),
            figure.source.to_string(),
        ]);
    }
    format!("{}\n", table.trim_fmt())
}
