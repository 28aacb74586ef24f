//! Tables that users write: CSV, TSV and their like, read by the csv crate.
//!
//! One separator for the whole file: tab, comma or semicolon, whichever the first line has
//! (in that order), else space. Fields may be quoted. A first line that names its columns is a
//! header; columns are then found by name, whatever their order.

use crate::data::classification::is_image;
use crate::files::text;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// A file's rows.
pub struct Rows {
    path: PathBuf,
    /// Column names, where the first row holds such.
    header: Option<Vec<String>>,
    rows: Vec<Row>,
}

/// A row and the line it stands on, from 1.
pub struct Row {
    pub line: u64,
    pub fields: Vec<String>,
}

/// A column that is looked for by its name.
pub struct Wanted<'a> {
    /// For messages: `image`, `class`.
    pub what: &'a str,
    /// Names it goes by, lower case without `_`, `-` and spaces, the likeliest first.
    pub names: &'a [&'a str],
}

impl Rows {
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&text::read(path)?, path)
    }

    /// `path` is for messages.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let rows = match separator(text) {
            Some(separator) => separated(text, separator, path)?,
            None => spaced(text),
        };
        Ok(Rows {
            path: path.to_path_buf(),
            header: None,
            rows,
        })
    }

    /// Takes the first row as header if it names a column that is `wanted`, or one that the user
    /// names.
    pub fn with_header(mut self, wanted: &[&Wanted], given: &[&str]) -> Self {
        let names = |field: &String| {
            given.contains(&field.as_str())
                || wanted
                    .iter()
                    .any(|w| w.names.contains(&plain(field).as_str()))
        };
        let is_header = (self.rows.first()).is_some_and(|row| {
            row.fields.iter().any(names) && !row.fields.iter().any(|field| is_image(field))
        });
        if is_header {
            self.header = Some(self.rows.remove(0).fields);
        }
        self
    }

    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub fn has_header(&self) -> bool {
        self.header.is_some()
    }

    /// Columns of the first row.
    pub fn width(&self) -> usize {
        let first = self.rows.first().map_or(0, |row| row.fields.len());
        self.header.as_ref().map_or(first, Vec::len)
    }

    /// The column called `given` by the user, else the first that goes by a wanted name.
    ///
    /// # Errors
    /// No header, or no such column: the columns are listed.
    pub fn column(&self, wanted: &Wanted, given: Option<&str>) -> Result<usize> {
        let header = self.header.as_deref().unwrap_or_default();
        let found = match given {
            Some(given) => header.iter().position(|name| name == given),
            None => {
                let by_name = |want: &&str| header.iter().position(|name| plain(name) == *want);
                wanted.names.iter().find_map(by_name)
            }
        };
        found.ok_or_else(|| {
            let what = wanted.what;
            let reason = match (given, header) {
                (_, []) => "has no line that names its columns".to_string(),
                (Some(given), _) => format!("has no column `{given}`; it has {}", header.join(", ")),
                (None, _) => format!("has no column for the {what} among {}", header.join(", ")),
            };
            Error::file(
                &self.path,
                format!("{reason}; name the columns in the first line, and say which is the {what} with --{what}-column NAME"),
            )
        })
    }

    /// The field of a row, or an error that names the line.
    pub fn field<'a>(&self, row: &'a Row, column: usize) -> Result<&'a str> {
        match row.fields.get(column) {
            Some(field) => Ok(field),
            None => Err(self.fault(
                row,
                format!(
                    "has {} columns, but the table has {}; separate them as the first line does",
                    row.fields.len(),
                    self.width()
                ),
            )),
        }
    }

    /// An error about a row.
    pub fn fault(&self, row: &Row, reason: impl std::fmt::Display) -> Error {
        Error::file(&self.path, format!("line {}: {reason}", row.line))
    }
}

/// A column name for comparison: lower case, without `_`, `-` and spaces.
fn plain(name: &str) -> String {
    let letters = name.chars().filter(|c| !matches!(c, '_' | '-' | ' '));
    letters.flat_map(char::to_lowercase).collect()
}

/// The first of tab, comma and semicolon that the first line has.
fn separator(text: &str) -> Option<u8> {
    let first = text.lines().find(|line| !line.trim().is_empty())?;
    let separators = [b'\t', b',', b';'];
    separators
        .into_iter()
        .find(|&s| first.bytes().any(|b| b == s))
}

fn separated(text: &str, separator: u8, path: &Path) -> Result<Vec<Row>> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(separator)
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let mut rows = Vec::new();
    for record in reader.records() {
        let record =
            record.map_err(|e| Error::file(path, format!("is not a readable table ({e})")))?;
        let line = record.position().map_or(0, csv::Position::line);
        let fields: Vec<String> = record.iter().map(str::to_string).collect();
        if fields.iter().any(|field| !field.is_empty()) {
            rows.push(Row { line, fields });
        }
    }
    // A field too many is a separator inside a name that is not quoted.
    let width = rows.first().map_or(0, |row| row.fields.len());
    if let Some(row) = rows.iter().find(|row| row.fields.len() > width) {
        return Err(Error::file(
            path,
            format!(
                "line {}: has {} columns, the first line {width}; put quotes around a field that holds `{}`",
                row.line,
                row.fields.len(),
                char::from(separator).escape_default()
            ),
        ));
    }
    Ok(rows)
}

/// `FILE CLASS`: the file's name ends at the first space behind an image's ending, else at the
/// first space; what follows is one field.
fn spaced(text: &str) -> Vec<Row> {
    let row = |(number, line): (usize, &str)| {
        let line = line.trim();
        let spaces = || line.match_indices([' ', '\t']).map(|(at, _)| at);
        let end = spaces()
            .find(|&at| is_image(&line[..at]))
            .or_else(|| spaces().next());
        let fields = match end {
            _ if line.is_empty() => return None,
            None => vec![line.to_string()],
            Some(at) => vec![line[..at].to_string(), line[at..].trim().to_string()],
        };
        Some(Row {
            line: number as u64 + 1,
            fields,
        })
    };
    text.lines().enumerate().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASS: Wanted = Wanted {
        what: "label",
        names: &["label", "classname"],
    };

    fn table(text: &str) -> Rows {
        Rows::parse(text, Path::new("t"))
            .unwrap()
            .with_header(&[&CLASS], &[])
    }

    #[test]
    fn one_separator_and_quotes() {
        let fields = |text| table(text).rows()[0].fields.clone();
        assert_eq!(
            fields("a.jpg,golden retriever\n"),
            ["a.jpg", "golden retriever"]
        );
        assert_eq!(fields("a.jpg\tcrane, bird\n"), ["a.jpg", "crane, bird"]);
        assert_eq!(fields("a.jpg;\"crane; bird\"\n"), ["a.jpg", "crane; bird"]);
        assert_eq!(
            fields("my photo 1.jpg golden retriever\n"),
            ["my photo 1.jpg", "golden retriever"]
        );
        assert_eq!(fields("a.jpg 7\n"), ["a.jpg", "7"]);
    }

    #[test]
    fn headers_by_name() {
        let table = table("Split,Class_Name,file\ntrain,cat,a.jpg\n");
        assert!(table.has_header());
        assert_eq!(table.column(&CLASS, None).unwrap(), 1);
        assert_eq!(table.column(&CLASS, Some("file")).unwrap(), 2);
        let error = table
            .column(&CLASS, Some("species"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("has no column `species`; it has Split, Class_Name, file"),
            "{error}"
        );
    }

    #[test]
    fn unquoted_separators_are_told_with_their_line() {
        let error = Rows::parse("a.jpg,cat\nb.jpg,dog,big\n", Path::new("t"))
            .err()
            .unwrap();
        assert!(
            error.to_string().contains("t: line 2: has 3 columns"),
            "{error}"
        );
        let short = table("a.jpg,cat\nb.jpg\n");
        let error = short.field(&short.rows()[1], 1).unwrap_err().to_string();
        assert!(
            error.contains("line 2: has 1 columns, but the table has 2"),
            "{error}"
        );
    }
}
