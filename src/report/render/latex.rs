//! A `booktabs` table; the best value of a column is bold, the second best underlined.

use super::super::table::Table;
use super::{Renderer, text};
use crate::Result;
use std::fmt::Write;

pub struct Latex;

impl Renderer for Latex {
    fn name(&self) -> &'static str {
        "latex"
    }

    fn title(&self) -> &'static str {
        "LaTeX (booktabs)"
    }

    fn ending(&self) -> Option<&'static str> {
        Some("tex")
    }

    fn render(&self, table: &Table) -> Result<String> {
        let letters: String = table
            .columns
            .iter()
            .map(|column| if column.digits.is_some() { 'r' } else { 'l' })
            .collect();
        let titles: Vec<String> = table.columns.iter().map(|c| escape(&c.title)).collect();
        let mut out = format!(
            "% {}\n% needs \\usepackage{{booktabs}}\n\\begin{{tabular}}{{{letters}}}\n\\toprule\n{} \\\\\n\\midrule\n",
            table.title.replace('\n', " "),
            titles.join(" & ")
        );
        for (r, row) in table.rows.iter().enumerate() {
            let cells = row.iter().zip(&table.columns).enumerate();
            let cells: Vec<String> = cells
                .map(|(c, (cell, column))| {
                    let shown = escape(&text(column, cell));
                    if table.is_best(r, c) {
                        format!("\\textbf{{{shown}}}")
                    } else if table.is_second(r, c) {
                        format!("\\underline{{{shown}}}")
                    } else {
                        shown
                    }
                })
                .collect();
            let _ = writeln!(out, "{} \\\\", cells.join(" & "));
        }
        out += "\\bottomrule\n\\end{tabular}\n";
        for note in &table.notes {
            for line in note.lines() {
                let _ = writeln!(out, "% {line}");
            }
        }
        Ok(out)
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\textbackslash{}"),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => {
                out.push('\\');
                out.push(c);
            }
            // A cell that begins with a bracket would be an option of the row before it.
            '[' => out.push_str("{[}"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn what_latex_would_read_is_escaped() {
        assert_eq!(escape("e-radio_v2 & 5 %"), "e-radio\\_v2 \\& 5 \\%");
        assert_eq!(escape("86.0 [83.0, 89.0]"), "86.0 {[}83.0, 89.0]");
    }
}
